"""Our own protocol: JSON under /api/v1, arrays as gzipped bytes or files, rounds as server-sent events."""
