"""Processes that compute."""
