"""Judging: what a method sees never includes the truth; only this floor knows it."""
