"""What a scribble says about the voxels around it: evidence that fades with geodesic distance. Not in the paper."""

from __future__ import annotations

import numpy as np

from bifseg.energy import CERTAIN
from bifseg.geodesic import geodesic_distance
from bifseg.interaction import BACKGROUND, FOREGROUND

STEP = 0.01  # what a voxel's length alone costs on the way: evidence fades in even tissue too


def scribble_evidence(image01: np.ndarray, scribbles: np.ndarray, strength: float, reach: float) -> np.ndarray | None:
    """strength * [exp(-G(i, S_f) / reach) - exp(-G(i, S_b) / reach)]: log-odds, float32; None where it is 0 everywhere.

    ``image01``: (x, y) or (x, y, z), in [0, 1]. ``scribbles``: 0 none, 1 foreground, 2 background. ``strength``: the
    log-odds at a scribble itself. ``reach``: the geodesic distance over which they fall to a third; G counts changes of
    intensity and a little length. Raises ValueError for a strength below 0 and a reach that is not above 0.
    """
    if not 0 <= strength < np.inf or not 0 < reach < np.inf:
        raise ValueError(f"The evidence has the strength {strength} and the reach {reach}; give >= 0 and > 0.")
    result = np.zeros(image01.shape, np.float32)
    for label, sign in ((FOREGROUND, 1), (BACKGROUND, -1)):
        seeds = scribbles == label
        if strength and seeds.any():
            result += sign * np.exp(-geodesic_distance(image01, seeds, spatial=STEP) / np.float32(reach))
    return np.float32(strength) * result if result.any() else None


def with_evidence(probability: np.ndarray, evidence: np.ndarray | None) -> np.ndarray:
    """The probability of the foreground after evidence, as log-odds, was added to it (float32).

    >>> with_evidence(np.array([0.5, 0.9]), np.array([0.0, -np.log(9)])).round(6).tolist()
    [0.5, 0.5]
    """
    if evidence is None:
        return probability
    p = np.clip(probability, CERTAIN, 1 - CERTAIN)
    return (1 / (1 + (1 - p) / p * np.exp(-evidence))).astype(np.float32)
