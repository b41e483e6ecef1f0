"""What the masks of finished objects say of another one's: where in its box such an object lies. Not in the paper.

This is a probabilistic atlas (Park et al., IEEE TMI 2003) whose registration is the box that somebody drew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.orientation import Axes, in_canonical_order, in_order_of
from bifseg.imaging.resampling import resample

CELLS = {2: 48, 3: 24}  # along each axis of a mean shape, by dimension
WIDTH = 1 / 32  # of the box: standard deviation by which masks are blurred, for no two boxes are drawn alike
UNSEEN = 0.25  # of an object and of none, counted beside those that were seen: nothing is certain


def mean_shape(masks: Sequence[np.ndarray], axes: Sequence[Axes]) -> np.ndarray:
    """The mean of masks, each stretched to a cube.

    Parameters
    ----------
    masks
        bool, the content of boxes: all (x, y) or all (x, y, z).
    axes
        How each of them lies in its patient, see `canonical_axes`.

    Returns
    -------
    ndarray
        Log-odds of the foreground, float32, `CELLS` along each canonical axis.
    """
    from scipy.ndimage import gaussian_filter  # 0.1 s that a first mask need not wait for

    d = masks[0].ndim
    cells = (CELLS[d],) * d
    stretched = [
        resample(in_canonical_order(mask, own).astype(np.float32), cells) for mask, own in zip(masks, axes, strict=True)
    ]
    n, mean = len(masks), gaussian_filter(np.mean(stretched, axis=0), WIDTH * CELLS[d], mode="nearest")
    p = (n * mean + UNSEEN) / (n + 2 * UNSEEN)
    return np.log(p / (1 - p)).astype(np.float32)


def shape_on_grid(shape: np.ndarray, axes: Axes, grid: tuple[int, ...]) -> np.ndarray:
    """A mean shape in another box.

    Parameters
    ----------
    shape
        As `mean_shape` makes it.
    axes
        How the box lies in its patient.
    grid
        Points along the axes of the box's grid.

    Returns
    -------
    ndarray
        Log-odds, float32, on the grid.

    Raises
    ------
    InvalidInput
        Where the shape is of the other dimension.
    """
    if shape.ndim != len(grid):
        raise InvalidInput(f"The mean shape of a task is of {shape.ndim}D boxes, and this one is {len(grid)}D.")
    return resample(np.ascontiguousarray(in_order_of(shape, axes)), grid)
