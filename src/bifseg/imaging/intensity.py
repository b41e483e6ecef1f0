"""Intensities as a network and as edges see them."""

from __future__ import annotations

import numpy as np


def normalise(crop: np.ndarray) -> np.ndarray:
    """What the network sees: clipped to the 0.5 and 99.5 percentiles, zero mean, unit variance; float32."""
    low, high = intensity_range(crop)
    if low == high:
        return np.zeros(crop.shape, np.float32)
    clipped = np.clip(crop.astype(np.float32), low, high)
    return (clipped - np.float32(clipped.mean(dtype=float))) / np.float32(clipped.std(dtype=float))


def unit_range(crop: np.ndarray) -> np.ndarray:
    """What distances and edges see: the 0.5 to 99.5 percentiles scaled to [0, 1], clipped; float32."""
    low, high = intensity_range(crop)
    if low == high:
        return np.zeros(crop.shape, np.float32)
    return np.clip((crop.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)


def intensity_range(crop: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles, from a regular sample of a large crop."""
    step = int(np.ceil((crop.size / 1e6) ** (1 / crop.ndim)))
    low, high = np.percentile(crop[(slice(None, None, step),) * crop.ndim], (0.5, 99.5)).tolist()
    # A small bright object on an even background lies beyond both percentiles.
    return (low, high) if low < high else (float(crop.min()), float(crop.max()))
