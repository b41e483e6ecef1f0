"""What ITK does not say about a NIfTI-1 file: whether it is whole, and where its voxels really lie."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from bifseg.image import BLOCK, count_not_finite

NIFTI = np.dtype(
    {
        "names": ["size", "dim", "type", "bits", "offset", "scale", "sform_code", "sform", "magic"],
        "formats": ["i4", "8i2", "i2", "i2", "f4", "2f4", "i2", "(3,4)f4", "S3"],
        "offsets": [0, 40, 70, 72, 108, 112, 254, 280, 344],
        "itemsize": 348,
    }
)
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
HEAD = 1 << 20  # bytes before the voxels that are read at once
UNPACKED = "{path} is truncated or damaged: its compressed data cannot be unpacked."
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


class Head(NamedTuple):
    """The header of a NIfTI-1 file, whether its bytes are swapped, and the bytes of its voxels."""

    header: np.void
    swapped: bool
    wanted: int


def check_nifti(path: Path, head: Head, *, surplus: int | None = None) -> np.ndarray | None:
    """Go through a NIfTI-1 file; raises ValueError for damage and NaN. ``surplus``: as in `check_head`.

    Returns the voxels, in file order and without axes, where they can be taken from the file as they are.

    ITK fills what is missing with zeros, ignores a wrong checksum, and turns NaN and infinity into zeros.
    """
    header, swapped, wanted = head
    dtype = np.dtype(TYPES[int(header["type"])]) if int(header["type"]) in TYPES else None
    offset, found, bad = int(header["offset"]), 0, 0
    try:
        with _opened(path) as file:
            if isinstance(file, io.BufferedReader):  # not compressed
                found = max(0, path.stat().st_size - offset)
                _check_extent(path, found, wanted, surplus)
                whole = dtype is not None and dtype.itemsize * 8 == header["bits"] and not swapped
                if whole and _unscaled(header):
                    file.seek(offset)
                    voxels = np.fromfile(file, dtype, wanted // dtype.itemsize)
                    if bad := count_not_finite(voxels):
                        raise ValueError(NOT_FINITE.format(path=path, bad=bad))
                    voxels.flags.writeable = False  # as ITK's are
                    return voxels
                found = 0
            real = dtype if dtype is not None and dtype.kind == "f" else None
            if real is not None and swapped:
                real = real.newbyteorder()
            file.seek(offset)
            # To the very end, where gzip compares its checksum.
            while chunk := file.read(BLOCK):
                found += len(chunk)
                if surplus is not None and found > wanted + surplus:
                    break
                if real is not None:
                    bad += count_not_finite(np.frombuffer(chunk, real, len(chunk) // real.itemsize))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(UNPACKED.format(path=path)) from error
    _check_extent(path, found, wanted, surplus)
    if bad:
        raise ValueError(NOT_FINITE.format(path=path, bad=bad))
    return None


def check_head(path: Path, *, surplus: int | None = None) -> Head:
    """What a NIfTI-1 file says of itself.

    ``surplus``: bytes that may follow the voxels, and precede them; None: any number. Raises ValueError for another
    kind of file and for too many bytes before the voxels.
    """
    try:
        with _opened(path) as file:
            raw = file.read(NIFTI.itemsize)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(UNPACKED.format(path=path)) from error
    swapped = raw[:4] != np.int32(NIFTI.itemsize).tobytes()
    header = np.frombuffer(raw.ljust(NIFTI.itemsize, b"\0"), NIFTI.newbyteorder() if swapped else NIFTI)[0]
    known = header["size"] == NIFTI.itemsize and header["magic"] == b"n+1"
    if not (known and 0 <= header["offset"] < 1 << 40):
        raise ValueError(f"{path} is not a NIfTI-1 file, or its header is truncated.")
    if surplus is not None and header["offset"] > NIFTI.itemsize + surplus:
        raise ValueError(f"{path} has its voxels behind {header['offset']:.4g} other bytes; save it anew.")
    axes = np.clip(header["dim"][0], 0, 7)
    voxels = int(np.prod(np.maximum(header["dim"][1 : axes + 1], 1), dtype=object))
    return Head(header, swapped, voxels * int(header["bits"]) // 8)


def place_of(path: Path, header: np.void) -> dict | None:
    """The place that the sform gives, in LPS, if there is one; raises ValueError for shear.

    ITK hides a sheared sform behind the qform, and joins the direction of the one to the spacing of the other.
    """
    if header["sform_code"] < 1:
        return None
    affine = np.diag((-1.0, -1.0, 1.0)) @ header["sform"].astype(float)  # RAS to LPS
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    direction = affine[:, :3] / np.where(spacing > 0, spacing, 1)
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
        raise ValueError(f"{path} is sheared: the axes of its sform are not at right angles; resample it first.")
    return {"spacing": tuple(spacing), "origin": tuple(affine[:, 3]), "direction": direction}


def proven(path: Path, head: Head, voxels: np.ndarray) -> bool:
    """Whether the checksum at the end of a compressed file is that of its header and of these voxels, as ITK read them.

    Then they are what was written, and nothing follows them. ITK unpacks four times as fast as `zlib` does, which a
    file that is not proven so (scaled, of swapped bytes, in several parts) has to go through as well.
    """
    header, _, wanted = head
    offset = int(header["offset"])
    if offset > HEAD or voxels.nbytes != wanted or not voxels.flags.c_contiguous:
        return False
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        told = np.frombuffer(file.read(), "<u4").tolist()
    with _opened(path) as file:
        before = file.read(offset)
    return told == [zlib.crc32(voxels.reshape(-1).view(np.uint8), zlib.crc32(before)), (offset + wanted) % (1 << 32)]


def _unscaled(header: np.void) -> bool:
    slope, intercept = np.where(np.isfinite(header["scale"]), header["scale"], 0).tolist()
    return intercept == 0 and slope in (0, 1)


def _check_extent(path: Path, found: int, wanted: int, surplus: int | None) -> None:
    if surplus is not None and found > wanted + surplus:
        raise ValueError(f"{path} unpacks to more than its header says; it may be damaged, or a trap.")
    if found < wanted:
        raise ValueError(f"{path} is truncated: it holds {found} of {wanted} bytes of voxels.")


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")
