"""The published comparison: its runs, its targets and its report."""
