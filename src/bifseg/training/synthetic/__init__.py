"""Synthetic anatomy, seeded, 2D and 3D: scenes and label maps that become images, for tests, the demo and training."""
