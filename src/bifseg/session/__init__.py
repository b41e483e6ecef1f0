"""Objects on an image, and what happened to them."""
