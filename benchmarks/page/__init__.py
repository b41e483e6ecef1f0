"""What `python -m benchmarks.page` measures and draws."""
