"""The geodesic distance to a set of voxels: how much the image must change on the way there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np


def geodesic_distance(
    image01: np.ndarray,
    seeds: np.ndarray,
    *,
    passes: int | None = 2,
    spatial: float = 0.0,
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """G(i, S): the least sum of absolute intensity changes along an 8- or 26-connected path from i to S.

    ``image01``: (x, y) or (x, y, z), in [0, 1]. ``seeds``: S, bool, of the same shape. ``spatial``: what a step of
    the smallest ``spacing`` costs by its length alone: a step costs hypot(change, spatial * length), as in GeoS
    (Criminisi et al., ECCV 2008). Returns float32, 0 on S; infinite everywhere if S is empty.
    Raises ValueError for unequal shapes, an image that is not finite, and passes or lengths out of range.

    Each of the ``passes`` scans every axis forward and backward. Distances only shrink, towards the exact ones,
    which ``passes=None`` reaches by repeating until nothing changes (about a dozen passes). Two passes are close
    near the seeds and too high far away along winding paths: {G < 0.2}, all that Eq. 13 asks for, has a Dice of
    0.99 with the exact set on synthetic images (128 x 128 and 80^3), and 0.93-0.96 in very noisy volumes.

    >>> geodesic_distance(np.array([[0.0, 0.25, 1.0]]), np.array([[True, False, False]]))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """
    image, seeds = np.asarray(image01, dtype=np.float32), np.asarray(seeds)
    if image.ndim not in (2, 3) or seeds.shape != image.shape:
        raise ValueError(f"Image {image.shape} and seeds {seeds.shape}; give one shape, 2D or 3D.")
    if not np.isfinite(image).all():
        raise ValueError("The image holds NaN or infinity; give finite intensities, scaled to [0, 1].")
    if passes is not None and passes < 1:
        raise ValueError(f"passes is {passes}; give 1 or more, or None to repeat until nothing changes.")
    if not 0 <= spatial < np.inf:
        raise ValueError(f"spatial is {spatial}; it must be finite and 0 or more.")
    spacing = np.ones(image.ndim) if spacing is None else np.asarray(spacing, dtype=float)
    if spacing.shape != (image.ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"The spacing is {spacing.tolist()}; give {image.ndim} finite lengths above 0.")
    lengths = spatial * spacing / spacing.min()

    distance = np.where(seeds.astype(bool), np.float32(0), np.float32(np.inf))
    while passes is None or passes > 0:
        before = distance
        for axis in range(image.ndim):
            distance = _sweep(distance, image, lengths, axis)
        if np.array_equal(before, distance):
            break
        passes = passes and passes - 1
    return distance


def _sweep(distance: np.ndarray, image: np.ndarray, lengths: np.ndarray, axis: int) -> np.ndarray:
    """One scan forward and one backward along an axis: each plane takes from the plane before."""
    order = [axis, *(a for a in range(image.ndim) if a != axis)]
    rim = [(0, 0)] + [(1, 1)] * (image.ndim - 1)  # so that a shifted plane is a plain slice
    distance = np.pad(distance.transpose(order), rim, constant_values=np.inf)
    image = np.pad(image.transpose(order), rim)
    core = (slice(1, -1),) * (image.ndim - 1)
    for planes, values in ((distance, image), (distance[::-1], image[::-1])):
        steps = []
        for offset in product((-1, 0, 1), repeat=image.ndim - 1):
            shifted = tuple(slice(1 + d, n - 1 + d) for d, n in zip(offset, image.shape[1:], strict=True))
            cost = np.abs(values[(slice(1, None), *core)] - values[(slice(None, -1), *shifted)])
            length = np.linalg.norm(np.multiply((1, *offset), lengths[order]))
            steps.append((shifted, np.hypot(cost, np.float32(length)) if length else cost))
        for k, (before, here) in enumerate(pairwise(planes)):
            for shifted, cost in steps:
                np.minimum(here[core], before[shifted] + cost[k], out=here[core])
    return distance[(slice(None), *core)].transpose(np.argsort(order))
