"""The box of an object that begins with scribbles alone, and the one of an object whose scribbles leave its box."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image, extent
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box, Patch, Stroke
from bifseg.prompts.painting import rasterise

NEITHER = "An object begins with a box, or with scribbles of which one is in it (label 1)."
ROOM = 0.25  # of the longest extent of what is painted as object


def box_of(scribbles: Patch, shape: Sequence[int], spacing: Sequence[float]) -> Box:
    """The box that first scribbles make.

    A side that a background scribble is farthest out on goes through it: a loop around an object is its box. On the
    others the object gets some room, a quarter of the longest extent of what is painted of it. Scribbles in one plane
    make a box in that plane; a line along an axis lies in two, and of these in the one across the coarser spacing.

    Parameters
    ----------
    scribbles
        1 foreground, 2 background, 0 none.
    shape, spacing
        Of the image that they are painted on: (x, y, z), and in mm.

    Returns
    -------
    Box
        Within the image. InvalidInput is raised where no object is painted.
    """
    labels = scribbles.labels
    painted, marked = extent(np.isin(labels, (FOREGROUND, BACKGROUND))), extent(labels == FOREGROUND)
    if painted is None or marked is None:
        raise InvalidInput(NEITHER)
    room = ROOM * max((stop - start) * step for (start, stop), step in zip(marked, spacing, strict=True))
    plane = _across([high - low == 1 for low, high in painted], shape, spacing)
    ranges = []
    for axis, ((low, high), (start, stop)) in enumerate(zip(painted, marked, strict=True)):
        at, wider = scribbles.box.start[axis], 0 if axis == plane else ceil(room / spacing[axis])
        low, high = at + low - wider * (low == start), at + high + wider * (high == stop)
        ranges.append((max(0, low), min(shape[axis], high)))
    return Box.of(ranges, shape)


def box_of_strokes(strokes: Sequence[Stroke], image: Image) -> Box:
    """The same of strokes; those that were drawn in one plane make a box in it."""
    return box_of(rasterise(strokes, image, plane_of(strokes, image)), image.shape, image.spacing)


def plane_of(strokes: Sequence[Stroke], image: Image) -> Box | None:
    """The plane of an image, all of it, that strokes were drawn in: their brush is a disc there. None for others."""
    if not strokes:
        return None
    places = np.rint(np.concatenate([np.asarray(stroke.points, float) for stroke in strokes])).astype(int)
    plane = _across((np.ptp(places, axis=0) == 0).tolist(), image.shape, image.spacing)
    if plane is None:
        return None
    ranges: list = [(0, n) for n in image.shape]
    ranges[plane] = int(places[0, plane])
    return Box.of(ranges, image.shape)


def _across(flat: Sequence[bool], shape: Sequence[int], spacing: Sequence[float]) -> int | None:
    """The axis across the plane of what is flat along some axes: where the image is, then where voxels are coarsest."""
    axes = [axis for axis in range(3) if flat[axis]]
    return max(axes, key=lambda axis: (shape[axis] == 1, spacing[axis], axis), default=None)


def holding(box: Box, scribbles: np.ndarray) -> Box:
    """A box that holds scribbles, too: labels (x, y, z) of the image's shape."""
    ranges = extent(scribbles)
    return box if ranges is None else Box.spanning([box, Box(*zip(*ranges, strict=True))])
