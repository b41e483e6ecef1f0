"""How well a mask agrees with the truth."""

from __future__ import annotations

import numpy as np


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice's coefficient 2 |A and B| / (|A| + |B|) of two masks of one shape, 0 to 1; 1 where both are empty.

    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 1]))
    0.5
    """
    mask, truth = np.asarray(mask) != 0, np.asarray(truth) != 0
    if mask.shape != truth.shape:
        raise ValueError(f"The mask has the shape {mask.shape} and the truth {truth.shape}.")
    size = np.count_nonzero(mask) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(mask & truth) / size) if size else 1.0
