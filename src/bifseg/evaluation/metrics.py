"""How well a mask agrees with the truth, and how a curve of such scores is summed up; arrays and numbers only.

`VERSION` changes whenever a number that a function here returns may change; whoever stores results stores it with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from scipy.spatial import cKDTree

from bifseg.errors import InvalidInput, MissingExtra

VERSION = "1"


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice's coefficient 2 |A and B| / (|A| + |B|) of two masks of one shape, 0 to 1; 1 where both are empty.

    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 1]))
    0.5
    """
    mask, truth = _pair(mask, truth)
    size = np.count_nonzero(mask) + np.count_nonzero(truth)
    return float(2 * np.count_nonzero(mask & truth) / size) if size else 1.0


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union (Jaccard) of two masks of one shape, 0 to 1; 1 where both are empty.

    >>> iou(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 1]))
    0.25
    """
    mask, truth = _pair(mask, truth)
    union = np.count_nonzero(mask | truth)
    return float(np.count_nonzero(mask & truth) / union) if union else 1.0


def nsd(mask: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance: float = 2.0) -> float:
    """Normalised surface Dice (Nikolov et al. 2018): the share of both surfaces that lies near the other one, 0 to 1.

    Near is a distance of at most ``tolerance``, in mm as ``spacing`` (one per axis). Surface elements sit between the
    voxels: their areas (3D) or lengths (2D) are those of DeepMind's `surface-distance`. Masks (x, y, z) of one plane
    and masks (x, y) are measured as contours; whoever segments one plane of a scan passes that plane only. 1 where
    both masks are empty, 0 where one is.

    Raises InvalidInput for masks of different shapes and for spacings that do not fit; ImportError, saying what to
    install, where `surface-distance` is not there.
    """
    mask, truth = _pair(mask, truth)
    if mask.ndim not in (2, 3) or len(spacing) != mask.ndim or not all(0 < s < np.inf for s in spacing):
        raise InvalidInput(
            f"Masks have 2 or 3 axes, and a positive spacing for each; given {mask.shape} and {spacing}."
        )
    if mask.ndim == 3 and 1 in mask.shape:
        axis = mask.shape.index(1)
        mask, truth = mask.squeeze(axis), truth.squeeze(axis)
        spacing = [s for k, s in enumerate(spacing) if k != axis]
    step = tuple(float(s) for s in spacing)
    (ours, our_sizes), (theirs, their_sizes) = _surface(mask, step), _surface(truth, step)
    if not len(ours) or not len(theirs):
        return float(len(ours) == len(theirs))
    near = (
        our_sizes[_near(ours, theirs, step, tolerance)].sum() + their_sizes[_near(theirs, ours, step, tolerance)].sum()
    )
    return float(near / (our_sizes.sum() + their_sizes.sum()))


def surface_area(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """The area of a mask's surface (x, y, z), or the length of its contour (x, y), in mm² or mm as ``spacing``; as in
    `nsd`, whose elements it sums.

    ImportError, saying what to install, where `surface-distance` is not there.
    """
    return float(_surface(np.asarray(mask, bool), tuple(float(s) for s in spacing))[1].sum())


def area_under_curve(values: Sequence[float]) -> float:
    """Trapezoids of width 1 under a curve: n values between 0 and 1 give 0 to n - 1; InvalidInput where there are none.

    >>> area_under_curve([0.5, 1, 1, 1, 1])
    3.75
    """
    if not len(values):
        raise InvalidInput("The curve has no values; give one or more.")
    return float(sum(values) - (values[0] + values[-1]) / 2)


def clicks_needed(ious: Sequence[float], level: float, most: int = 20) -> int:
    """The number of clicks after which the IoU reaches a level for the first time; ``most`` where it never does.

    ``ious``: of one object after 1, 2, ... clicks; the curve may end once the level is reached.

    >>> clicks_needed([0.5, 0.8, 0.9], 0.8), clicks_needed([0.5, 0.8, 0.9], 0.95)
    (2, 20)
    """
    return next((k for k, value in enumerate(ious[:most], 1) if value >= level), most)


def number_of_clicks(curves: Iterable[Sequence[float]], level: float, most: int = 20) -> tuple[float, int]:
    """NoC and failures of many objects (Sofiiuk et al., RITM): the mean of `clicks_needed`, and how many took ``most``.

    As there, an object that needs the last click to get to the level counts among the failures ("≥ 20").
    Raises InvalidInput where there are no curves.
    """
    needed = [clicks_needed(curve, level, most) for curve in curves]
    if not needed:
        raise InvalidInput("There are no curves; give the IoU by click of one object or more.")
    return float(np.mean(needed)), sum(count >= most for count in needed)


def extent(mask: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest block of a boolean array that holds all that is True, as slices; None where nothing is."""
    slices = [slice(0, size) for size in mask.shape]
    for axis in range(mask.ndim):
        indices = np.flatnonzero(mask[tuple(slices)].any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
        if not len(indices):
            return None
        slices[axis] = slice(int(indices[0]), int(indices[-1]) + 1)  # the next axes look at no more than that
    return tuple(slices)


def _pair(mask: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask, truth = (array if array.dtype == bool else array != 0 for array in map(np.asarray, (mask, truth)))
    if mask.shape != truth.shape:
        raise InvalidInput(f"The mask has the shape {mask.shape} and the truth {truth.shape}.")
    return mask, truth


def _surface(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The corners between voxels that the surface passes, (n, dimensions) integers, and the size of the surface there.

    The 2 or 3 axes' 4 or 8 voxels around a corner make a code, one bit each, the first voxel the highest; a corner
    whose voxels differ is on the surface. Outside the array is background.
    """
    where = extent(mask)
    if where is None:
        return np.zeros((0, mask.ndim), int), np.zeros(0)
    inside = np.pad(mask[where], 1).view(np.uint8)
    code = np.zeros([size - 1 for size in inside.shape], np.uint8)
    for corner in product((0, 1), repeat=mask.ndim):
        code = code * 2 + inside[tuple(slice(k, size - 1 + k) for k, size in zip(corner, inside.shape, strict=True))]
    table = _sizes(spacing)
    border = np.flatnonzero((code != 0) & (code != len(table) - 1))
    points = np.stack(np.unravel_index(border, code.shape), axis=1)
    return points + [s.start for s in where], table[code.ravel()[border]]


@lru_cache(maxsize=64)
def _sizes(spacing: tuple[float, ...]) -> np.ndarray:
    try:  # the tables only: the package's own distances need names that NumPy 2 no longer has
        from surface_distance import lookup_tables as tables
    except ImportError as error:
        raise MissingExtra('The surface Dice needs surface-distance: pip install "bifseg[evaluation]".') from error
    if len(spacing) == 2:
        return tables.create_table_neighbour_code_to_contour_length(spacing)
    return tables.create_table_neighbour_code_to_surface_area(spacing)


def _near(points: np.ndarray, others: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> np.ndarray:
    """Which points have one of the others within the tolerance, bool.

    The tree finds the nearest; its distance is then taken from whole voxels, as a distance transform does it, so that
    exactly 2 mm counts as 2 mm.
    """
    reach = tolerance + min(spacing) / 1000
    _, nearest = cKDTree(others * np.array(spacing)).query(points * np.array(spacing), distance_upper_bound=reach)
    near = nearest < len(others)
    apart = (points[near] - others[nearest[near]]) * np.array(spacing)
    near[near] = np.sqrt((apart**2).sum(axis=1)) <= tolerance
    return near
