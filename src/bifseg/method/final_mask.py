"""From labels on the working grid to the mask that a user sees: its outline on the scan's voxels, nothing left over."""

from __future__ import annotations

import numpy as np

from bifseg.method.band_cut import band_cut
from bifseg.method.energy import fixed_labels
from bifseg.method.evidence import log_odds_of
from bifseg.method.grid import Grid
from bifseg.method.islands import tidy
from bifseg.method.parameters import Parameters
from bifseg.method.timing import Stopwatch


def final_mask(
    grid: Grid,
    labels: np.ndarray,
    probability: np.ndarray,
    scribbles: np.ndarray,
    locked: np.ndarray,
    parameters: Parameters,
    clock: Stopwatch | None = None,
) -> np.ndarray:
    """The mask in the box, where no band is cut within a cell of the grid of what scribbles and locks say.

    Parameters
    ----------
    grid
        Of the box.
    labels, probability
        bool and float on the grid: the minimum of Eq. 1, and what it was cut from.
    scribbles, locked
        uint8 (1 foreground, 2 background) and bool, in the box.
    parameters
        ``full_resolution`` and what follows it.
    clock
        Takes the time of the stages.

    Returns
    -------
    ndarray
        bool, three axes.
    """
    clock = Stopwatch() if clock is None else clock
    p = parameters
    fixed = fixed_labels(scribbles, locked if locked.any() else None).reshape(grid.native_shape)
    if p.full_resolution and (len(grid.shape) == 3 or any(np.greater(grid.native_shape, grid.shape))):
        with clock("band cut"):
            mask = band_cut(
                grid.native, grid.window, grid.native_spacing, log_odds_of(probability.astype(float)), labels, fixed,
                lam=p.band_lam, sigma=p.band_sigma,
            )  # fmt: skip
    else:
        with clock("paste"):
            mask = grid.mask_in_box(labels).reshape(grid.native_shape)
    if p.fill_holes or p.drop_islands:
        with clock("tidy"):
            mask = tidy(mask, fixed, fill_holes=p.fill_holes, drop_islands=p.drop_islands)
    return mask.reshape(grid.box.shape)
