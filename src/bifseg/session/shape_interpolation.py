"""Between slices: the shape halfway between two, and whether an object goes on from one slice to the next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

LEAST_OVERLAP = 0.5  # Dice of neighbouring slices; below, the object of the one is not that of the other
SHIFT = 4.0  # pixels of the working grid that a border may move from one slice to the next
CONTRAST = 2.0  # of an object against the rest of its box, in median deviations: below, intensities do not tell


def shape_between(first: np.ndarray, second: np.ndarray, share: float, spacing: Sequence[float]) -> np.ndarray:
    """The shape a share of the way from one mask to another.

    Both are moved to the centroid in between, so that an oblique vessel stays as wide as it is, and their signed
    distances averaged by the share (Raya and Udupa, IEEE TMI 9(1), 1990).

    Parameters
    ----------
    first, second
        bool (x, y), neither empty.
    share
        0 to 1; at 0 and at 1 it is the one and the other itself.
    spacing
        mm, one per axis.

    Returns
    -------
    ndarray
        bool, their shape.

    Raises
    ------
    InvalidInput
        For masks of two shapes or without a voxel, and a share outside [0, 1].
    """
    from scipy import ndimage  # here, for a session that never interpolates need not wait for it

    if first.shape != second.shape or first.ndim != 2 or not first.any() or not second.any():
        raise InvalidInput("Shapes are interpolated between two masks of one plane's shape, neither of them empty.")
    if not 0 <= share <= 1:
        raise InvalidInput(f"The share is {share}; it must lie between 0 and 1.")
    centres = [np.mean(np.nonzero(mask), axis=1) for mask in (first, second)]
    way = centres[1] - centres[0]
    pad = [int(np.ceil(abs(step))) + 1 for step in way]
    total = np.zeros([n + 2 * p for n, p in zip(first.shape, pad, strict=True)])
    for mask, moved, weight in ((first, share * way, 1 - share), (second, (share - 1) * way, share)):
        distance = _signed_distance(np.pad(mask, [(p, p) for p in pad]), spacing)
        total += weight * ndimage.shift(distance, moved, order=1, mode="nearest")
    return total[tuple(slice(p, n + p) for n, p in zip(first.shape, pad, strict=True))] > 0


def goes_on(before: np.ndarray, after: np.ndarray, scan_before: np.ndarray, scan_after: np.ndarray) -> bool:
    """Whether a mask is of the same object as that of the slice beside it.

    It is not where one is empty, where they hardly overlap, or where the object was brighter or darker than the rest of
    its box and what is found now is rather like that rest: a network looks for an object in mere noise, too.

    Parameters
    ----------
    before, after
        bool (x, y), of one box in two slices.
    scan_before, scan_after
        The box's voxels in them.

    Returns
    -------
    bool
        Whether to go on.
    """
    both = np.count_nonzero(before & after)
    if not both or 2 * both < LEAST_OVERLAP * (np.count_nonzero(before) + np.count_nonzero(after)):
        return False
    inside, rest = scan_before[before].astype(float), scan_before[~before].astype(float)
    if not rest.size:
        return True
    middles = np.median(inside), np.median(rest)
    spread = max(np.median(np.abs(side - middle)) for side, middle in zip((inside, rest), middles, strict=True))
    if abs(middles[0] - middles[1]) <= CONTRAST * spread:
        return True
    now = np.median(scan_after[after].astype(float))
    return bool(abs(now - middles[0]) <= abs(now - middles[1]))


def core_and_rest(mask: np.ndarray, steps: float = SHIFT) -> np.ndarray:
    """What a mask says of the slice beside it.

    Parameters
    ----------
    mask
        Bool (x, y).
    steps
        How many pixels a border may move from slice to slice; of what is thinner the middle half is inside all the
        same.

    Returns
    -------
    numpy.ndarray
        uint8 (x, y): 1 well inside, 2 well outside, 0 near the border.
    """
    from scipy.ndimage import distance_transform_edt

    result = np.zeros(mask.shape, np.uint8)
    if mask.any():
        inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
        result[inside > min(steps, inside.max() / 2)] = FOREGROUND
        result[outside > steps] = BACKGROUND
    return result


def gaps(drawn: Sequence[int]) -> list[tuple[int, int]]:
    """Neighbours among planes that are drawn in, with planes between them.

    Parameters
    ----------
    drawn
        Indices, in any order.

    Returns
    -------
    list of tuple
        Pairs of indices, in their order.

    Examples
    --------
    >>> gaps([9, 2, 3, 6])
    [(3, 6), (6, 9)]
    """
    ordered = sorted(drawn)
    return [(a, b) for a, b in pairwise(ordered) if b - a > 1]


def away(plane: int, start: int, stop: int) -> tuple[range, range]:
    """The planes of a range as they lie away from one.

    Parameters
    ----------
    plane
        From which on.
    start, stop
        The range, half-open.

    Returns
    -------
    tuple of range
        Upwards, and downwards.

    Examples
    --------
    >>> [list(way) for way in away(5, 3, 8)]
    [[6, 7], [4, 3]]
    """
    return range(max(plane + 1, start), stop), range(min(plane - 1, stop - 1), start - 1, -1)


def _signed_distance(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """mm to the border of a mask, positive inside."""
    from scipy.ndimage import distance_transform_edt

    half = min(spacing) / 2  # the border lies between voxels
    inside, outside = (distance_transform_edt(side, sampling=spacing) for side in (mask, ~mask))
    return np.where(mask, inside - half, half - outside)
