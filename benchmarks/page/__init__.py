"""What page.py measures and draws."""
