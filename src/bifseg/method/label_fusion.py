"""What finished objects say of where another one lies in its box, the more the more alike they look. Not in the paper.

Patch-based label fusion (Coupé et al., NeuroImage 2011; Rousseau et al., IEEE TMI 2011): every point of the box asks
the finished objects what lies at its place, and around it, for no two boxes are drawn alike; an answer counts the more,
the less the images around both points differ. The registration is the box that somebody drew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from bifseg.imaging.image import Image
from bifseg.imaging.orientation import canonical_axes, in_canonical_order
from bifseg.imaging.resampling import resample
from bifseg.method.mean_shape import CELLS, UNSEEN
from bifseg.prompts.interaction import Box

NEAREST = 8  # finished objects that are asked, those whose images differ least: what bounds the time
REACH, STRIDE = 2, {2: 1, 3: 2}  # how far from a point they are asked, in cells, and every how many
PATCH = 3  # cells along each axis that are compared
SOFT = {2: 1.0, 3: 0.25}  # by how many times the least difference others may exceed it and still count
FLOOR = 0.05  # a difference that noise makes; a standard deviation of grey levels is 1


class Look(NamedTuple):
    """A finished object, its box stretched to a cube.

    Parameters
    ----------
    image
        float32, `CELLS` along each canonical axis: grey levels, mean 0 and standard deviation 1.
    mask
        Likewise, 0 to 1.
    """

    image: np.ndarray
    mask: np.ndarray


def stretched(image: Image, box: Box) -> np.ndarray:
    """The grey levels in a box, as those of a `Look`.

    Parameters
    ----------
    image
        The scan.
    box
        In it.

    Returns
    -------
    ndarray
        float32, of two or three canonical axes; in the order of the patient, however the scan is stored.
    """
    grey = _to_cube(image.array, image, box)
    low, high = np.percentile(grey, (2, 98))
    grey = np.clip(grey, low, high)
    return ((grey - grey.mean()) / max(float(grey.std()), 1e-6)).astype(np.float32)


def look_of(image: Image, box: Box, mask: np.ndarray) -> Look:
    """What is kept of a finished object.

    Parameters
    ----------
    image, box
        Its scan, and where it lies in it.
    mask
        bool, of the scan's shape.

    Returns
    -------
    Look
        See there.
    """
    return Look(stretched(image, box), _to_cube(mask.view(np.uint8), image, box))


def fused_shape(image: np.ndarray, looks: Sequence[Look]) -> np.ndarray:
    """Where in its box an object lies.

    Parameters
    ----------
    image
        Of its box, as `stretched` makes it.
    looks
        Finished objects; at least one, all of the same dimension.

    Returns
    -------
    ndarray
        Log-odds of the foreground, float32, of the image's shape; see `mean_shape.shape_on_grid`.
    """
    from scipy.ndimage import uniform_filter  # 0.1 s that others need not wait for

    asked = sorted(looks, key=lambda look: float(np.mean((look.image - image) ** 2)))[:NEAREST]
    d = image.ndim
    differences, answers = [], []
    for look in asked:
        there, mask = (np.pad(array, REACH, mode="edge") for array in look)
        for step in product(range(-REACH, REACH + 1, STRIDE[d]), repeat=d):
            part = tuple(slice(REACH + k, REACH + k + n) for k, n in zip(step, image.shape, strict=True))
            differences.append(uniform_filter((image - there[part]) ** 2, PATCH, mode="nearest"))
            answers.append(mask[part])
    difference = np.stack(differences)
    least = difference.min(axis=0)
    weights = np.exp((least - difference) / (SOFT[d] * (least + FLOOR)))
    p = (weights * np.stack(answers)).sum(axis=0) / weights.sum(axis=0)
    p = (len(looks) * p + UNSEEN) / (len(looks) + 2 * UNSEEN)
    return np.log(p / (1 - p)).astype(np.float32)


def _to_cube(array: np.ndarray, image: Image, box: Box) -> np.ndarray:
    content = array[box.slices]
    content = content if box.plane is None else content.squeeze(box.plane)
    turned = in_canonical_order(content, canonical_axes(image.direction, box.plane))
    return resample(turned, (CELLS[turned.ndim],) * turned.ndim)
