"""Intensities as a network and as edges see them."""

from __future__ import annotations

import numpy as np

SAMPLED = 200_000  # voxels of a large scan by which its grey levels are chosen


def normalise(crop: np.ndarray) -> np.ndarray:
    """What the network sees: clipped to the 0.5 and 99.5 percentiles, zero mean, unit variance; float32."""
    low, high = intensity_range(crop)
    if low == high:
        return np.zeros(crop.shape, np.float32)
    clipped = np.clip(crop.astype(np.float32), low, high)
    return (clipped - np.float32(clipped.mean(dtype=float))) / np.float32(clipped.std(dtype=float))


def unit_range(crop: np.ndarray, *, colours: bool = False) -> np.ndarray:
    """What distances and edges see: the 0.5 to 99.5 percentiles scaled to [0, 1], clipped; float32.

    ``colours``: whether the last axis is of them; all have one scale.
    """
    low, high = colour_range(crop) if colours else intensity_range(crop)
    if low == high:
        return np.zeros(crop.shape, np.float32)
    return np.clip((crop.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)


def intensity_range(crop: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles, from a regular sample of a large crop."""
    step = int(np.ceil((crop.size / 1e6) ** (1 / crop.ndim)))
    low, high = np.percentile(crop[(slice(None, None, step),) * crop.ndim], (0.5, 99.5)).tolist()
    # A small bright object on an even background lies beyond both percentiles.
    return (low, high) if low < high else (float(crop.min()), float(crop.max()))


def levels(array: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """The least and the greatest value, and between which most values lie: the 2nd and the 99.5th percentile of a
    regular sample."""
    step = int(np.ceil((array.size / SAMPLED) ** (1 / array.ndim)))
    most = np.percentile(array[(slice(None, None, step),) * array.ndim], (2, 99.5)).tolist()
    return (float(array.min()), float(array.max())), (most[0], most[1])


def colour_range(crop: np.ndarray) -> tuple[float, float]:
    """From the least 0.5 percentile of a colour (..., 3) to the greatest 99.5: of greys, that of `intensity_range`."""
    ranges = [intensity_range(crop[..., k]) for k in range(crop.shape[-1])]
    return min(low for low, _ in ranges), max(high for _, high in ranges)
