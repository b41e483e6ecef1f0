"""An image as a page shows it: its axes permuted and flipped so that they run to the patient's right, front and head.

That is what `nibabel.as_closest_canonical` makes of a file. Nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bifseg.errors import InvalidInput
from bifseg.imaging.image import BLOCK, Image
from bifseg.imaging.nifti_header import AXIS, filled, numbers, placed

Axes = tuple[tuple[int, bool], ...]  # of a box, in canonical order: which of its axes it is, and whether against it
RAS = np.diag((-1.0, -1.0, 1.0, 1.0))  # from LPS mm, and back
SHOWN = {"u1": "u1", "i1": "i2", "i2": "i2", "u2": "u2", "i4": "i4"}  # integers for which readers have textures


def axes_of(direction: ArrayLike) -> tuple[int, int, int]:
    """Along which file axis each canonical axis runs, counted from 1; negative: against it.

    ``direction``: (3, 3), column k is the LPS direction of file axis k. Canonical axes are right, anterior, superior.

    >>> axes_of(np.eye(3))  # x runs to the left, y to the back
    (-1, -2, 3)
    """
    u, _, vh = np.linalg.svd(RAS[:3, :3] @ np.asarray(direction, float))
    rotation, axes = u @ vh, [0, 0, 0]
    for axis in np.argsort(-(rotation**2).max(axis=0), kind="stable"):  # who points most clearly chooses first
        nearest = int(np.argmax(np.abs(rotation[:, axis])))
        axes[nearest] = int(axis + 1) if rotation[nearest, axis] > 0 else -int(axis + 1)
        rotation[nearest] = 0
    right, anterior, superior = axes
    return right, anterior, superior


def canonical_axes(direction: ArrayLike, plane: int | None = None) -> Axes:
    """How the content of a box lies in its patient.

    ``direction``: of the image, as in `axes_of`. ``plane``: the file axis across a 2D box; its content has the others.

    >>> canonical_axes(np.eye(3), plane=2)
    ((0, True), (1, True))
    """
    files = [axis for axis in range(3) if axis != plane]
    return tuple((files.index(abs(axis) - 1), axis < 0) for axis in axes_of(direction) if abs(axis) - 1 != plane)


def in_canonical_order(array: np.ndarray, axes: Axes) -> np.ndarray:
    """The content of a box with its axes to the right, front and head: a view."""
    turned = array.transpose([axis for axis, _ in axes])
    return turned[tuple(slice(None, None, -1 if against else 1) for _, against in axes)]


def in_order_of(array: np.ndarray, axes: Axes) -> np.ndarray:
    """The way back from `in_canonical_order`: a view."""
    turned = array[tuple(slice(None, None, -1 if against else 1) for _, against in axes)]
    return turned.transpose(np.argsort([axis for axis, _ in axes]))


def canonical(image: Image) -> tuple[np.ndarray, np.ndarray]:
    """The voxels in canonical order, a view, and the affine (4, 4) from their indices to RAS millimetres.

    Of a colour image the voxels are its colours, (x, y, z, 3).
    """
    axes, move = axes_of(image.direction), np.zeros((4, 4))  # from canonical indices to the file's
    move[3, 3] = 1
    for k, axis in enumerate(axes):
        file = abs(axis) - 1
        move[file, k] = np.sign(axis)
        move[file, 3] = 0 if axis > 0 else image.shape[file] - 1
    array = image.voxels
    array = array.transpose([*(abs(axis) - 1 for axis in axes), *range(3, array.ndim)])
    return array[tuple(slice(None, None, 1 if axis > 0 else -1) for axis in axes)], RAS @ image.affine @ move


def canonical_shape(image: Image) -> tuple[int, int, int]:
    """Voxels along the canonical axes."""
    right, anterior, superior = (image.shape[abs(axis) - 1] for axis in axes_of(image.direction))
    return right, anterior, superior


def nifti(image: Image, part: tuple[slice, slice, slice] | None = None) -> tuple[int, Iterator[bytes]]:
    """The image in canonical order as an uncompressed NIfTI-1 file: how many bytes it has, and these in pieces.

    ``part``: canonical voxels that are wanted, all where it is None.

    Numbers that readers have no textures for become the nearest that they have: int8 int16, all else float32; colours
    of 16 bits their upper 8. Raises InvalidInput for an axis longer than the format allows.
    """
    array, affine = canonical(image)
    if part is not None:
        array, affine = array[part], affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [axis.start for axis in part]
    if max(array.shape) > AXIS:
        raise InvalidInput(f"The image has the shape {image.shape}; NIfTI-1 holds at most {AXIS} voxels along an axis.")
    kind = "u1" if array.ndim == 4 else SHOWN.get(array.dtype.str[1:], "f4")
    header = filled(dim=(3, *array.shape[:3], 1, 1, 1, 1), units=2, **numbers(kind, array.ndim), **placed(affine))  # mm
    size = len(header) + array.size * int(kind[1])

    def pieces() -> Iterator[bytes]:
        yield header
        step = max(1, BLOCK // array[:, :, 0].size)
        for start in range(0, array.shape[2], step):
            part = array[:, :, start : start + step]
            if array.ndim == 4:  # red, green and blue of a voxel lie together
                part = np.moveaxis(part >> 8 if part.dtype == np.uint16 else part, 3, 0)
            with np.errstate(over="ignore"):  # float64 beyond float32 is infinite
                part = part.astype(f"<{kind}", copy=False)
            yield part.tobytes("F")

    return size, pieces()


def turned_like(image: Image, like: Image) -> Image:
    """An image with its axes ordered and directed as another's, if it then lies on the same voxels; else itself."""
    if image.planar or like.planar or lies_on(image, like):
        return image
    turn = np.linalg.inv(like.direction) @ image.direction  # column k: where axis k of the image runs in the other
    order = np.abs(turn).argmax(1)  # of the image's axes, along the other's
    if sorted(order.tolist()) != [0, 1, 2]:
        return image
    signs = [1 if turn[k, axis] > 0 else -1 for k, axis in enumerate(order)]
    array = image.array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    first = [0 if signs[list(order).index(axis)] > 0 else image.shape[axis] - 1 for axis in range(3)]
    turned = Image(
        array, [image.spacing[axis] for axis in order], (image.affine @ (*first, 1))[:3].tolist(),
        image.direction[:, order] * signs, calibrated=image.calibrated,
    )  # fmt: skip
    return turned if lies_on(turned, like) else image


def lies_on(image: Image, like: Image) -> bool:
    """Whether two images have the same voxels, to a tenth of one."""
    return image.shape == like.shape and distance(image, like) <= 0.1 * min(like.spacing)


def distance(image: Image, like: Image) -> float:
    """How far the corners of two images of one shape lie from each other, at most, in mm."""
    last = np.array(like.shape) - 1
    corners = np.array([(*(np.array(corner) * last), 1) for corner in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm(corners @ (image.affine - like.affine).T, axis=1).max())
