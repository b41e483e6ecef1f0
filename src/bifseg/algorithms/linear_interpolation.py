"""Linear interpolation along one axis: the loop that NumPy cannot do, and its weights."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bifseg.algorithms.jit import compiled

CHUNK = 2048  # elements summed up at once: they stay in the first cache


@lru_cache(256)
def taps(n: int, m: int, start: float = 0.0, stop: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How m points follow from n: each is the sum of ``weights`` (m, k) over the k points from ``first`` (m) on.

    Each row is a triangle around an output centre, as wide as the coarser of the two grids' steps. The m points lie
    evenly between ``start`` and ``stop``, in units of the n points' steps, from 0 to n by default; what lies outside of
    that is as the nearest of the n points.
    """
    stop = n if stop is None else stop
    reach = max(1.0, (stop - start) / m)
    centre = np.clip(start + (np.arange(m)[:, None] + 0.5) * (stop - start) / m - 0.5, -0.5, n - 0.5)
    count = min(int(np.ceil(2 * reach)), n)
    first = np.clip(np.floor(centre - reach) + 1, 0, n - count).astype(np.int64)
    weights = np.maximum(0, 1 - np.abs(first + np.arange(count) - centre) / reach)
    weights /= weights.sum(1, keepdims=True)
    return first[:, 0], np.ascontiguousarray(weights, np.float32)


def apply(array: np.ndarray, first: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Float32 (C order) with len(first) points along one axis, those of `taps`, instead of what ``array`` has."""
    shape = (*array.shape[:axis], len(first), *array.shape[axis + 1 :])
    three = (int(np.prod(shape[:axis])), array.shape[axis], int(np.prod(shape[axis + 1 :])))
    result = np.empty((three[0], len(first), three[2]), np.float32)
    _sum(np.require(array, np.float32, ["C", "W"]).reshape(three), first, weights, result)
    return result.reshape(shape)


@compiled("void(float32[:,:,::1], int64[::1], float32[:,::1], float32[:,:,::1])")
def _sum(array, first, weights, result):
    """result[o, j, i] = sum over k of weights[j, k] * array[o, first[j] + k, i]."""
    outer, m, inner = result.shape
    count = weights.shape[1]
    for o in range(outer):
        for j in range(m):
            at = first[j]
            if inner == 1:
                total = np.float32(0)
                for k in range(count):
                    total += weights[j, k] * array[o, at + k, 0]
                result[o, j, 0] = total
                continue
            for start in range(0, inner, CHUNK):
                out = result[o, j, start : start + CHUNK]
                row = array[o, at, start : start + CHUNK]
                weight = weights[j, 0]
                for i in range(len(out)):
                    out[i] = weight * row[i]
                for k in range(1, count):
                    row = array[o, at + k, start : start + CHUNK]
                    weight = weights[j, k]
                    if weight != 0:
                        for i in range(len(out)):
                            out[i] += weight * row[i]
