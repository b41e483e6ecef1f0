"""The protocol of nnInteractive's server."""
