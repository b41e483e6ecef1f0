"""Images in and masks out: every format there is, checked before and after."""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import numpy as np

from bifseg.errors import CannotWrite, DamagedFile, MissingFile, UnsupportedFile
from bifseg.imaging.colours import KINDS, luminance
from bifseg.imaging.image import Image, count_not_finite, slabs
from bifseg.io.atomic import put_in_place
from bifseg.io.dicom_series import is_bare_dicom, read_dicom, read_series, unzip
from bifseg.io.metaimage import is_metaimage, read_metaimage, write_metaimage
from bifseg.io.nifti import GZIP, check_axes, is_nifti, read_nifti, write_nifti
from bifseg.io.nrrd import is_nrrd, read_nrrd, write_nrrd
from bifseg.io.pictures import is_picture, read_picture, write_png
from bifseg.io.tiff import is_tiff, read_tiff
from bifseg.io.untrusted import check_single
from bifseg.io.voxels import UNPACKED, Found, unpacking

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
FORMATS = "NIfTI, NRRD, MHA, MHD, PNG, JPEG, BMP, TIFF, DICOM"
UNKNOWN = f"is damaged, or not an image of a known format: {FORMATS}."
NOT_FINITE = "holds {bad} voxels that are NaN or infinite; all must be finite."


def read_image(path: str | Path, *, series: str | None = None) -> Image:
    """Read a scan or a mask: NIfTI, NRRD, MHA/MHD, PNG, JPEG, TIFF, BMP, a folder or a zip of DICOM slices.

    The array is in file order (x, y, z) and in the file's own number type. Colours are kept, but for alpha, beside
    their luminance (Rec. 601, rounded); those that are all grey are not. A 2D file is one plane and ``planar``.
    ``series`` picks one of several DICOM series by its UID. A constant image is fine here: see ``Image.check_scan``.

    Raises FileNotFoundError, or InvalidInput for what is no image, is damaged, has several frames or complex,
    vector, NaN or infinite values, is sheared, or is a stack of unevenly placed slices.

    >>> read_image("scan.nii.gz").shape  # doctest: +SKIP
    (512, 512, 120)
    """
    return _read(Path(path), series)


def read_upload(path: str | Path, *, voxels: int, bytes: int, series: str | None = None) -> Image:
    """As `read_image`, of a file from a stranger: a single file (or zip of DICOM) that says itself what it holds.

    Raises InvalidInput as `read_image`, also for one that refers to other files; TooLarge (an InvalidInput) for more
    than ``voxels``, or ``bytes`` unpacked, before memory or disk is used for them.
    """
    path = Path(path)
    _check_upload(path)
    return _read(path, series, allowed=(voxels, bytes))


def _check_upload(path: Path) -> None:
    if path.is_dir():
        return
    if not path.is_file() or not path.stat().st_size:
        raise DamagedFile(path, "is empty.")
    check_single(path)


def read_labels(path: str | Path, like: Image, *, allowed: tuple[int, int] | None = None) -> np.ndarray:
    """Read an integer label map (x, y, z) that lies on the grid of ``like``.

    ``allowed``: voxels and bytes that a file from a stranger may hold, which then is checked as in `read_upload`.

    Where it lies on the same voxels in another order of axes it is turned. Raises InvalidInput where its shape or place
    differs, or where it holds fractions or colours; else as
    ``read_image``. Where either is a 2D file, only the shapes are compared.
    """
    path = Path(path)
    if allowed:
        _check_upload(path)
    image = _turned(_read(path, grey=True, allowed=allowed), like)
    if image.shape != like.shape:
        raise UnsupportedFile(path, f"has the shape {image.shape}; the image has {like.shape}.")
    if not (image.planar or like.planar):
        apart = _apart(image, like)
        if apart > 0.1 * min(like.spacing):
            raise UnsupportedFile(
                path,
                f"lies elsewhere: its corners are up to {apart:.3g} mm from the image's; "
                "it needs the same spacing, origin and direction.",
            )
    if image.array.dtype.kind != "f":
        return image.array
    for slab in slabs(image.array):
        if not (slab == np.rint(slab)).all():
            raise UnsupportedFile(
                path, f"holds fractions such as {slab[slab != np.rint(slab)][0]}; labels are integers."
            )
    return image.array.astype(np.int32)


def _turned(image: Image, like: Image) -> Image:
    """A label map with its axes in the order and direction of ``like``, if it then lies on the same voxels."""
    if image.planar or like.planar or (image.shape == like.shape and _apart(image, like) <= 0.1 * min(like.spacing)):
        return image
    turn = np.linalg.inv(like.direction) @ image.direction  # column k: where axis k of the labels runs in the image
    order = np.abs(turn).argmax(1)  # of the labels' axes, along the image's
    if sorted(order.tolist()) != [0, 1, 2]:
        return image
    signs = [1 if turn[k, axis] > 0 else -1 for k, axis in enumerate(order)]
    array = image.array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    first = [0 if signs[list(order).index(axis)] > 0 else image.shape[axis] - 1 for axis in range(3)]
    turned = Image(
        array, np.array(image.spacing)[order], (image.affine @ (*first, 1))[:3], image.direction[:, order] * signs,
        calibrated=image.calibrated,
    )  # fmt: skip
    fits = turned.shape == like.shape and _apart(turned, like) <= 0.1 * min(like.spacing)
    return turned if fits else image


def _apart(image: Image, like: Image) -> float:
    """How far the corners of two images of one shape lie from each other, at most, in mm."""
    last = np.array(like.shape) - 1
    corners = np.array([(*(np.array(corner) * last), 1) for corner in np.ndindex(2, 2, 2)])
    return float(np.linalg.norm(corners @ (image.affine - like.affine).T, axis=1).max())


def write_image(path: str | Path, array: np.ndarray, like: Image, *, names: Sequence[str] | None = None) -> None:
    """Write an array (x, y, z) with the geometry of ``like``; an old file is replaced whole or not at all.

    The suffix picks the format: .nii.gz, .nii, .nrrd, .seg.nrrd, .mha or .png. A scan read from a NIfTI lends its
    qform, sform, codes and units to what is written as NIfTI. PNG takes one plane; bool, uint8 and uint16 keep their
    values (bool 0 and 1), floats in [0, 1] become 0 to 255; of a picture that was turned upright it is turned back.
    Colours are (x, y, z, 3): of 8 bits for every format, of 16 for .nrrd and .mha.
    ``names``: of the labels 1, 2..., which are kept in a .seg.nrrd; labels and masks get colours in a PNG. Planar
    images become 2D files. A link is followed, and a file that is replaced keeps its mode.

    Raises InvalidInput for what the format cannot hold, OSError where the file cannot be written.

    >>> write_image("mask.nii.gz", mask, like=image)  # doctest: +SKIP
    """
    path, array = Path(path), np.asarray(array)
    suffix = next((s for s in WRITABLE if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise CannotWrite(path, f"the suffix must be one of {', '.join(WRITABLE)}.")
    check_writable(path, like.shape)
    labels = names is not None or array.dtype == bool
    image = like.with_array(array)
    if image.array.dtype == np.float16:
        image = image.with_array(image.array.astype(np.float32))
    if bad := count_not_finite(image.array):
        raise CannotWrite(path, f"the array holds {bad} values that are NaN or infinite.")
    if suffix == ".png":
        image = _for_png(image, path)
    if not path.parent.is_dir():
        raise CannotWrite(path, f"the folder {path.parent} does not exist.")
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        temporary.open("xb").close()  # says in the system's words why a folder is not writable
        _write(temporary, image, _segments(path, image, names), labels=labels)
        put_in_place(temporary, path)
    except OSError as error:
        raise CannotWrite(path, f"{error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path, shape: Sequence[int]) -> None:
    """Refuse a file name whose format has no room for an image of a shape (x, y, z); ValueError says what has."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        check_axes(path, tuple(shape))
    if name.endswith(".png") and shape[2] > 1:
        raise CannotWrite(path, f"PNG holds one plane, and the image has {shape[2]}.")


def _segments(path: Path, image: Image, names: Sequence[str] | None) -> list[str] | None:
    """Names of all labels, for a .seg.nrrd; None for another file."""
    if not path.name.lower().endswith(".seg.nrrd"):
        return None
    array = image.array
    if array.dtype.kind not in "ui" or image.colours is not None:
        raise CannotWrite(path, f"a .seg.nrrd holds labels, not {array.dtype}; write .nrrd.")
    given = list(names or [])
    return given + [f"object {k}" for k in range(len(given) + 1, min(int(array.max()), 65_535) + 1)]


def _write(path: Path, image: Image, segments: Sequence[str] | None, *, labels: bool) -> None:
    """Write, and flush to the disk."""
    # A 2D header has no room for a plane that stands obliquely in space: such a plane stays a thin volume.
    flat = image.planar and np.allclose(image.direction[2], (0, 0, 1)) and image.origin[2] == 0
    name, axes = path.name.lower(), 2 if flat and segments is None else 3
    if name.endswith((".nii", ".nii.gz")):
        write_nifti(path, image)
    elif name.endswith(".nrrd"):
        write_nrrd(path, image, axes, segments or ())
    elif name.endswith(".mha"):
        write_metaimage(path, image, axes)
    else:
        write_png(path, image, labels=labels)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _for_png(image: Image, path: Path) -> Image:
    array = image.array
    if image.colours is not None and image.colours.dtype != np.uint8:
        raise CannotWrite(path, "PNG is written with colours of 8 bits, and the image's have 16; write .nrrd or .mha.")
    if array.dtype.kind == "f":
        if array.min() < 0 or array.max() > 1:
            raise CannotWrite(path, "floats in a PNG must lie in [0, 1] (to become 0 to 255).")
        return image.with_array(np.rint(array * 255).astype(np.uint8))
    if array.dtype not in (np.uint8, np.uint16):
        raise CannotWrite(path, f"PNG holds uint8, uint16 or floats in [0, 1], not {array.dtype}.")
    return image


def _read(
    path: Path, series: str | None = None, *, grey: bool = False, allowed: tuple[int, int] | None = None
) -> Image:
    """``allowed``: voxels and bytes that a stranger's file may hold."""
    if not path.exists():
        raise MissingFile(f"{path} does not exist.")
    return _image(path, _found(path, series, allowed, grey=grey), grey=grey)


def _found(path: Path, series: str | None, allowed: tuple[int, int] | None, *, grey: bool) -> Found:
    """What a file holds, by the reader that belongs to its first bytes; its name does not matter."""
    if path.is_dir():
        return read_series(path, path, series, allowed)
    if not path.stat().st_size:
        raise DamagedFile(path, "is empty.")
    with path.open("rb") as file:
        start = file.read(540)
        name = path.name.lower()
        if start.startswith(GZIP):
            file.seek(0)
            start = _unpacked_start(path, file)
            if not is_nifti(start) and not name.endswith((".nii", ".nii.gz")):
                raise UnsupportedFile(path, UNKNOWN)
            return read_nifti(path, allowed)
    if start[128:132] == b"DICM":
        return read_dicom(path, series, allowed)
    if start.startswith(b"PK") or name.endswith(".zip"):
        with TemporaryDirectory() as folder:
            names = unzip(path, Path(folder), allowed[1] if allowed else None)
            return read_series(Path(folder), path, series, allowed, names)
    if is_nrrd(start):
        return read_nrrd(path, allowed)
    if is_picture(start):
        return read_picture(path, allowed, labels=grey)
    if is_tiff(start):
        return read_tiff(path, allowed, labels=grey)
    if name.endswith((".mha", ".mhd")) or is_metaimage(start):
        return read_metaimage(path, allowed)
    if is_nifti(start) or name.endswith((".nii", ".nii.gz")):
        return read_nifti(path, allowed)
    if name.endswith((".dcm", ".ima")) or is_bare_dicom(start):
        return read_dicom(path, series, allowed)
    raise UnsupportedFile(path, UNKNOWN)


def _unpacked_start(path: Path, file: BinaryIO) -> bytes:
    try:
        return next(unpacking(file, "gzip"), b"")[:540]
    except (zlib.error, EOFError, OSError) as error:
        raise DamagedFile(path, UNPACKED) from error


def _image(path: Path, found: Found, *, grey: bool) -> Image:
    """The Image that a reader found: real numbers, all of them finite."""
    array = found.array
    if array.dtype.kind == "c":
        raise UnsupportedFile(path, "holds complex numbers; save their magnitude instead.")
    colours = _colours(array, path, grey=grey) if found.channels > 1 else None
    array = array if colours is None else colours[..., 0]
    if any(n > 1 for n in array.shape[3:]):
        raise UnsupportedFile(path, f"has {array.ndim} axes, {array.shape}; give one frame of it, a 2D or 3D image.")
    if colours is not None and (colours[..., :1] != colours).any():
        colours = colours.reshape((*(*array.shape, 1, 1)[:3], 3), order="F")
        array = luminance(colours)
    else:
        colours = None
        array = array.reshape(array.shape[:3], order="F") if array.ndim > 3 else array
    if bad := count_not_finite(array):
        raise UnsupportedFile(path, NOT_FINITE.format(bad=bad))
    try:
        return Image(
            array, found.spacing, found.origin, found.direction, found.planar, found.calibrated, found.source, colours
        )
    except ValueError as error:
        raise UnsupportedFile(path, f"is not usable: {error}") from error


def _colours(array: np.ndarray, path: Path, *, grey: bool) -> np.ndarray:
    """Red, green and blue, alpha left out, in the last axis; with ``grey`` all have to be the same."""
    if array.shape[-1] not in (3, 4) or array.dtype not in KINDS:
        raise UnsupportedFile(
            path, f"holds vectors of {array.shape[-1]} {array.dtype}; give one channel, or RGB colours."
        )
    colours = array[..., :3]
    if grey and (colours != colours[..., :1]).any():
        raise DamagedFile(path, "is in colour; a label map has one number per voxel.")
    return colours
