"""NIfTI, 1 and 2, packed or not: read to the last byte, and a mask written with the header of its scan."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bifseg.errors import CannotWrite, DamagedFile, InvalidInput, UnsupportedFile
from bifseg.imaging.image import BLOCK, COARSEST, Image
from bifseg.imaging.orientation import AXIS, CODES, HEADER, RAS, RGB24, quaternion_of
from bifseg.io.itk import sitk
from bifseg.io.voxels import (
    UNPACKED,
    Found,
    as_array,
    check_room,
    place_of,
    planes,
    stored,
    unpacked,
    unpacking,
)

NIFTI1 = np.dtype(
    {
        "names": [
            "size", "dim", "type", "bits", "pixdim", "offset", "scale", "units", "qform_code", "sform_code",
            "quaternion", "qoffset", "sform", "magic",
        ],
        "formats": [
            "i4", "8i2", "i2", "i2", "8f4", "f4", "2f4", "u1", "i2", "i2", "3f4", "3f4", "(3,4)f4", "S3",
        ],
        "offsets": [0, 40, 70, 72, 76, 108, 112, 123, 252, 254, 256, 268, 280, 344],
        "itemsize": 348,
    }
)  # fmt: skip
NIFTI2 = np.dtype(
    {
        "names": [
            "size", "magic", "type", "bits", "dim", "pixdim", "offset", "scale", "qform_code", "sform_code",
            "quaternion", "qoffset", "sform", "units",
        ],
        "formats": [
            "i4", "S3", "i2", "i2", "8i8", "8f8", "i8", "2f8", "i4", "i4", "3f8", "3f8", "(3,4)f8", "i4",
        ],
        "offsets": [0, 4, 12, 14, 16, 104, 168, 176, 344, 348, 352, 376, 400, 500],
        "itemsize": 540,
    }
)  # fmt: skip
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
COLOURS = {RGB24: 3, 2304: 4}  # types of several uint8
COMPLEX = (32, 1792, 2048)
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}  # mm; by custom also where the file does not say
HEAD = 1 << 20  # bytes before the voxels that are read at once
SURPLUS = 1 << 20  # bytes that may lie before and behind the voxels of a stranger's NIfTI
GZIP = b"\x1f\x8b"
BY_ITK = 1 << 22  # bytes of voxels from which on ITK's faster unpacking is worth its start


class Head(NamedTuple):
    """The header of a NIfTI, as this machine reads it."""

    fields: np.void
    swapped: bool
    packed: bool
    shape: tuple[int, ...]


def is_nifti(start: bytes) -> bool:
    """Whether an unpacked file that starts so is a NIfTI, its header alone, or an older Analyze."""
    return start[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c", b"\x1c\2\0\0", b"\0\0\2\x1c")


def read_nifti(path: Path, allowed: tuple[int, int] | None = None) -> Found:
    """What a NIfTI holds, scaled as it says. ``allowed``: voxels and bytes that a stranger's may.

    Raises InvalidInput for damage, fewer bytes of voxels than the header says, several frames, complex numbers and
    shear.
    """
    head = _head(path, allowed)
    fields, kind = head.fields, int(head.fields["type"])
    if kind in COMPLEX:
        raise UnsupportedFile(path, "holds complex numbers; save their magnitude instead.")
    if kind not in TYPES and kind not in COLOURS:
        raise UnsupportedFile(path, f"holds numbers of NIfTI's type {kind}; possible are {', '.join(TYPES.values())}.")
    channels = COLOURS.get(kind, 1)
    dtype = np.dtype(TYPES.get(kind, "u1")).newbyteorder(">" if head.swapped else "<")
    if fields["bits"] not in (0, 8 * dtype.itemsize * channels):
        raise DamagedFile(path, f"is damaged: it says that its {dtype.name} have {fields['bits']} bits.")
    check_room(path, head.shape, dtype.itemsize * channels, allowed)
    if any(n > 1 for n in head.shape[3:]):
        raise UnsupportedFile(
            path, f"has {len(head.shape)} axes, {head.shape}; give one frame of it, a 2D or 3D image."
        )
    place = _place(path, head)
    raw = _voxels(path, head, int(np.prod(head.shape, dtype=object)) * channels * dtype.itemsize, allowed)
    shape = (*head.shape, 1)[: max(2, min(3, len(head.shape)))]
    array = as_array(raw, dtype, (channels, *shape) if channels > 1 else shape)
    slope, intercept = np.where(np.isfinite(fields["scale"]), fields["scale"], 0).astype(float).tolist()
    if channels == 1 and slope and (slope, intercept) != (1, 0):
        array = _scaled(array, slope, intercept)
    return Found(np.moveaxis(array, 0, -1) if channels > 1 else array, channels=channels, **place)


def check_axes(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse to write an array that NIfTI-1 has no room for."""
    if max(shape) > AXIS:
        raise CannotWrite(
            path,
            f"NIfTI-1 holds at most {AXIS} voxels along an axis, and the image has {max(shape)}; write .nrrd or .mha.",
        )


def write_nifti(path: Path, image: Image) -> None:
    """Write an image as NIfTI-1, packed where its name says so; what was read from a NIfTI keeps its qform, sform,
    their codes and units."""
    check_axes(path, image.shape)
    array = image.voxels
    if array.ndim == 4 and array.dtype != np.uint8:
        raise CannotWrite(path, "NIfTI holds colours of 8 bits, and the image's have 16; write .nrrd or .mha.")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    kind = array.dtype.str[1:]
    codes = CODES | {code: number for number, code in TYPES.items()}
    header = np.zeros((), HEADER)
    header["size"], header["magic"], header["offset"] = 348, b"n+1", HEADER.itemsize
    axes = 2 if image.planar else 3
    header["dim"] = (axes, *image.shape, 1, 1, 1, 1)
    coloured = array.ndim == 4
    header["type"], header["bits"] = (RGB24, 24) if coloured else (codes[kind], 8 * array.dtype.itemsize)
    header["slope"] = 1
    for name, value in _kept(image).items():
        header[name] = value
    packer = zlib.compressobj(4, wbits=31) if path.name.lower().endswith(".gz") else None
    with path.open("wb") as file:
        for piece in chain([header.tobytes()], planes(array)):
            file.write(packer.compress(piece) if packer else piece)
        if packer:
            file.write(packer.flush())


def _kept(image: Image) -> Mapping[str, Any]:
    """Where an image lies, in the fields of a header: those that it came with, if they still say that."""
    kept = image.source.get("nifti")
    if kept:
        fields = {name: np.asarray(value) for name, value in kept.items()}
        try:
            affine, _ = _affine(fields, image.shape)
        except ValueError:
            affine = None
        if affine is not None and np.allclose(RAS @ affine, image.affine, rtol=1e-4, atol=1e-3 * min(image.spacing)):
            return {"pixdim": (*kept["pixdim"], 0, 0, 0, 0)} | {n: v for n, v in kept.items() if n != "pixdim"}
    affine = RAS @ image.affine
    u, _, vh = np.linalg.svd(affine[:3, :3] / image.spacing)
    rotation = u @ vh
    handed = np.sign(np.linalg.det(rotation))
    return {
        "pixdim": (handed, *image.spacing, 0, 0, 0, 0), "units": 2 if image.calibrated else 0, "qform_code": 1,
        "sform_code": 1, "sform": affine[:3], "qoffset": affine[:3, 3],
        "quaternion": quaternion_of(rotation * (1, 1, handed)),
    }  # fmt: skip


def _head(path: Path, allowed: tuple[int, int] | None) -> Head:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if packed:
            raw = b""
            try:
                for piece in unpacking(file, "gzip"):
                    raw += piece
                    if len(raw) >= NIFTI2.itemsize:
                        break
            except (EOFError, zlib.error, OSError) as error:
                raise DamagedFile(path, UNPACKED) from error
        else:
            raw = file.read(NIFTI2.itemsize)
    size = int.from_bytes(raw[:4], "little")
    swapped = size not in (348, 540)
    size = int.from_bytes(raw[:4], "big" if swapped else "little")
    layout = {348: NIFTI1, 540: NIFTI2}.get(size)
    if layout is None or len(raw) < layout.itemsize:
        raise DamagedFile(path, "is not a NIfTI-1 file, nor a NIfTI-2, or its header is truncated.")
    fields = np.frombuffer(raw[: layout.itemsize], layout.newbyteorder(">" if swapped else "<"))[0]
    magic, right = fields["magic"].rstrip(b"\0"), b"n+1" if layout is NIFTI1 else b"n+2"
    if magic in (b"ni1", b"ni2") or (not magic and layout is NIFTI1):
        kind = "NIfTI" if magic else "Analyze"
        raise UnsupportedFile(
            path, f"is one of the two files of an image in {kind} format (.hdr, .img); save it as .nii."
        )
    if magic != right:
        raise UnsupportedFile(path, "is not a NIfTI-1 file, nor a NIfTI-2: its header does not say so.")
    axes = int(fields["dim"][0])
    shape = tuple(int(n) for n in fields["dim"][1 : axes + 1]) if 1 <= axes <= 7 else ()
    if not shape or min(shape) < 1:
        raise DamagedFile(path, f"is damaged: its axes are {fields['dim'].tolist()}.")
    offset = float(fields["offset"])
    least = layout.itemsize + 4
    if not (offset == 0 or least <= offset < 1 << 40):
        raise DamagedFile(path, f"is damaged: its voxels begin at byte {offset:.6g}, within its header of {least}.")
    if allowed and offset > least + SURPLUS:
        raise DamagedFile(path, f"has its voxels behind {offset:.4g} other bytes; save it anew.")
    return Head(fields, swapped, packed, shape)


def _offset(head: Head) -> int:
    """Where the voxels begin; what says 0 means: right behind the header."""
    return int(head.fields["offset"]) or (NIFTI1 if head.fields["size"] == 348 else NIFTI2).itemsize + 4


def _voxels(path: Path, head: Head, wanted: int, allowed: tuple[int, int] | None) -> np.ndarray:
    """The bytes of the voxels, uint8."""
    offset = _offset(head)
    if not head.packed:
        found = max(0, path.stat().st_size - offset)
        if allowed and found > wanted + SURPLUS:
            raise DamagedFile(path, "holds more than its header says; it may be damaged, or a trap.")
        return stored(path, offset, wanted)
    if wanted >= BY_ITK and (voxels := _by_itk(path, head, wanted)) is not None:
        return voxels
    return unpacked(path, 0, wanted, "gzip", before=offset, surplus=SURPLUS if allowed else 1 << 60)


def _by_itk(path: Path, head: Head, wanted: int) -> np.ndarray | None:
    """The voxels of a packed file, if the checksum at its end is that of its header and of what ITK read.

    Then they are what was written, and nothing follows them. ITK unpacks four times as fast as `zlib`. None where they
    are not proven so: scaled, of swapped bytes, in several parts, or damaged.
    """
    offset, (slope, intercept) = _offset(head), head.fields["scale"]
    scaled = (np.isfinite(slope) and slope not in (0, 1)) or (np.isfinite(intercept) and intercept != 0)
    name = str(path)
    if offset > HEAD or head.swapped or scaled or not name.isprintable() or not name.lower().endswith(".nii.gz"):
        return None
    try:
        itk = sitk().ReadImage(name, imageIO="NiftiImageIO")
    except (RuntimeError, UnicodeError):
        return None
    voxels = np.asarray(_Pixels(itk)).reshape(-1).view(np.uint8)
    if voxels.nbytes != wanted:
        return None
    with path.open("rb") as file:
        before = b""
        for piece in unpacking(file, "gzip"):
            before += piece[: offset - len(before)]
            if len(before) == offset:
                break
        file.seek(-8, os.SEEK_END)
        told = np.frombuffer(file.read(), "<u4").tolist()
    proof = [zlib.crc32(voxels, zlib.crc32(before)), (offset + wanted) % (1 << 32)]
    return voxels if told == proof else None


class _Pixels:
    """The pixels of an ITK image as NumPy sees them; keeps the image alive, as SimpleITK's views do not."""

    def __init__(self, itk: Any) -> None:
        self.itk = itk
        self.__array_interface__ = sitk().GetArrayViewFromImage(itk).__array_interface__


def _scaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """The numbers that are meant: float32, or float64 where the stored ones need more than its 24 bits."""
    kind = np.float32 if array.dtype.itemsize < 4 or array.dtype == np.float32 else np.float64
    result = np.empty(array.shape, kind, order="F")
    flat, source = result.reshape(-1, order="F"), array.reshape(-1, order="F")
    for start in range(0, len(flat), BLOCK):
        with np.errstate(over="ignore"):  # what becomes infinite is refused as such
            flat[start : start + BLOCK] = source[start : start + BLOCK] * np.float64(slope) + intercept
    result.flags.writeable = False
    return result


def _place(path: Path, head: Head) -> dict[str, Any]:
    """Where the voxels lie, LPS mm: by the sform, else by the qform, else as Analyze and `nibabel` have it."""
    fields, shape = head.fields, head.shape
    steps = np.abs(fields["pixdim"][1 : 1 + min(3, len(shape))].astype(float))
    kept = {
        "pixdim": fields["pixdim"][:4].astype(float).tolist(), "units": int(fields["units"]) & 7,
        **{name: int(fields[name]) for name in ("qform_code", "sform_code")},
        **{name: fields[name].astype(float).tolist() for name in ("quaternion", "qoffset", "sform")},
    }  # fmt: skip
    if not all(np.isfinite(s) and (s > 0 or n == 1) for n, s in zip(shape, steps, strict=False)):
        raise UnsupportedFile(path, f"is not usable: its spacing is {steps.tolist()}.")
    full = (*shape, 1, 1)[:3]
    try:
        affine, what = _affine({name: np.asarray(value) for name, value in kept.items()}, full)
    except ValueError as error:
        raise UnsupportedFile(path, f"is not usable: {error}") from None
    spacing, direction = place_of(path, (RAS @ affine)[:3, :3], what)
    if max(steps) > COARSEST:
        raise DamagedFile(path, f"is not usable: its spacing is {steps.tolist()}, more than {COARSEST:g} mm.")
    empty = [k for k in range(3) if spacing[k] == 0]
    if any(full[k] > 1 for k in empty):
        raise DamagedFile(path, f"is not usable: its {what} gives an axis no length: {spacing}.")
    if len(empty) > 1:
        raise DamagedFile(path, f"is not usable: its {what} gives {len(empty)} axes no length.")
    if empty:  # of a single plane: it stands on the others
        (k,) = empty
        direction[:, k] = np.cross(direction[:, (k + 1) % 3], direction[:, (k + 2) % 3])
        spacing = tuple(s or 1.0 for s in spacing)
    return {
        "spacing": spacing, "origin": tuple((RAS @ affine)[:3, 3]), "direction": direction,
        "planar": len(shape) < 3 or (full[2] == 1 and 2 in empty), "source": {"nifti": kept},
    }  # fmt: skip


def _affine(fields: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """From voxels to RAS millimetres, and what of the header said so."""
    scale = UNITS.get(int(fields["units"]) & 7, 1.0)
    affine, pixdim = np.eye(4), np.asarray(fields["pixdim"], float)
    steps = np.abs(pixdim[1:4])
    if fields["sform_code"] > 0:
        affine[:3], what = fields["sform"], "sform"
    elif fields["qform_code"] > 0:
        b, c, d = np.asarray(fields["quaternion"], float)
        square = 1 - (b * b + c * c + d * d)
        if not square > -1e-4:
            raise InvalidInput("The qform's quaternion is longer than 1.")
        stored = np.float32 if (np.array([b, c, d], np.float32) == (b, c, d)).all() else np.float64
        a = np.sqrt(square) if square > 3 * np.finfo(stored).eps else 0.0  # half a turn, rounded; `nibabel` does so
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        ) / (a * a + b * b + c * c + d * d)
        steps = np.where((steps == 0) & (np.asarray(shape) == 1), 1, steps)
        affine[:3, :3] = rotation * (steps * (1, 1, -1 if pixdim[0] < 0 else 1))
        affine[:3, 3], what = fields["qoffset"], "qform"
    else:
        steps = np.where((steps == 0) & (np.asarray(shape) == 1), 1, steps) * (-1, 1, 1)
        affine[:3, :3], what = np.diag(steps), "spacing"
        affine[:3, 3] = -steps * (np.asarray(shape) - 1) / 2
    affine[:3] *= scale
    return affine, what
