"""Where a stroke lies: pixels of one plane that a hand would paint, and how far the hand moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage

Painted = tuple[np.ndarray, float]  # bool, the plane's shape; the length of the hand's way, in pixels


def centre_line(shape: np.ndarray) -> Painted:
    """A stroke through the middle of a connected set (bool, (x, y)), three pixels wide, within it.

    Along the set's principal axis, every two pixels the point farthest from its border; it stops short of thin tips.
    """
    points = _spine(shape)
    line = np.zeros(shape.shape, bool)
    line[tuple(points.T)] = True
    line = ndimage.binary_closing(np.pad(line, 3), np.ones((5, 5)))[3:-3, 3:-3] | line
    return _brushed(line) & shape, _length(points)


def straight_line(shape: np.ndarray) -> Painted:
    """A straight stroke between the ends of the centre line; what would leave the set is not painted."""
    ends = _spine(shape)[[0, -1]]
    count = 1 + int(2 * np.abs(ends[1] - ends[0]).max())
    points = np.rint(np.linspace(ends[0], ends[1], count)).astype(int)
    line = np.zeros(shape.shape, bool)
    line[tuple(points.T)] = True
    return _brushed(line) & shape, _length(ends)


def contour(shape: np.ndarray) -> Painted:
    """A closed stroke inside the set, half as far from its border as its deepest point (Wong et al., ECCV 2024)."""
    depth = _depth(shape)
    line = (depth > 0) & (np.abs(depth - max(1.0, depth.max() / 2)) <= 1)
    return line, float(np.count_nonzero(line)) / 2


def click(shape: np.ndarray) -> Painted:
    """A dot as wide as a stroke at the point farthest from the set's border (the first of several)."""
    dot = np.zeros(shape.shape, bool)
    dot[np.unravel_index(np.argmax(_depth(shape)), shape.shape)] = True
    return _brushed(dot) & shape, 0.0


def ring(shape: np.ndarray, distance: float, step: Sequence[float] = (1.0, 1.0)) -> Painted:
    """A loop around a set, ``distance`` away from it; ``step``: the pixels' sides, the smaller being 1.

    Where the set comes near the plane's border the loop is open there.
    """
    away = ndimage.distance_transform_edt(~shape, sampling=step)
    width = max(1.5, *step)  # a loop of coarse pixels must not have gaps
    line = (away >= distance) & (away < distance + width)
    return line, float(np.count_nonzero(line) * np.prod(step)) / width


STYLES: dict[str, Callable[[np.ndarray], Painted]] = {
    "centre": centre_line, "line": straight_line, "contour": contour, "click": click,
}  # fmt: skip


def _spine(shape: np.ndarray) -> np.ndarray:
    """(k, 2) pixels along the middle of a set, in the order of its principal axis; at least one."""
    depth = _depth(shape)
    points = np.argwhere(shape)
    spread = points - points.mean(0)
    along = spread @ np.linalg.svd(spread, full_matrices=False)[2][0] if len(points) > 1 else spread[:, 0]
    bins = np.floor((along - along.min()) / 2).astype(int)
    deep = depth[tuple(points.T)]
    order = np.lexsort((np.arange(len(points)), -deep, bins))  # within a bin the deepest first, of equal ones the first
    first = order[np.unique(bins[order], return_index=True)[1]]
    return points[first[deep[first] >= deep.max() / 2]]


def _depth(shape: np.ndarray) -> np.ndarray:
    """Distance to the nearest pixel outside, which begins beyond the plane's border."""
    return ndimage.distance_transform_edt(np.pad(shape, 1))[1:-1, 1:-1]


def _brushed(line: np.ndarray) -> np.ndarray:
    return ndimage.binary_dilation(line, np.ones((3, 3)))


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
