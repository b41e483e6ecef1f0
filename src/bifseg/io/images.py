"""Images in and masks out: every format of `bifseg.io.formats`, checked before and after."""

from __future__ import annotations

import builtins
import os
import secrets
import zlib
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from bifseg.errors import BifsegError, CannotWrite, DamagedFile, FileError, MissingFile, UnsupportedFile
from bifseg.imaging.colours import KINDS, luminance
from bifseg.imaging.image import Image, count_not_finite, slabs
from bifseg.imaging.orientation import distance, lies_on, turned_like
from bifseg.io import formats
from bifseg.io.atomic import put_in_place
from bifseg.io.formats import FORMATS, Format, ReadOptions
from bifseg.io.untrusted import check_single
from bifseg.io.voxels import MAGIC, UNPACKED, Content, unpacking

START = 540  # bytes of a file by which its format is known
PAIR = "is no image that is read; if it is one of two files, .hdr and .img, save both as one .nii."
NOT_FINITE = "holds {bad} voxels that are NaN or infinite; all must be finite."


def read_image(path: str | Path, *, series: str | None = None) -> Image:
    """Read a scan or a mask, of any format that `bifseg.io.formats` lists, or a folder of DICOM slices.

    The array is in file order (x, y, z) and in the file's own number type. Colours are kept, but for alpha, beside
    their luminance (Rec. 601, rounded); those that are all grey are not. A 2D file is one plane and ``planar``. A
    constant image is fine here: see ``Image.check_scan``.

    Parameters
    ----------
    path
        The file or folder.
    series
        UID of one of several DICOM series.

    Returns
    -------
    Image
        With the file's geometry.

    Raises
    ------
    MissingFile
        Where there is nothing of that name.
    InvalidInput
        For what is no image, is damaged, has several frames or complex, vector, NaN or infinite values, is sheared, or
        is a stack of unevenly placed slices.

    Examples
    --------
    >>> read_image("scan.nii.gz").shape  # doctest: +SKIP
    (512, 512, 120)
    """
    return _read(Path(path), ReadOptions(series))


def read_upload(path: str | Path, *, voxels: int, bytes: int, series: str | None = None) -> Image:
    """As `read_image`, of a file from a stranger: a single file (or zip of DICOM) that says itself what it holds.

    Raises InvalidInput as `read_image`, also for one that refers to other files; TooLarge (an InvalidInput) for more
    than ``voxels``, or ``bytes`` unpacked, before memory or disk is used for them.
    """
    return read_upload_with_headers(path, voxels=voxels, bytes=bytes, series=series, headers=False)[0]


def read_upload_with_headers(
    path: str | Path, *, voxels: int, bytes: int, series: str | None = None, headers: bool = True,
    room: formats.Room | None = None,
) -> tuple[Image, builtins.bytes | None]:  # fmt: skip
    """As `read_upload`, and the headers of its DICOM series (`bifseg.io.dicom_headers`), None where it is none.

    ``room``: as in `bifseg.io.formats.ReadOptions`.
    """
    path = Path(path)
    _check_upload(path)
    content = _content(path, ReadOptions(series, (voxels, bytes), headers=headers, room=room))
    return _image(path, content, labels=False), content.headers


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
    image = turned_like(_read(path, ReadOptions(allowed=allowed, labels=True)), like)
    if image.shape != like.shape:
        raise UnsupportedFile(path, f"has the shape {image.shape}; the image has {like.shape}.")
    if not (image.planar or like.planar or lies_on(image, like)):
        raise UnsupportedFile(
            path,
            f"lies elsewhere: its corners are up to {distance(image, like):.3g} mm from the image's; "
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


def write_image(
    path: str | os.PathLike, array: np.ndarray, like: Image, *, names: Sequence[str] | None = None,
    headers: bytes | None = None, lasting: bool = True,
) -> None:  # fmt: skip
    """Write an array with the geometry of an image; an old file is replaced whole or not at all.

    The ending of the name picks the format (`bifseg.io.formats`). A scan read from a NIfTI lends its qform, sform,
    codes and units to what is written as NIfTI. PNG takes one plane; bool, uint8 and uint16 keep their values (bool 0
    and 1), floats in [0, 1] become 0 to 255; of a picture that was turned upright it is turned back. Planar images
    become 2D files. A link is followed, and a file that is replaced keeps its mode.

    Parameters
    ----------
    path
        The file.
    array
        (x, y, z), of the image's shape. Colours are (x, y, z, 3): of 8 bits for every format of numbers, of 16 for
        .nrrd and .mha.
    like
        The image whose geometry the file gets.
    names
        Of the labels 1, 2... in the array, which formats of objects keep; labels and masks get colours in a PNG.
    headers
        Those of the DICOM series that ``like`` came from (`headers_for`), for DICOM-SEG and RTSTRUCT.
    lasting
        Whether the file is to survive a power cut, for which the disk is waited for.

    Raises
    ------
    CannotWrite
        For what the format cannot hold, and where the file cannot be written.
    InvalidInput
        For another shape.

    Examples
    --------
    >>> write_image("mask.nii.gz", mask, like=image)  # doctest: +SKIP
    """
    path, array = Path(path), np.asarray(array)
    format_ = check_writable(path, like)
    names = () if names is None and array.dtype == bool else names
    image = like.with_array(array)
    if image.array.dtype == np.float16:
        image = image.with_array(image.array.astype(np.float32))
    if bad := count_not_finite(image.array):
        raise CannotWrite(path, f"the array holds {bad} values that are NaN or infinite.")
    if format_.holds == "objects" and (array.dtype.kind not in "bui" or image.colours is not None):
        raise CannotWrite(path, f"{format_.title} holds labels, not {array.dtype}; write .nrrd.")
    if format_.needs_series and headers is None:
        raise CannotWrite(path, "it belongs to a DICOM series, and the image came from none; write .nii.gz.")
    if not path.parent.is_dir():
        raise CannotWrite(path, f"the folder {path.parent} does not exist.")
    draft = path.with_name(f".{secrets.token_hex(8)}{formats.ending_of(path, format_.written)}")
    try:
        draft.open("xb").close()  # says in the system's words why a folder is not writable
        write = resolve_name(format_.writer)
        if format_.holds == "numbers":
            write(draft, image, names)
        else:
            write(draft, image.array, names or [f"object {k + 1}" for k in range(array.max())], image, headers)
        if lasting:
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
        put_in_place(draft, path)
    except FileError as error:
        raise (error.of(path) if error.file == str(draft) else error) from error
    except OSError as error:
        if isinstance(error, BifsegError):
            raise
        raise CannotWrite(path, f"{error.strerror or error}.") from error
    finally:
        draft.unlink(missing_ok=True)


def check_writable(path: Path, image: Image) -> Format:
    """The format that a file name says; CannotWrite where it says none, or one with no room for such an image."""
    format_ = formats.written_as(path)
    if format_ is None:
        raise CannotWrite(path, f"the suffix must be one of {', '.join(formats.written_endings())}.")
    if format_.check:
        resolve_name(format_.check)(path, image)
    return format_


def headers_for(path: Path, scan: str | Path, series: str | None = None) -> bytes | None:
    """The headers of a scan's DICOM series, if ``path`` is to be a file of that; CannotWrite where it is no DICOM."""
    format_ = formats.written_as(path)
    if format_ is None or not format_.needs_series:
        return None
    if not format_of(Path(scan)).series:
        raise CannotWrite(path, f"it belongs to a DICOM series, and {scan} is none; write .nii.gz.")
    from bifseg.io.dicom_seg import headers_of

    return headers_of(scan, series=series)


def format_of(path: Path) -> Format:
    """The format that a file or folder has by its first bytes, or, where these say nothing, by its name.

    Raises FileNotFoundError, and InvalidInput for an empty file and an unknown format.
    """
    if not path.exists():
        raise MissingFile(f"{path} does not exist.")
    if path.is_dir():
        return FORMATS["dicom"]
    with path.open("rb") as file:
        start = file.read(START)
        if not start:
            raise DamagedFile(path, "is empty.")
        packed = start.startswith(MAGIC["gzip"])
        if packed:
            file.seek(0)
            try:
                start = next(unpacking(file, "gzip"), b"")[:START]
            except (zlib.error, EOFError, OSError) as error:
                raise DamagedFile(path, UNPACKED) from error
    format_ = formats.recognised(start) or formats.named(path)
    if packed and (format_ is None or not format_.packable or start.startswith(MAGIC["gzip"])):
        raise UnsupportedFile(path, "is packed by gzip, and what is in it is no NIfTI; unpack it first.")
    if format_ is None and path.name.lower().endswith((".img", ".hdr")):
        raise UnsupportedFile(path, PAIR)
    if format_ is None:
        raise UnsupportedFile(path, f"is damaged, or not an image of a known format: {formats.titles()}.")
    return format_


def _read(path: Path, options: ReadOptions) -> Image:
    return _image(path, _content(path, options), labels=options.labels)


def _content(path: Path, options: ReadOptions) -> Content:
    return resolve_name(format_of(path).reader)(path, options)


def _image(path: Path, content: Content, *, labels: bool) -> Image:
    """What a file holds as an Image: real numbers, all of them finite."""
    array = content.array
    if array.dtype.kind == "c":
        raise UnsupportedFile(path, "holds complex numbers; save their magnitude instead.")
    colours = _colours(array, path, labels=labels) if content.channels > 1 else None
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
            array, content.spacing, content.origin, content.direction, content.planar, content.calibrated,
            content.source, colours,
        )  # fmt: skip
    except ValueError as error:
        raise UnsupportedFile(path, f"is not usable: {error}") from error


def _colours(array: np.ndarray, path: Path, *, labels: bool) -> np.ndarray:
    """Red, green and blue, alpha left out, in the last axis; of ``labels`` all have to be the same."""
    if array.shape[-1] not in (3, 4) or array.dtype not in KINDS:
        raise UnsupportedFile(
            path, f"holds vectors of {array.shape[-1]} {array.dtype}; give one channel, or RGB colours."
        )
    colours = array[..., :3]
    if labels and (colours != colours[..., :1]).any():
        raise DamagedFile(path, "is in colour; a label map has one number per voxel.")
    return colours
