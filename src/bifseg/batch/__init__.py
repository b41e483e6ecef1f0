"""Many scans by one command: a table in; masks, measures and pictures to check out, whatever stops it on the way."""
