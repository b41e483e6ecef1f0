"""The laboratory: every number and picture in docs comes from here, each by one command, from the root of a clone."""
