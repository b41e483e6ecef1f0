"""Files in and out. Nothing else knows image formats."""
