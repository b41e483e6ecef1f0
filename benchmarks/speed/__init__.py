"""What `python -m benchmarks.speed` is made of: the clock, the machine's limits, the cases, and how they are told."""
