"""Networks and parameters compared on the development fold."""
