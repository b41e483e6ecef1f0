"""Training a network on anything that is labelled, and on synthetic anatomy."""
