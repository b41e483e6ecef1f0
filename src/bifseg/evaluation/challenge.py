"""The simulated user of a challenge: "Foundation Models for Interactive 3D Biomedical Image Segmentation", CVPR 2025.

A box first, then five clicks, each in the middle of the largest error. The rules are those of its public evaluation
script, which knows arrays as (z, y, x): what comes first there, by slice, row and column, comes first here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput
from bifseg.evaluation.metrics import area_under_curve, extent
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

CLICKS = 5
BOX_SEED = 2025
CLICK_SEED = 42  # set again before every click
FAILED = 0.2  # the surface Dice counts as 0 up to this Dice


def box_numbers(seed: int = 0) -> np.random.RandomState:
    """The random numbers of the challenge's boxes: one generator for all objects of a case, in their labels' order."""
    return np.random.RandomState(BOX_SEED + seed)


def challenge_box(truth: np.ndarray, rng: np.random.RandomState) -> Box:
    """The box around an object, as 3D box: exact along z, along x and y that of its middle slice, moved out.

    ``truth``: bool (x, y, z). ``rng``: of `box_numbers`; one number is drawn. The middle slice is that of the middle
    voxel, counted slice by slice. All four sides move by one random number from 0 to 5 per 256 voxels of the image's
    side, rounded down, and stay in the image. What other slices hold outside the box, the box leaves out.
    Raises InvalidInput for an absent object, and where the box is thinner than two voxels along two axes.
    """
    areas = np.count_nonzero(truth, axis=(0, 1))
    if not areas.any():
        raise InvalidInput("The object is absent: there is nothing to draw a box around.")
    slices = np.flatnonzero(areas)
    middle = int(np.searchsorted(np.cumsum(areas), areas.sum() // 2, side="right"))
    shift, ranges = int(rng.randint(0, 6, 1)[0]), []
    for side, size in zip(_block(truth[:, :, middle]), truth.shape[:2], strict=True):
        move = int(shift * size / 256)
        ranges.append((max(0, side.start - move), min(size, side.stop + move)))
    return Box.of([*ranges, (int(slices[0]), int(slices[-1]) + 1)], truth.shape)


def challenge_click(mask: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int, int], int] | None:
    """The next click, (x, y, z) and its label, 1 foreground or 2 background; None where there is no error.

    ``mask``, ``truth``: bool (x, y, z). Missed and leaked voxels together make the error; of its 26-connected
    components the one with most voxels counts, of equals the first. The click goes where the distance to that
    component's outside, in voxels, is greatest: to a random one of such voxels, the same at every call. Voxels beyond
    the array are outside. The error may have both kinds of voxels; the label is that of the voxel clicked.
    """
    wrong = (mask != truth).T
    where = extent(wrong)
    if where is None:
        return None
    numbered, count = ndimage.label(wrong[where], np.ones((3, 3, 3)))
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    sizes[0] = 0
    largest = numbered == _first(numbered, np.flatnonzero(sizes == sizes.max()))
    inner = _block(largest)
    depth = ndimage.distance_transform_edt(np.pad(largest[inner], 1))[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(depth == depth.max())
    chosen = deepest[np.random.RandomState(CLICK_SEED).choice(len(deepest))]
    z, y, x = (int(c) + a.start + b.start for c, a, b in zip(chosen, inner, where, strict=True))
    return (x, y, z), FOREGROUND if truth[x, y, z] else BACKGROUND


def challenge_scores(dices: Sequence[float], nsds: Sequence[float]) -> dict[str, float]:
    """The four scores of one object: area under the curve of the five clicks, 0 to 4, and the value after the last.

    ``dices``, ``nsds``: after the box and each click, or after each click; the box does not count. Where Dice is at
    most 0.2 the surface Dice is 0. The challenge's limit of 90 s per object is left to the caller. InvalidInput for
    fewer than five values.
    """
    if len(dices) != len(nsds) or len(dices) not in (CLICKS, CLICKS + 1):
        raise InvalidInput(
            f"There are {len(dices)} values of Dice and {len(nsds)} of NSD; give {CLICKS} or, with the box, one more."
        )
    return scores_of_clicks(dices[-CLICKS:], nsds[-CLICKS:])


def scores_of_clicks(dices: Sequence[float], nsds: Sequence[float]) -> dict[str, float]:
    """The same of any number of clicks, one or more; without the box."""
    nsds = [near if overlap > FAILED else 0.0 for near, overlap in zip(nsds, dices, strict=True)]
    return {
        "dsc_auc": area_under_curve(dices),
        "nsd_auc": area_under_curve(nsds),
        "dsc_final": float(dices[-1]),
        "nsd_final": float(nsds[-1]),
    }


def _block(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest block that holds a mask, which has a voxel."""
    return cast("tuple[slice, ...]", extent(mask))


def _first(numbered: np.ndarray, labels: np.ndarray) -> int:
    """Which of the labels is met first, by slice, row and column."""
    if len(labels) == 1:
        return int(labels[0])
    flat = numbered.ravel()
    return int(flat[np.argmax(np.isin(flat, labels))])
