"""Exact minimum cut on a grid: binary labels under per-voxel costs and a price on every cut edge.

Knows nothing of images or probabilities. The flow is SciPy's (Dinic's algorithm); this module lays out the
graph, keeps every number inside 32 bits, and does the easy part of the work in NumPy before SciPy sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

NEIGHBOURHOODS = {2: (4, 8), 3: (6, 18, 26)}
CEILING = 2**26  # the integer weights at one voxel sum to this at most; a few such sums still fit 32 bits
SWEEPS = 10  # measured: fewer leave Dinic's algorithm more to do, more cost about what they save


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
    spacing = np.ones(ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if spacing.shape != (ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"The spacing is {spacing.tolist()}; give {ndim} finite lengths above 0.")
    reach = NEIGHBOURHOODS[ndim].index(neighbours) + 1  # how many coordinates may change in one step
    steps = product((-1, 0, 1), repeat=ndim)
    offsets = [step for step in steps if step > (0,) * ndim and np.count_nonzero(step) <= reach]
    return tuple(
        Edges(
            tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(offset, shape, strict=True)),
            tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(offset, shape, strict=True)),
            float(np.linalg.norm(offset * spacing / spacing.min())),
        )
        for offset in offsets
    )


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
            if not (np.isfinite(weight) & (np.asarray(weight) >= 0)).all():
                raise ValueError("A weight is negative or not finite; the cut needs finite weights >= 0.")
            incident[first] += weight
            incident[second] += weight
        self.shape, self.edges = shape, tuple(edges)
        self._scale = 2.0 ** np.floor(np.log2(CEILING / (incident.max() or 1.0)))
        self._weights = [np.rint(np.multiply(w, self._scale)).astype(np.int32) for w in weights]
        self._flows = [np.zeros_like(w) for w in self._weights]
        # Beyond its summed weights, a cost cannot be outvoted by the neighbours: this is "infinity" enough.
        self._infinity = np.ones(shape, np.int32)
        for (first, second, _), weight in zip(edges, self._weights, strict=True):
            self._infinity[first] += weight
            self._infinity[second] += weight
        self._lay_out()

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
            excess = (cost0 - cost1) * self._scale
        if np.isnan(excess).any():
            raise ValueError("A voxel's costs are NaN or both infinite; only one of the two may be infinite.")
        excess = np.rint(np.clip(excess, -self._infinity, self._infinity)).astype(np.int32)
        self._balance(excess)
        return self._finish(excess)

    def _balance(self, excess: np.ndarray) -> None:
        """Push flow between neighbours of unequal excess, as heat would flow, within the edges' capacities.

        Any flow that respects the capacities is a valid start for the maximum flow (only the terminal edges
        change, by what flowed), so this cannot change the minimum. It removes most of the short augmenting
        paths, the bulk of Dinic's work where costs are noisy, and so does starting from the last call's flow.
        """
        for (first, second, _), flow in zip(self.edges, self._flows, strict=True):
            excess[first] -= flow
            excess[second] += flow
        for _ in range(SWEEPS):
            for (first, second, _), flow, weight in zip(self.edges, self._flows, self._weights, strict=True):
                step = np.clip(flow + ((excess[first] - excess[second]) >> 1), -weight, weight) - flow
                flow += step
                excess[first] -= step
                excess[second] += step

    def _lay_out(self) -> None:
        """Give each voxel a slot for each neighbour, in order of its index, and a last one for a terminal.

        A dense array (*shape, slots) then holds all capacities, and ``capacity[self._exists]`` is the data of
        the CSR matrix: sorted, with every reverse edge in place, as SciPy wants it.
        """
        index = np.arange(np.prod(self.shape), dtype=np.int32).reshape(self.shape)
        middle = len(self.edges)
        self._exists = np.zeros((*self.shape, 2 * middle + 1), bool)
        self._exists[..., -1] = True
        head = np.zeros(self._exists.shape, np.int32)
        for k, (first, second, _) in enumerate(self.edges):
            self._exists[(*first, middle + k)] = self._exists[(*second, middle - 1 - k)] = True
            head[(*first, middle + k)] = index[second]
            head[(*second, middle - 1 - k)] = index[first]
        self._heads = head[self._exists]
        self._row_ends = np.cumsum(self._exists.sum(-1), dtype=np.int32)

    def _finish(self, excess: np.ndarray) -> np.ndarray:
        """Run the maximum flow on what balancing left, and return what the source still reaches."""
        middle, voxels = len(self.edges), excess.size
        source, sink = voxels, voxels + 1

        capacity = np.zeros(self._exists.shape, np.int32)
        for k, ((first, second, _), flow) in enumerate(zip(self.edges, self._flows, strict=True)):
            capacity[(*first, middle + k)] = self._weights[k] - flow
            capacity[(*second, middle - 1 - k)] = self._weights[k] + flow
        capacity[..., -1] = np.maximum(-excess, 0)

        # Each voxel is tied to one terminal only: to the source if its excess is positive, else to the sink.
        excess = excess.ravel()
        fed, drained = np.flatnonzero(excess > 0), np.flatnonzero(excess <= 0)
        heads = self._heads.copy()
        heads[self._row_ends - 1] = np.where(excess > 0, source, sink)
        inside = self._row_ends[-1]
        graph = csr_matrix(
            (
                np.concatenate([capacity[self._exists], excess[fed], np.zeros(len(drained), np.int32)]),
                np.concatenate([heads, fed, drained], dtype=np.int32),
                np.concatenate([[0], self._row_ends, [inside + len(fed), inside + voxels]], dtype=np.int32),
            ),
            shape=(voxels + 2, voxels + 2),
        )
        result = maximum_flow(graph, source, sink, method="dinic").flow
        capacity[self._exists] = result.data[:inside]
        for k, ((first, _, _), flow) in enumerate(zip(self.edges, self._flows, strict=True)):
            flow += capacity[(*first, middle + k)]

        reached = np.zeros(voxels + 2, bool)
        reached[breadth_first_order(graph - result, source, return_predecessors=False)] = True
        return reached[:voxels].reshape(self.shape)
