"""What `speed.py` is made of: the clock, the machine's limits, the cases, and how they are told."""
