"""A small picture of a mask, to see at a glance whether it is right."""

from __future__ import annotations

import numpy as np

from bifseg.imaging.image import Image, slicing_axis
from bifseg.imaging.intensity import unit_range
from bifseg.imaging.orientation import axes_of, canonical
from bifseg.imaging.resampling import resample, resample_labels
from bifseg.prompts.interaction import Box

SIDE = 256
AROUND = 0.2  # shown around the box, as a share of its extent
OUTLINE = (255, 159, 28)  # orange, as objects are everywhere


def picture(scan: Image, mask: np.ndarray, box: Box, side: int = SIDE, across: int | None = None) -> np.ndarray:
    """The slice in which a mask is largest, as a radiologist looks at it, with the mask's outline.

    Parameters
    ----------
    scan
        Also of colours.
    mask
        bool (x, y, z), of the scan's shape.
    box
        What to show, and a little around it.
    side
        Pixels of the longer one.
    across
        The axis that the slice lies across; None: the box's own, else the one along which the scan was sliced.

    Returns
    -------
    ndarray
        (x, y, 1, 3) uint8, x to the right and y down.
    """
    planes = [axis for axis in (across, box.plane) if axis is not None]
    axis = planes[0] if planes else slicing_axis(scan.spacing)
    others = tuple({0, 1, 2} - {axis})
    inside = mask[box.slices]
    index = box.start[axis] + int((inside if inside.any() else np.ones_like(inside)).sum(axis=others).argmax())
    window = []
    for a, (start, stop, size) in enumerate(zip(box.start, box.stop, scan.shape, strict=True)):
        wider = int(np.ceil(AROUND * (stop - start)))
        window.append(slice(index, index + 1) if a == axis else slice(max(0, start - wider), min(size, stop + wider)))
    part = Image(scan.voxels[tuple(window)], scan.spacing, direction=scan.direction)
    voxels, shown = (_turned(part, values, axis) for values in (part.voxels, mask[tuple(window)]))
    shown_axes = [abs(a) - 1 for a in axes_of(scan.direction) if abs(a) - 1 != axis]
    sides = np.array(shown.shape) * [scan.spacing[a] for a in shown_axes]
    size = np.maximum(1, np.rint(sides * side / sides.max())).astype(int).tolist()
    grey = voxels.ndim == 2
    channels = [voxels] if grey else list(np.moveaxis(voxels, 2, 0))
    # Uneven light is no reason to see nothing: the window is the picture's own, colours keep theirs.
    seen = [resample(unit_range(one) if grey else one / np.float32(np.iinfo(one.dtype).max), size) for one in channels]
    drawn = np.stack([np.rint(255 * one).astype(np.uint8) for one in (seen * 3 if grey else seen)], axis=-1)
    drawn[_rim(resample_labels(shown, size))] = OUTLINE
    return drawn[:, :, None]


def shape_picture(shape: np.ndarray, side: int) -> np.ndarray:
    """The middle planes of a mean shape side by side, each as a radiologist looks at it: white is the object.

    Parameters
    ----------
    shape
        Log-odds, of two or three canonical axes, see `bifseg.method.mean_shape`.
    side
        Pixels of every plane.

    Returns
    -------
    ndarray
        (x, y, 1, 3) uint8, x to the right and y down; in 3D axial, coronal, sagittal.
    """
    middle = [n // 2 for n in shape.shape]
    planes = [shape] if shape.ndim == 2 else [shape.take(middle[axis], axis) for axis in (2, 1, 0)]
    # Canonical axes run to the right, front and head, which a picture has on its left and above.
    seen = [resample(np.ascontiguousarray(plane[::-1, ::-1]), (side, side)) for plane in planes]
    drawn = np.rint(255 / (1 + np.exp(-np.concatenate(seen)))).astype(np.uint8)
    return np.repeat(drawn[:, :, None, None], 3, axis=3)


def _turned(part: Image, values: np.ndarray, axis: int) -> np.ndarray:
    """A slice of one voxel along an axis, (across, down): to the right and down run against canonical axes."""
    turned = canonical(part.with_array(values))[0]
    through = [abs(a) - 1 for a in axes_of(part.direction)].index(axis)
    return np.take(turned, 0, through)[::-1, ::-1]


def _rim(mask: np.ndarray) -> np.ndarray:
    """The outermost two pixels of a mask all around."""
    inner = mask
    for _ in range(2):
        wide = np.pad(inner, 1)
        inner = inner & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask & ~inner
