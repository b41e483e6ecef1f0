"""The geodesic distance to a set of voxels: how much the image must change on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from bifseg.algorithms.jit import compiled

WIDTH = 0.01  # voxels whose distances differ by less are worked off in any order; decides the speed, not the result
SPREAD = (  # in a grey image, or one of colours
    "void({}, float32[::1], uint64[::1], float32[::1], uint64[::1], float32[::1], float32, uint32[::1], uint32[::1],"
    " uint8[::1], uint32[::1], float32[::1])"
)


def geodesic_distance(
    image01: np.ndarray,
    seeds: np.ndarray,
    *,
    limit: float = np.inf,
    spatial: float = 0.0,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """G(i, S): the least sum of absolute intensity changes along an 8- or 26-connected path from i to S.

    ``image01``: (x, y) or (x, y, z), in [0, 1]; with colours in a last axis, a change is the root of the mean of their
    squared changes. ``seeds``: S, bool, (x, y) or (x, y, z). ``limit``: distances of so
    much and more are returned as infinite; the less a limit encloses, the less it costs. ``spatial``: what a step of
    the smallest ``spacing`` costs by its length alone: a step costs hypot(change, spatial * length), as in GeoS
    (Criminisi et al., ECCV 2008). Returns float32, 0 on S; infinite everywhere if S is empty.
    Raises ValueError for unequal shapes, an image that is not finite, and a limit or lengths out of range.

    The distances are the exact minima over all paths whose costs are summed in float32, voxel by voxel from S.

    >>> geodesic_distance(np.array([[0.0, 0.25, 1.0]]), np.array([[True, False, False]]))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """
    prices = np.where(np.asarray(seeds).astype(bool), np.float32(0), np.float32(np.inf))
    return soft_distance(image01, prices, limit=limit, spatial=spatial, spacing=spacing)


def soft_distance(
    image01: np.ndarray,
    prices: np.ndarray,
    *,
    limit: float = np.inf,
    spatial: float = 0.0,
    spacing: Sequence[float] | None = None,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """min over j of G(i, {j}) + prices(j): the geodesic distance to soft seeds (Criminisi et al., Eq. 1).

    ``prices``: 0 or more, infinite for what is no seed; the rest, and what is raised, as in `geodesic_distance`.
    ``known``: what this gave, without a limit, for prices that were nowhere lower, and all else the same: only what the
    new prices lower is searched, and the result is the same to the last bit.

    >>> soft_distance(np.array([[0.0, 0.25, 1.0]]), np.array([[0.0, np.inf, 0.5]]))
    array([[0.  , 0.25, 0.5 ]], dtype=float32)
    """
    image, prices = np.asarray(image01, dtype=np.float32), np.asarray(prices, dtype=np.float32)
    ndim = prices.ndim
    if ndim not in (2, 3) or prices.shape != image.shape[:ndim] or image.ndim > ndim + 1:
        raise ValueError(f"Image {image.shape} and seeds {prices.shape}; give one shape, 2D or 3D.")
    if not np.isfinite(image).all():
        raise ValueError("The image holds NaN or infinity; give finite intensities, scaled to [0, 1].")
    if not (prices >= 0).all():
        raise ValueError("The price of a seed is below 0 or NaN; give 0 or more.")
    if not limit >= 0:
        raise ValueError(f"limit is {limit}; it must be 0 or more.")
    if not 0 <= spatial < np.inf:
        raise ValueError(f"spatial is {spatial}; it must be finite and 0 or more.")
    lengths = np.ones(ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if lengths.shape != (ndim,) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"The spacing is {lengths.tolist()}; give {ndim} finite lengths above 0.")

    steps = np.array([step for step in product((-1, 0, 1), repeat=ndim) if any(step)])
    squares = ((steps * (spatial * lengths / lengths.min())) ** 2).sum(1).astype(np.float32)
    core, beyond = (slice(1, -1),) * ndim, np.float32(limit)
    image = np.pad(np.ascontiguousarray(image), [(1, 1)] * ndim + [(0, 0)] * (image.ndim - ndim))
    # Around the image no step leads, as none lowers it.
    distance = np.full(image.shape[:ndim], -np.inf, np.float32)
    if known is not None:
        prices = np.where(prices < known, prices, np.float32(np.inf))
    np.minimum(prices, beyond, out=distance[core])
    offsets = (steps @ (np.array(distance.strides) // distance.itemsize)).astype(np.uint64)  # below 0: sums wrap around
    flat = distance.ravel()
    seeds = np.flatnonzero((flat >= 0) & (flat < beyond)).astype(np.uint64)
    seeds = seeds[np.argsort(flat[seeds])]
    if known is not None:
        np.minimum(distance[core], known, out=distance[core])
    seen = image.ravel() if image.ndim == ndim else image.reshape(-1, image.shape[-1])
    now, later, place = np.empty(len(seen), np.uint32), np.empty(len(seen), np.uint32), np.zeros(len(seen), np.uint8)
    lower, costs = np.empty(offsets.size + 1, np.uint32), np.empty(offsets.size + 1, np.float32)
    _spread(
        seen, flat, seeds, flat[seeds], offsets, squares, np.float32(WIDTH), now, later, place, lower, costs
    )  # fmt: skip
    return np.where(distance[core] < beyond, distance[core], np.float32(np.inf))


@compiled()
def _change(image, i, j):
    """The square of how much two voxels differ; the compiler keeps one of the two branches."""
    if image.ndim == 1:
        change = image[i] - image[j]
        return change * change
    total = np.float32(0)
    for c in range(image.shape[1]):
        change = image[i, c] - image[j, c]
        total += change * change
    return total / np.float32(image.shape[1])


@compiled(*(SPREAD.format(image) for image in ("float32[::1]", "float32[:,::1]")))
def _spread(image, distance, seeds, prices, offsets, squares, width, now, later, place, lower, costs):
    """Lower ``distance`` in place until no step lowers it further; a step costs sqrt(change^2 + its square).

    ``seeds``: indices of voxels to start from, in ascending order of their ``prices``. All is flat, and indices are
    unsigned, which saves the test for negative ones. In the manner of Dijkstra, but without his strict order (the
    threshold algorithm of Glover et al., 1985): what lies within ``width`` of the least distance is worked off first
    come, first served; the rest waits. A voxel whose distance falls once more comes again. ``now`` and ``later`` are
    room for a ring and a heap of voxels, ``place`` tells who is in them (1: in now, 2: in later), ``lower`` and
    ``costs`` are room for the neighbours of one voxel.
    """
    waiting = used = 0
    while waiting or used < seeds.size:
        threshold = prices[used] if used < seeds.size else np.float32(np.inf)
        for k in range(waiting):
            threshold = min(threshold, distance[later[k]])
        threshold += width
        first = count = kept = 0
        while used < seeds.size and prices[used] <= threshold:
            i = seeds[used]
            if distance[i] == prices[used]:
                now[count] = i
                place[i] = 1
                count += 1
            used += 1
        for k in range(waiting):
            i = later[k]
            if place[i] == 2 and distance[i] <= threshold:
                now[count] = i
                place[i] = 1
                count += 1
            elif place[i] == 2:
                later[kept] = i
                kept += 1
        waiting = kept
        while count:
            i = now[first]
            first = first + 1 if first + 1 < now.size else 0
            count -= 1
            place[i] = 0
            so_far = distance[i]
            found = 0
            for k in range(offsets.size):  # no branches in here: half of the neighbours would be guessed wrongly
                j = i + offsets[k]
                cost = so_far + np.sqrt(_change(image, i, j) + squares[k])
                lower[found], costs[found] = j, cost
                found += cost < distance[j]
            for k in range(found):
                i = lower[k]
                distance[i] = costs[k]
                if costs[k] > threshold:
                    if place[i] == 0:
                        place[i] = 2
                        later[waiting] = i
                        waiting += 1
                elif place[i] != 1:
                    place[i] = 1
                    last = first + count
                    now[last if last < now.size else last - now.size] = i
                    count += 1
