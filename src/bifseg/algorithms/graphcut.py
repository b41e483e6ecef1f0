"""Exact minimum cut on a grid: binary labels under per-voxel costs and a price on every cut edge.

Knows nothing of images or probabilities. This module lays out the graph and keeps every number inside 32 bits;
`bifseg.algorithms.maxflow` does the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from bifseg.algorithms.maxflow import maximum_flow

NEIGHBOURHOODS = {2: (4, 8), 3: (6, 18, 26)}
CEILING = 2**26  # the integer weights at one voxel sum to this at most; a few such sums still fit 32 bits


class Edges(NamedTuple):
    """All edges of a grid along one offset: ``array[first]`` and ``array[second]`` are their two ends."""

    first: tuple[slice, ...]
    second: tuple[slice, ...]
    distance: float


def grid_edges(shape: Sequence[int], neighbours: int, spacing: Sequence[float] | None = None) -> tuple[Edges, ...]:
    """The edges between neighbouring voxels of a grid, each unordered pair once, grouped by offset.

    ``shape``: (x, y) or (x, y, z). ``neighbours``: 4 or 8 in 2D; 6, 18 or 26 in 3D. ``spacing``: one length
    per axis, isotropic when None. ``distance`` is Euclidean, in units of the smallest spacing.
    Raises ValueError for an empty grid, another neighbourhood, or a spacing that is not above 0.

    >>> [edges.distance for edges in grid_edges((5, 4), 4, spacing=(0.5, 1.5))]
    [3.0, 1.0]
    """
    ndim = len(shape)
    if neighbours not in NEIGHBOURHOODS.get(ndim, ()):
        raise ValueError(
            f"A {ndim}D grid with {neighbours} neighbours was asked for; 2D has 4 or 8, 3D has 6, 18 or 26."
        )
    if min(shape) < 1:
        raise ValueError(f"The grid has the shape {tuple(shape)}; it needs one voxel or more along each axis.")
    lengths = np.ones(ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if lengths.shape != (ndim,) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"The spacing is {lengths.tolist()}; give {ndim} finite lengths above 0.")
    return tuple(
        Edges(
            tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, shape, strict=True)),
            tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, shape, strict=True)),
            float(np.linalg.norm(offset * lengths / lengths.min())),
        )
        for offset in steps(ndim, neighbours)
    )


def steps(ndim: int, neighbours: int) -> list[tuple[int, ...]]:
    """From a voxel to those of its neighbours that come after it in C order; the others lie the opposite way.

    >>> steps(2, 4)
    [(0, 1), (1, 0)]
    """
    reach = NEIGHBOURHOODS[ndim].index(neighbours) + 1  # how many coordinates may change in one step
    every = product((-1, 0, 1), repeat=ndim)
    return [step for step in every if step > (0,) * ndim and np.count_nonzero(step) <= reach]


class GridCut:
    """Minimum cut on a grid whose edges are fixed; only the costs of the labels change between calls.

    ``edges``: from `grid_edges`. ``weights``: for each entry of ``edges``, the price (>= 0) of giving the two
    ends different labels, an array of the shape of ``array[first]``.

    The minimum is exact for costs and weights rounded to multiples of a power of two, which is between 2^-26 and
    2^-25 of the largest sum of weights at one voxel. An instance carries its last flow into the next call, which
    changes the time and never the labels; it must not be called from two threads at once.
    Raises ValueError for weights of the wrong shape, negative or not finite.

    >>> edges = grid_edges((3, 1), 4)
    >>> cut = GridCut((3, 1), edges, [np.ones_like(np.zeros((3, 1))[e.first]) for e in edges])
    >>> cut(np.array([[9.0], [0.4], [9.0]]), np.array([[0.0], [0.9], [0.0]])).ravel()
    array([ True,  True,  True])
    """

    def __init__(self, shape: Sequence[int], edges: Sequence[Edges], weights: Sequence[np.ndarray]):
        shape = tuple(shape)
        incident = np.zeros(shape)
        for (first, second, _), weight in zip(edges, weights, strict=True):
            if np.shape(weight) != incident[first].shape:
                raise ValueError(f"Weights {np.shape(weight)} given for edges {incident[first].shape}.")
            if not (np.min(weight, initial=0) >= 0 and np.max(weight, initial=0) < np.inf):
                raise ValueError("A weight is negative or not finite; the cut needs finite weights >= 0.")
            incident[first] += weight
            incident[second] += weight
        self.shape, self._warm = shape, False
        self._scale = 2.0 ** np.floor(np.log2(CEILING / (incident.max() or 1.0)))
        # Beyond its summed weights, a cost cannot be outvoted by the neighbours: this is "infinity" enough. The
        # weights below are rounded, each by less than 1.
        self._infinity = incident * self._scale + 2 * len(edges) + 1

        # A border one voxel wide, and its edges without capacity, save the flow all questions about what lies inside.
        self._inside = (slice(1, -1),) * len(shape)
        self._inflow = np.zeros([n + 2 for n in shape], np.int32)  # of the last call, into each voxel
        self._residual = np.zeros((2 * len(edges), *self._inflow.shape), np.int32)
        self._offsets = np.zeros(2 * len(edges), np.int64)
        strides = np.array(self._inflow.strides) // self._inflow.itemsize
        for k, ((first, second, _), weight) in enumerate(zip(edges, weights, strict=True)):
            rounded = np.rint(np.multiply(weight, self._scale))
            for row in (2 * k, 2 * k + 1):
                self._residual[row][self._inside][first] = rounded
            offset = sum((b.start - a.start) * s for a, b, s in zip(first, second, strides, strict=True))
            self._offsets[2 * k : 2 * k + 2] = offset, -offset

    def __call__(self, cost0: np.ndarray, cost1: np.ndarray) -> np.ndarray:
        """The labels of least total cost: bool, True for label 1.

        ``cost0``, ``cost1``: the costs of label 0 and label 1 at each voxel; one of the two may be infinite,
        which forces the other label. Of several minima, the one with the fewest voxels of label 1 is returned.
        Raises ValueError for costs of another shape, for NaN, and where both costs are infinite.
        """
        cost0, cost1 = np.asarray(cost0, dtype=float), np.asarray(cost1, dtype=float)
        if cost0.shape != self.shape or cost1.shape != self.shape:
            raise ValueError(f"Costs of shapes {cost0.shape} and {cost1.shape}; this grid is {self.shape}.")
        with np.errstate(invalid="ignore", over="ignore"):
            own = cost0 - cost1
            own *= self._scale
        if np.isnan(own.min()):
            raise ValueError("A voxel's costs are NaN or both infinite; only one of the two may be infinite.")
        own = np.rint(np.clip(own, -self._infinity, self._infinity, out=own), out=own).astype(np.int32)
        excess = self._inflow.copy()
        excess[self._inside] += own
        residual = self._residual.reshape(len(self._offsets), -1)
        level = maximum_flow(residual, excess.reshape(-1), self._offsets, self._warm)
        self._warm = True
        excess[self._inside] -= own
        self._inflow = excess
        return level.reshape(excess.shape)[self._inside] > 0
