"""Volumes to train on, so small that a run of a second learns from them."""

import numpy as np

from bifseg.training.bank import Volume, scenes, volume


def small_volumes() -> list[Volume]:
    """Three scenes and a scan."""
    found = list(scenes(3, side=40, seed=5))
    rng = np.random.default_rng(0)
    labels = np.zeros((40, 36, 30), np.int64)
    labels[5:20, 5:20, 5:20], labels[24:36, 8:30, 4:26] = 1, 2
    image = (labels * 100 + rng.normal(0, 5, labels.shape)).astype(np.int16)
    return [*found, volume("a scan", labels, (1, 1, 2), np.array([0, 1, 1]), image)]
