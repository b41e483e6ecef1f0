"""An image as a page shows it: its axes permuted and flipped so that they run to the patient's right, front and head.

That is what `nibabel.as_closest_canonical` makes of a file. Nothing is resampled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bifseg.errors import InvalidInput
from bifseg.imaging.image import BLOCK, Image

RAS = np.diag((-1.0, -1.0, 1.0, 1.0))  # from LPS mm, and back
AXIS = (1 << 15) - 1  # voxels along an axis that a NIfTI-1 file may have
SHOWN = {"u1": "u1", "i1": "i2", "i2": "i2", "u2": "u2", "i4": "i4"}  # integers for which readers have textures
CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "u2": 512}
RGB24 = 128
HEADER = np.dtype(
    {
        "names": [
            "size", "dim", "type", "bits", "pixdim", "offset", "slope", "units", "qform_code", "sform_code",
            "quaternion", "qoffset", "sform", "magic",
        ],
        "formats": [
            "<i4", "<8i2", "<i2", "<i2", "<8f4", "<f4", "<f4", "u1", "<i2", "<i2", "<3f4", "<3f4", "(3,4)<f4", "S3"
        ],
        "offsets": [0, 40, 70, 72, 76, 108, 112, 123, 252, 254, 256, 268, 280, 344],
        "itemsize": 352,  # with the four bytes that say: no extensions follow
    }
)  # fmt: skip


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


def nifti(image: Image) -> tuple[int, Iterator[bytes]]:
    """The image in canonical order as an uncompressed NIfTI-1 file: how many bytes it has, and these in pieces.

    Numbers that readers have no textures for become the nearest that they have: int8 int16, all else float32; colours
    of 16 bits their upper 8. Raises InvalidInput for an axis longer than the format allows.
    """
    if max(image.shape) > AXIS:
        raise InvalidInput(f"The image has the shape {image.shape}; NIfTI-1 holds at most {AXIS} voxels along an axis.")
    array, affine = canonical(image)
    kind = "u1" if array.ndim == 4 else SHOWN.get(array.dtype.str[1:], "f4")
    header = _header(array.shape, affine, kind)
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


def _header(shape: tuple[int, ...], affine: np.ndarray, kind: str) -> bytes:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    u, _, vh = np.linalg.svd(affine[:3, :3] / spacing)
    rotation = u @ vh
    handed = np.sign(np.linalg.det(rotation))
    header = np.zeros((), HEADER)
    header["size"], header["magic"], header["offset"] = 348, b"n+1", HEADER.itemsize
    coloured = len(shape) == 4
    header["dim"], header["pixdim"] = (3, *shape[:3], 1, 1, 1, 1), (handed, *spacing, 0, 0, 0, 0)
    header["type"], header["bits"] = (RGB24, 24) if coloured else (CODES[kind], 8 * int(kind[1]))
    header["slope"], header["units"] = 1, 2  # mm
    header["sform_code"] = header["qform_code"] = 1  # the scanner's own millimetres
    header["sform"], header["qoffset"] = affine[:3], affine[:3, 3]
    header["quaternion"] = quaternion_of(rotation * (1, 1, handed))
    return header.tobytes()


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """(i, j, k) of the unit quaternion of a rotation whose real part is not negative."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    form = np.array(  # whose largest eigenvector it is: no case needs to be told apart (Bar-Itzhack 2000)
        [
            [xx - yy - zz, xy + yx, xz + zx, zy - yz],
            [xy + yx, yy - xx - zz, yz + zy, xz - zx],
            [xz + zx, yz + zy, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    found = np.linalg.eigh(form)[1][:, -1]
    return found[:3] if found[3] >= 0 else -found[:3]
