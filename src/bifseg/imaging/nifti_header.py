"""The headers of NIfTI-1 and NIfTI-2, field by field."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

AXIS = (1 << 15) - 1  # voxels along an axis that a NIfTI-1 file may have
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
CODES = {code: number for number, code in TYPES.items()}
RGB24 = 128
FIELDS: dict[str, tuple[str, int, str, int]] = {  # type and first byte in NIfTI-1, then in NIfTI-2
    "size": ("i4", 0, "i4", 0),
    "magic": ("S3", 344, "S3", 4),
    "type": ("i2", 70, "i2", 12),
    "bits": ("i2", 72, "i2", 14),
    "dim": ("8i2", 40, "8i8", 16),
    "pixdim": ("8f4", 76, "8f8", 104),
    "offset": ("f4", 108, "i8", 168),
    "scale": ("2f4", 112, "2f8", 176),
    "units": ("u1", 123, "i4", 500),
    "qform_code": ("i2", 252, "i4", 344),
    "sform_code": ("i2", 254, "i4", 348),
    "quaternion": ("3f4", 256, "3f8", 352),
    "qoffset": ("3f4", 268, "3f8", 376),
    "sform": ("(3,4)f4", 280, "(3,4)f8", 400),
}
SIZES = {1: 348, 2: 540}  # bytes, which the first field says
NO_EXTENSION = bytes(4)  # what follows a header where nothing else does


def layout(version: int, order: Literal["<", ">"] = "<") -> np.dtype:
    """The header of a version, 1 or 2, in a byte order."""
    kinds = [fields[2 * version - 2] for fields in FIELDS.values()]
    places = [fields[2 * version - 1] for fields in FIELDS.values()]
    fields: Any = {"names": list(FIELDS), "formats": kinds, "offsets": places, "itemsize": SIZES[version]}
    return np.dtype(fields).newbyteorder(order)


def filled(**fields: npt.ArrayLike) -> bytes:
    """A NIfTI-1 of a single file: all that lies before its voxels. Fields that are not given are 0."""
    header = np.zeros((), layout(1))
    header["size"], header["magic"], header["offset"] = SIZES[1], b"n+1", SIZES[1] + len(NO_EXTENSION)
    for name, value in fields.items():
        header[name] = value
    return header.tobytes() + NO_EXTENSION


def numbers(kind: str, axes: int) -> dict[str, npt.ArrayLike]:
    """The fields that say what a voxel holds: a number of a ``kind``, "i2"; of four axes, three colours."""
    coloured = axes == 4
    code, bits = (RGB24, 24) if coloured else (CODES[kind], 8 * int(kind[1]))
    return {"type": code, "bits": bits, "scale": (1, 0)}


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """(i, j, k) of the unit quaternion of a rotation (3, 3) whose real part is not negative."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    form = np.array(  # whose largest eigenvector it is: no case needs to be told apart (Bar-Itzhack 2000)
        [
            [xx - yy - zz, xy + yx, xz + zx, zy - yz],
            [xy + yx, yy - xx - zz, yz + zy, xz - zx],
            [xz + zx, yz + zy, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    vector = np.linalg.eigh(form)[1][:, -1]
    return vector[:3] if vector[3] >= 0 else -vector[:3]


def placed(affine: np.ndarray) -> dict[str, npt.ArrayLike]:
    """The fields that say where voxels lie: ``affine`` (4, 4) from their indices to RAS millimetres, no shear."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    u, _, vh = np.linalg.svd(affine[:3, :3] / spacing)
    rotation = u @ vh
    handed = float(np.sign(np.linalg.det(rotation)))
    return {
        "pixdim": (handed, *spacing, 0, 0, 0, 0), "sform": affine[:3], "qoffset": affine[:3, 3],
        "sform_code": 1, "qform_code": 1, "quaternion": quaternion_of(rotation * (1, 1, handed)),
    }  # fmt: skip
