"""What ITK does not say about a NIfTI-1 file: whether it is whole, and where its voxels really lie."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bifseg.image import BLOCK, count_not_finite

NIFTI = np.dtype(
    {
        "names": ["size", "dim", "type", "bits", "offset", "sform_code", "sform", "magic"],
        "formats": ["i4", "8i2", "i2", "i2", "f4", "i2", "(3,4)f4", "S3"],
        "offsets": [0, 40, 70, 72, 108, 254, 280, 344],
        "itemsize": 348,
    }
)
REAL = {16: np.dtype("f4"), 64: np.dtype("f8")}  # NIfTI's codes
NOT_FINITE = "{path} holds {bad} voxels that are NaN or infinite; all must be finite."


def is_nifti(path: Path) -> bool:
    """Whether a file's name says that it is a NIfTI."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def arrived(path: Path, array: np.ndarray) -> bool:
    """Whether a file just written on this machine holds exactly the voxels of an array (x, y, z), plane by plane.

    ITK's own reader needs the memory of two more volumes for that.
    """
    with _opened(path) as file:
        header = np.frombuffer(file.read(NIFTI.itemsize).ljust(NIFTI.itemsize, b"\0"), NIFTI)[0]
        file.seek(int(header["offset"]))
        planes = (np.asfortranarray(plane).tobytes("F") for plane in np.moveaxis(array, 2, 0))
        return all(file.read(len(plane)) == plane for plane in planes) and not file.read(1)


def check_nifti(path: Path, *, surplus: int | None = None) -> dict | None:
    """The place that a NIfTI-1 file's sform gives, in LPS; raises ValueError for damage, NaN or shear.

    ``surplus``: bytes that may follow the voxels; None: any number.

    ITK fills what is missing with zeros, ignores a wrong checksum, turns NaN and infinity into zeros, hides a
    sheared sform behind the qform, and joins the direction of the one to the spacing of the other.
    """
    try:
        with _opened(path) as file:
            raw = file.read(NIFTI.itemsize)
            layout = NIFTI if raw[:4] == np.int32(NIFTI.itemsize).tobytes() else NIFTI.newbyteorder()
            header = np.frombuffer(raw.ljust(NIFTI.itemsize, b"\0"), layout)[0]
            known = header["size"] == NIFTI.itemsize and header["magic"] == b"n+1"
            if not (known and 0 <= header["offset"] < 1 << 40):
                raise ValueError(f"{path} is not a NIfTI-1 file, or its header is truncated.")
            if surplus is not None and header["offset"] > NIFTI.itemsize + surplus:
                raise ValueError(f"{path} has its voxels behind {header['offset']:.4g} other bytes; save it anew.")
            file.seek(int(header["offset"]))
            axes = np.clip(header["dim"][0], 0, 7)
            voxels = int(np.prod(np.maximum(header["dim"][1 : axes + 1], 1), dtype=object))
            wanted, found, bad = voxels * int(header["bits"]) // 8, 0, 0
            real = REAL.get(int(header["type"]))
            if real and layout is not NIFTI:
                real = real.newbyteorder()
            # To the very end, where gzip compares its checksum.
            while chunk := file.read(BLOCK):
                found += len(chunk)
                if surplus is not None and found > wanted + surplus:
                    raise ValueError(f"{path} unpacks to more than its header says; it may be damaged, or a trap.")
                if real:
                    whole = len(chunk) // real.itemsize
                    bad += count_not_finite(np.frombuffer(chunk, real, whole))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or damaged: its compressed data cannot be unpacked.") from error
    if found < wanted:
        raise ValueError(f"{path} is truncated: it holds {found} of {wanted} bytes of voxels.")
    if bad:
        raise ValueError(NOT_FINITE.format(path=path, bad=bad))
    if header["sform_code"] < 1:
        return None
    affine = np.diag((-1.0, -1.0, 1.0)) @ header["sform"].astype(float)  # RAS to LPS
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    direction = affine[:, :3] / np.where(spacing > 0, spacing, 1)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError(f"{path} is sheared: the axes of its sform are not at right angles; resample it first.")
    return {"spacing": tuple(spacing), "origin": tuple(affine[:, 3]), "direction": direction}


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")
