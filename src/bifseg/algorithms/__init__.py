"""Exact algorithms on grids: arrays in, arrays out, and nothing else."""
