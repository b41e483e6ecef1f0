"""Simulated users, seeded: where they draw the box, and where they scribble."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bifseg.interaction import BACKGROUND, FOREGROUND, Box

SMALLEST = 0.01  # an error below this share of the object's size is not worth a stroke


def simulated_box(
    truth: np.ndarray, rng: np.random.Generator, margin: int = 10, plane: tuple[int, int] | None = None
) -> Box:
    """The box of an object, each side moved out by 0 to ``margin`` voxels (Wang et al. 2018, II-B).

    ``truth``: bool (x, y, z). ``plane``: (axis, index) for a 2D box in that plane. The box stays in the image.
    Raises ValueError where the object is absent or a single voxel wide on its plane.
    """
    where = np.nonzero(truth if plane is None else np.take(truth, [plane[1]], axis=plane[0]))
    if not len(where[0]):
        raise ValueError("The object is absent: there is nothing to draw a box around.")
    ranges = []
    for axis, (found, extent) in enumerate(zip(where, truth.shape, strict=True)):
        if plane is not None and axis == plane[0]:
            ranges.append(plane[1])
            continue
        low, high = rng.integers(0, margin + 1, 2)
        ranges.append((max(0, int(found.min()) - int(low)), min(extent, int(found.max()) + 1 + int(high))))
    return Box.of(ranges, truth.shape)


def simulated_scribbles(mask: np.ndarray, truth: np.ndarray, box: Box, strokes: int = 3) -> np.ndarray:
    """One round of corrections: centre lines through the largest errors, as labels (uint8, the image's shape).

    Each of the ``strokes`` largest connected errors inside the box, missed parts and leaks alike, gets one stroke, in
    2D along its middle, in 3D along the middle of the slice where it is largest. A stroke is three pixels wide and
    never leaves the error, so it is always right: a careful user.
    """
    inside, target = box.crop(mask), box.crop(truth)
    wrong = inside != target
    labels = np.zeros(wrong.shape, np.uint8)
    components = []
    for side in (wrong & target, wrong & ~target):  # what is missed and what leaks never share a component
        numbered, count = ndimage.label(side)
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)[1:]
        components += [(size, numbered == k + 1) for k, size in enumerate(sizes)]
    components.sort(key=lambda pair: -pair[0])
    for size, component in components[:strokes]:
        if size >= max(2, SMALLEST * np.count_nonzero(target)):
            line = _centre_line(component)
            labels[line] = np.where(target[line], FOREGROUND, BACKGROUND)
    full = np.zeros(truth.shape, np.uint8)
    box.crop(full)[...] = labels
    return full


def _centre_line(component: np.ndarray) -> np.ndarray:
    """Pixels of a stroke through the middle of a connected set, within it: bool, its shape, (x, y) or (x, y, z)."""
    line = np.zeros(component.shape, bool)
    if component.ndim == 3:
        axis = int(np.argmin([np.count_nonzero(component.any(axis=a)) for a in range(3)]))
        axis = 2 if component.shape[2] > 1 else axis
        areas = component.sum(axis=tuple(a for a in range(3) if a != axis))
        index = (slice(None),) * axis + (int(np.argmax(areas)),)
        numbered, count = ndimage.label(component[index])
        largest = 1 + int(np.argmax(np.bincount(numbered.ravel(), minlength=count + 1)[1:]))
        line[index] = _centre_line(numbered == largest)
        return line
    depth = ndimage.distance_transform_edt(np.pad(component, 1))[1:-1, 1:-1]
    points = np.argwhere(component)
    spread = points - points.mean(0)
    along = spread @ np.linalg.svd(spread, full_matrices=False)[2][0] if len(points) > 1 else spread[:, 0]
    bins = np.floor((along - along.min()) / 2).astype(int)
    deep = depth[tuple(points.T)]
    ends = deep.max() / 2  # the stroke stops short of thin tips
    for k in range(bins.max() + 1):
        members = np.flatnonzero(bins == k)
        if len(members) and deep[members].max() >= ends:
            line[tuple(points[members[np.argmax(deep[members])]])] = True
    line = ndimage.binary_closing(np.pad(line, 3), np.ones((5, 5)))[3:-3, 3:-3] | line
    return ndimage.binary_dilation(line, np.ones((3, 3))) & component
