"""Files of strangers: received, and read in processes of their own."""
