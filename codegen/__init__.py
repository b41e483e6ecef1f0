"""What is written by commands, and travels with the package."""
