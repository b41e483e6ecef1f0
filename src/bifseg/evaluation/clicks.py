"""The simulated user of the click literature on 2D images: one click after the other, in the middle of the worst error.

RITM (Sofiiuk et al. 2022) and SimpleClick count the clicks that a method needs: `metrics.number_of_clicks`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND


def next_click(
    mask: np.ndarray, truth: np.ndarray, clicked: Iterable[tuple[int, int]] = ()
) -> tuple[tuple[int, int], int] | None:
    """The next click on a plane, (x, y) and its label, 1 foreground or 2 background; None where nothing is left.

    ``mask``, ``truth``: bool (x, y). ``clicked``: the pixels clicked before, which are not clicked again. The click
    goes to the pixel deepest inside what is missed or what leaks, whichever is deeper, and to what leaks where both
    are the same; beyond the image is outside. Of equal pixels the first counts, row by row (y, then x).
    Raises InvalidInput for arrays that are not planes of one shape.
    """
    if mask.ndim != 2 or mask.shape != truth.shape:
        raise InvalidInput(f"The mask {mask.shape} and the truth {truth.shape} must be planes of one shape, (x, y).")
    clicked = list(clicked)
    missed, leaked = (_depth(side.T, clicked) for side in (truth & ~mask, mask & ~truth))
    depth, label = (missed, FOREGROUND) if missed.max() > leaked.max() else (leaked, BACKGROUND)
    if not depth.max():
        return None
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return (int(x), int(y)), label


def _depth(side: np.ndarray, clicked: list[tuple[int, int]]) -> np.ndarray:
    """Distance of every pixel (y, x) to the outside of a side, in pixels; 0 where it was clicked before."""
    depth = ndimage.distance_transform_edt(np.pad(side, 1))[1:-1, 1:-1]
    for x, y in clicked:
        depth[y, x] = 0
    return depth
