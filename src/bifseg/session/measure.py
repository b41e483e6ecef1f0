"""How large an object is: its volume or area, and its longest diameter within one slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Measure:
    """How large an object is. Where nobody knows how large a voxel is, there are no millimetres.

    A line between the ends is as long as it says; from rim to rim it would be about a voxel more.

    Parameters
    ----------
    voxels
        How many.
    ml
        Volume of the voxels; None of a picture.
    diameter_mm
        The longest distance between the centres of two voxels of one slice.
    ends
        Those voxels, (x, y, z); None where there is no voxel.
    area_mm2
        Of a picture's pixels, which have no volume.
    diameter_px
        The distance in voxels, where it is not known in mm.
    """

    voxels: int
    ml: float | None
    diameter_mm: float | None
    ends: tuple[Voxel, Voxel] | None
    area_mm2: float | None = None
    diameter_px: float | None = None


def measure(
    mask: np.ndarray, start: Sequence[int], spacing: Sequence[float], axis: int, *, planar: bool = False,
    calibrated: bool = True,
) -> Measure:  # fmt: skip
    """The measures of a mask.

    Parameters
    ----------
    mask
        bool (x, y, z).
    start
        Its first voxel in the image.
    spacing
        mm along x, y, z.
    axis
        Across the slices in one of which the diameter lies.
    planar, calibrated
        Of the image, as in `bifseg.imaging.image.Image`.

    Returns
    -------
    Measure
        Volume or area, and diameter.
    """
    voxels = int(np.count_nonzero(mask))
    square = 0.0
    ends: tuple[Voxel, Voxel] | None = None
    if voxels:
        square, (one, other) = _diameter(np.moveaxis(mask, axis, 0), np.delete(np.asarray(spacing, float), axis))
        ends = _voxel(one, start, axis), _voxel(other, start, axis)
    diameter = round(float(np.sqrt(square)), 4)
    if not calibrated:
        pixels = float(np.linalg.norm(np.subtract(*ends))) if ends else 0.0
        return Measure(voxels, None, None, ends, diameter_px=round(pixels, 4))
    if planar:
        return Measure(voxels, None, diameter, ends, area_mm2=round(voxels * prod(spacing[:2]), 6))
    return Measure(voxels, round(voxels * prod(spacing) / 1000, 6), diameter, ends)


def _voxel(place: np.ndarray, start: Sequence[int], axis: int) -> Voxel:
    """The voxel (x, y, z) of the image that is (slice, row, column) of a mask which begins at ``start``."""
    x, y, z = (np.insert(place[1:], axis, place[0]) + start).tolist()
    return x, y, z


def _diameter(slices: np.ndarray, spacing: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """The largest square of a distance within a slice, mm^2, and its ends as (slice, row, column)."""
    rows, columns = np.asarray(slices.any(2)), np.asarray(slices.any(1))
    used = np.flatnonzero(rows.any(1))
    bounds = ((_length(rows[used]) * spacing[0]) ** 2 + (_length(columns[used]) * spacing[1]) ** 2).tolist()
    best = -1.0
    ends: list[np.ndarray] = []
    for bound, k in sorted(zip(bounds, used.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1])):
        if bound <= best:
            break  # neither this slice nor those that follow can hold a longer one
        corners = _corners(slices[k])
        squares = (((corners[:, None] - corners) * spacing) ** 2).sum(2)
        if squares.max() > best:
            i, j = np.unravel_index(squares.argmax(), squares.shape)
            best, ends = float(squares[i, j]), [np.array([k, *corners[n]]) for n in sorted((i, j))]
    return best, ends


def _length(hit: np.ndarray) -> np.ndarray:
    """From the first to the last True of each row, (n, m) -> (n,): steps between their centres."""
    return hit.shape[1] - 1 - hit[:, ::-1].argmax(1) - hit.argmax(1)


def _corners(plane: np.ndarray) -> np.ndarray:
    """The corners of a plane's convex hull, (n, 2): its farthest pair is among them, whatever the spacing."""
    rows = np.flatnonzero(plane.any(1))
    inside = plane[rows]
    first, last = inside.argmax(1), plane.shape[1] - 1 - inside[:, ::-1].argmax(1)
    left, right = (_chain(rows.tolist(), columns.tolist()) for columns in (first, -last))
    return np.unique(left + [(row, -column) for row, column in right], axis=0)


def _chain(rows: Sequence[int], columns: Sequence[int]) -> list[tuple[int, int]]:
    """Of points with ascending rows, the corners of their convex hull on the side of small columns."""
    chain: list[tuple[int, int]] = []
    for row, column in zip(rows, columns, strict=True):
        while len(chain) > 1:
            (r0, c0), (r1, c1) = chain[-2:]
            if (r1 - r0) * (column - c0) > (c1 - c0) * (row - r0):
                break  # the chain bends towards larger columns
            chain.pop()
        chain.append((row, column))
    return chain
