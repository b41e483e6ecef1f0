"""Where a mask is least sure: the places that are worth a look, or a scribble, before all others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bifseg.imaging.resampling import resample

CELLS = 48  # along a box's mean side: enough to say where something is, and quick for any box
BLUR = 0.03  # of the mean side: the spread of the Gaussian that gathers uncertainty
APART = 0.15  # of the mean side: what is nearer is the same place
LEAST = 0.1  # bits; less is sure enough
SHARE = 0.3  # of the first place's bits; less is not worth being named beside it

Voxel = tuple[int, int, int]


def places(uncertainty: np.ndarray, spacing: Sequence[float], count: int = 8) -> list[tuple[Voxel, float]]:
    """Where most uncertainty is gathered.

    Parameters
    ----------
    uncertainty
        (x, y, z), bits, 0 to 1; in a plane one axis has one voxel.
    spacing
        mm along x, y, z.
    count
        Of places, at most.

    Returns
    -------
    list of tuple
        Voxel (x, y, z) of the array, and bits, blurred, at it: most first, none near another, none at all where nothing
        is unsure.
    """
    from scipy.ndimage import gaussian_filter  # here, for few who load this module look for places

    step = np.asarray(spacing, float)
    shape = np.array(uncertainty.shape)
    wide = shape > 1
    side = (shape * step)[wide].mean()
    cells = np.where(wide, np.clip(np.rint(shape * step * CELLS / side), 1, shape), 1).astype(int)
    pitch = shape * step / cells
    blur = np.where(cells > 1, max(BLUR * side, step[wide].min()) / pitch, 0)
    bits = _on_grid(uncertainty, tuple(cells.tolist()))
    bits = gaussian_filter(bits, blur, mode="nearest", truncate=3)
    chosen: list[tuple[Voxel, float]] = []
    while len(chosen) < count:
        where = np.array(np.unravel_index(bits.argmax(), bits.shape))
        most = float(bits[tuple(where)])
        if most < max(LEAST, SHARE * chosen[0][1] if chosen else 0):
            break
        voxel = np.minimum((where + 0.5) * shape / cells, shape - 1).astype(int)
        chosen.append((tuple(voxel.tolist()), round(most, 4)))
        _suppress(bits, where, APART * side / pitch)
    return chosen


def _on_grid(array: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """An array of three axes, one of which may have one voxel, on a coarser grid of the same extent."""
    axes = tuple(axis for axis, n in enumerate(array.shape) if n == 1)
    flat = resample(array.squeeze(axes), [n for axis, n in enumerate(cells) if axis not in axes])
    return np.expand_dims(flat, axes)


def _suppress(bits: np.ndarray, centre: np.ndarray, radii: np.ndarray) -> None:
    """Nothing within an ellipsoid is unsure any more; all in cells."""
    low = np.maximum(np.ceil(centre - radii), 0).astype(int)
    high = np.minimum(np.floor(centre + radii) + 1, bits.shape).astype(int)
    grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True))
    bits[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][distance <= 1] = 0
