"""NIfTI, 1 and 2, packed or not: read to the last byte, and a mask written with the header of its scan."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bifseg.errors import CannotWrite, DamagedFile, InvalidInput, UnsupportedFile
from bifseg.imaging.image import BLOCK, COARSEST, Image
from bifseg.imaging.nifti_header import (
    AXIS,
    NO_EXTENSION,
    RGB24,
    SIZES,
    TYPES,
    filled,
    layout,
    numbers,
    placed,
)  # fmt: skip
from bifseg.imaging.orientation import RAS
from bifseg.io.formats import ReadOptions
from bifseg.io.itk import sitk
from bifseg.io.voxels import (
    UNPACKED,
    Content,
    as_array,
    check_room,
    place_of,
    planes,
    stored,
    unpacked,
    unpacking,
)

CODE = (1 << 15) - 1  # the largest that a NIfTI-1, which is written, has room for
COLOURS = {RGB24: 3, 2304: 4}  # types of several uint8
COMPLEX = (32, 1792, 2048)
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}  # mm; by custom also where the file does not say
HEAD = 1 << 20  # bytes before the voxels that are read at once
SURPLUS = 1 << 20  # bytes that may lie before and behind the voxels of a stranger's NIfTI
GZIP = b"\x1f\x8b"
BY_ITK = 1 << 22  # bytes of voxels from which on ITK's faster unpacking is worth its start


class Head(NamedTuple):
    """The header of a NIfTI. ``least``: bytes before the first that may be a voxel's."""

    fields: np.void
    least: int
    swapped: bool
    packed: bool
    shape: tuple[int, ...]

    @property
    def offset(self) -> int:
        """Where the voxels begin; what says 0 means: right behind the header."""
        return int(self.fields["offset"]) or self.least


def is_nifti(start: bytes) -> bool:
    """Whether an unpacked file that starts so is a NIfTI, its header alone, or an older Analyze."""
    return start[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c", b"\x1c\2\0\0", b"\0\0\2\x1c")


def read_nifti(path: Path, options: ReadOptions) -> Content:
    """What a NIfTI holds, scaled as it says.

    Raises InvalidInput for damage, fewer bytes of voxels than the header says, several frames, complex numbers and
    shear.
    """
    allowed = options.allowed
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
    slope, intercept = _scale(path, fields)
    if channels == 1 and (slope, intercept) != (1, 0):
        array = _scaled(array, slope, intercept)
    return Content(np.moveaxis(array, 0, -1) if channels > 1 else array, channels=channels, **place)


def check_axes(path: Path, image: Image) -> None:
    """Refuse to write an image that NIfTI-1 has no room for."""
    if max(image.shape) > AXIS:
        raise CannotWrite(
            path,
            f"NIfTI-1 holds at most {AXIS} voxels along an axis, and the image has {max(image.shape)}; "
            "write .nrrd or .mha.",
        )


def write_nifti(path: Path, image: Image, names: Sequence[str] | None = None) -> None:
    """Write an image as NIfTI-1, packed where its name says so; what was read from a NIfTI keeps its qform, sform,
    their codes and units."""
    array = image.voxels
    if array.ndim == 4 and array.dtype != np.uint8:
        raise CannotWrite(path, "NIfTI holds colours of 8 bits, and the image's have 16; write .nrrd or .mha.")
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    axes = 2 if image.planar else 3
    header = filled(
        dim=(axes, *image.shape, 1, 1, 1, 1), **numbers(array.dtype.str[1:], array.ndim), **_place_fields(image)
    )
    packer = zlib.compressobj(4, wbits=31) if path.name.lower().endswith(".gz") else None
    with path.open("wb") as file:
        for piece in chain([header], planes(array)):
            file.write(packer.compress(piece) if packer else piece)
        if packer:
            file.write(packer.flush())


def check_source(source: Mapping, shape: Sequence[int]) -> None:
    """InvalidInput for what no header can have said of an image, as its `Image.source` has it."""
    known = isinstance(source, Mapping) and not source.keys() - {"nifti"}
    kept = source.get("nifti") if known else {}
    if kept is None:
        return
    if not isinstance(kept, Mapping) or kept.keys() != KEPT.keys():
        raise InvalidInput("its image tells of a header what no reader keeps")
    arrays = {name: np.asarray(value) for name, value in kept.items()}
    if any(array.shape != KEPT[name] or array.dtype.kind not in "if" for name, array in arrays.items()):
        raise InvalidInput("its image tells of a header what no reader keeps")
    if any(type(kept[name]) is not int or abs(kept[name]) > CODE for name, size in KEPT.items() if not size):
        raise InvalidInput("its image tells of a header codes that there are not")
    _affine(arrays, tuple(shape))


def _place_fields(image: Image) -> Mapping[str, Any]:
    """Where an image lies, in the fields of a header: those that it came with, if they still say that."""
    kept = image.source.get("nifti")
    if kept:
        fields = {name: np.asarray(value) for name, value in kept.items()}
        try:
            affine, _ = _affine(fields, image.shape)
        except ValueError:
            affine = None
        if affine is not None and np.allclose(RAS @ affine, image.affine, rtol=1e-4, atol=1e-3 * min(image.spacing)):
            return {**kept, "pixdim": (*kept["pixdim"], 0, 0, 0, 0)}
    return {"units": 2 if image.calibrated else 0, **placed(RAS @ image.affine)}


def _head(path: Path, allowed: tuple[int, int] | None) -> Head:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        if packed:
            raw = b""
            try:
                for piece in unpacking(file, "gzip"):
                    raw += piece
                    if len(raw) >= max(SIZES.values()):
                        break
            except (EOFError, zlib.error, OSError) as error:
                raise DamagedFile(path, UNPACKED) from error
        else:
            raw = file.read(max(SIZES.values()))
    swapped = int.from_bytes(raw[:4], "little") not in SIZES.values()
    size = int.from_bytes(raw[:4], "big" if swapped else "little")
    version = next((version for version, bytes_ in SIZES.items() if bytes_ == size), None)
    if version is None or len(raw) < size:
        raise DamagedFile(path, "is not a NIfTI-1 file, nor a NIfTI-2, or its header is truncated.")
    fields = np.frombuffer(raw[:size], layout(version, ">" if swapped else "<"))[0]
    magic = fields["magic"].rstrip(b"\0")
    if magic in (b"ni1", b"ni2") or (not magic and version == 1):
        kind = "NIfTI" if magic else "Analyze"
        raise UnsupportedFile(
            path, f"is one of the two files of an image in {kind} format (.hdr, .img); save it as .nii."
        )
    if magic != b"n+%d" % version:
        raise UnsupportedFile(path, "is not a NIfTI-1 file, nor a NIfTI-2: its header does not say so.")
    axes = int(fields["dim"][0])
    shape = tuple(int(n) for n in fields["dim"][1 : axes + 1]) if 1 <= axes <= 7 else ()
    if not shape or min(shape) < 1:
        raise DamagedFile(path, f"is damaged: its axes are {fields['dim'].tolist()}.")
    offset = float(fields["offset"])
    least = size + len(NO_EXTENSION)
    if not (offset == 0 or least <= offset < 1 << 40):
        raise DamagedFile(path, f"is damaged: its voxels begin at byte {offset:.6g}, within its header of {least}.")
    if allowed and offset > least + SURPLUS:
        raise DamagedFile(path, f"has its voxels behind {offset:.4g} other bytes; save it anew.")
    return Head(fields, least, swapped, packed, shape)


def _voxels(path: Path, head: Head, size: int, allowed: tuple[int, int] | None) -> np.ndarray:
    """The ``size`` bytes of the voxels, uint8."""
    if not head.packed:
        if allowed and path.stat().st_size > head.offset + size + SURPLUS:
            raise DamagedFile(path, "holds more than its header says; it may be damaged, or a trap.")
        return stored(path, head.offset, size)
    if size >= BY_ITK and (voxels := _by_itk(path, head, size)) is not None:
        return voxels
    return unpacked(path, 0, size, "gzip", before=head.offset, surplus=SURPLUS if allowed else 1 << 60)


def _by_itk(path: Path, head: Head, size: int) -> np.ndarray | None:
    """The voxels of a packed file, if the checksum at its end is that of its header and of what ITK read.

    Then they are what was written, and nothing follows them. ITK unpacks four times as fast as `zlib`. None where they
    are not proven so: scaled, of swapped bytes, in several parts, or damaged.
    """
    offset, (slope, intercept) = head.offset, head.fields["scale"]
    scaled = (np.isfinite(slope) and slope not in (0, 1)) or (np.isfinite(intercept) and intercept != 0)
    name = str(path)
    if offset > HEAD or head.swapped or scaled or not name.isprintable() or not name.lower().endswith(".nii.gz"):
        return None
    try:
        itk = sitk().ReadImage(name, imageIO="NiftiImageIO")
    except (RuntimeError, UnicodeError):
        return None
    voxels = np.asarray(_Pixels(itk)).reshape(-1).view(np.uint8)
    if voxels.nbytes != size:
        return None
    with path.open("rb") as file:
        before = b""
        for piece in unpacking(file, "gzip"):
            before += piece[: offset - len(before)]
            if len(before) == offset:
                break
        file.seek(-8, os.SEEK_END)
        trailer = np.frombuffer(file.read(), "<u4").tolist()
    return voxels if trailer == [zlib.crc32(voxels.data, zlib.crc32(before)), (offset + size) % (1 << 32)] else None


class _Pixels:
    """The pixels of an ITK image as NumPy sees them; keeps the image alive, as SimpleITK's views do not."""

    def __init__(self, itk: Any) -> None:
        self.itk = itk
        self.__array_interface__ = sitk().GetArrayViewFromImage(itk).__array_interface__


def _scale(path: Path, fields: np.void) -> tuple[float, float]:
    """Slope and intercept; (1, 0) where a slope that is 0 or none says that the numbers are as they are stored."""
    slope, intercept = map(float, fields["scale"])
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise DamagedFile(path, f"is damaged: its numbers are scaled by {slope:g} and then moved by {intercept:g}.")
    return slope, intercept


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


KEPT: dict[str, tuple[int, ...]] = {  # of a header, and the shape of each
    "pixdim": (4,), "units": (), "qform_code": (), "sform_code": (), "quaternion": (3,), "qoffset": (3,),
    "sform": (3, 4),
}  # fmt: skip


def _place(path: Path, head: Head) -> dict[str, Any]:
    """Where the voxels lie, LPS mm: by the sform, else by the qform, else as Analyze and `nibabel` have it."""
    fields, shape = head.fields, head.shape
    steps = np.abs(fields["pixdim"][1 : 1 + min(3, len(shape))].astype(float))
    kept = {
        "pixdim": fields["pixdim"][:4].astype(float).tolist(), "units": int(fields["units"]) & 7,
        **{name: max(-CODE, min(int(fields[name]), CODE)) for name in ("qform_code", "sform_code")},
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
