"""Images in and masks out: every format there is, checked before and after."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bifseg.declared import check_dicom, check_extent, check_single, mapped
from bifseg.image import Image, count_not_finite, slabs
from bifseg.itk import FORMATS, declared, header_of, reader_of, sitk
from bifseg.nifti import NOT_FINITE, arrived, check_head, check_nifti, is_nifti, place_of, proven
from bifseg.series import read_series, unzip

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
SURPLUS = 1 << 20  # bytes that may follow the voxels of a stranger's NIfTI
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R Rec. 601


def read_image(path: str | Path, *, series: str | None = None) -> Image:
    """Read a scan or a mask: NIfTI, NRRD, MHA/MHD, PNG, JPEG, TIFF, BMP, a folder or a zip of DICOM slices.

    The array is in file order (x, y, z) and in the file's own number type; colours become their luminance
    (Rec. 601, rounded; alpha is ignored). A 2D file is one plane and ``planar``. ``series`` picks one of
    several DICOM series by its UID. A constant image is fine here: see ``Image.check_scan``.

    Raises FileNotFoundError, or ValueError for what is no image, is damaged, has several frames or complex,
    vector, NaN or infinite values, is sheared, or is a stack of unevenly placed slices.

    >>> read_image("scan.nii.gz").shape  # doctest: +SKIP
    (512, 512, 120)
    """
    return _read(Path(path), series)


def read_upload(path: str | Path, *, voxels: int, bytes: int, series: str | None = None) -> Image:
    """As `read_image`, of a file from a stranger: a single file (or zip of DICOM) that says itself what it holds.

    Raises ValueError as `read_image`, also for one that refers to other files; TooLargeError (a ValueError) for more
    than ``voxels``, or ``bytes`` unpacked, before memory or disk is used for them.
    """
    check_upload(path, voxels=voxels, bytes=bytes)
    return _read(Path(path), series, allowed=(voxels, bytes))


def check_upload(path: str | Path, *, voxels: int, bytes: int) -> None:
    """Refuse, by its header alone, a stranger's file that refers to others or holds too much; see `read_upload`."""
    path = Path(path)
    if path.is_dir():
        return
    if not path.is_file() or not path.stat().st_size:
        raise ValueError(f"{path} is empty.")
    check_single(path)
    if path.suffix.lower() == ".dcm":
        check_dicom(path, path)
    if path.suffix.lower() != ".zip":
        check_extent(path, *declared([path], reader_of(path)), voxels, bytes)


def read_labels(path: str | Path, like: Image, *, allowed: tuple[int, int] | None = None) -> np.ndarray:
    """Read an integer label map (x, y, z) that lies on the grid of ``like``.

    ``allowed``: voxels and bytes that a file from a stranger may hold, which then is checked as in `read_upload`.

    Raises ValueError where its shape or place differs, or where it holds fractions or colours; else as
    ``read_image``. Where either is a 2D file, only the shapes are compared.
    """
    path = Path(path)
    if allowed:
        check_upload(path, voxels=allowed[0], bytes=allowed[1])
    image = _read(path, grey=True, allowed=allowed)
    if image.shape != like.shape:
        raise ValueError(f"{path} has the shape {image.shape}; the image has {like.shape}.")
    if not (image.planar or like.planar):
        last = np.array(like.shape) - 1
        corners = np.array([(*(np.array(corner) * last), 1) for corner in np.ndindex(2, 2, 2)])
        apart = np.linalg.norm(corners @ (image.affine - like.affine).T, axis=1).max()
        if apart > 0.1 * min(like.spacing):
            raise ValueError(
                f"{path} lies elsewhere: its corners are up to {apart:.3g} mm from the image's; "
                "it needs the same spacing, origin and direction."
            )
    if image.array.dtype.kind != "f":
        return image.array
    for slab in slabs(image.array):
        if not (slab == np.rint(slab)).all():
            raise ValueError(f"{path} holds fractions such as {slab[slab != np.rint(slab)][0]}; labels are integers.")
    return image.array.astype(np.int32)


def write_image(path: str | Path, array: np.ndarray, like: Image) -> None:
    """Write an array (x, y, z) with the geometry of ``like``; an old file is replaced whole or not at all.

    The suffix picks the format: .nii.gz, .nii, .nrrd, .mha or .png. PNG takes one plane; bool, uint8 and
    uint16 keep their values (bool 0 and 1), floats in [0, 1] become 0 to 255. Planar images become 2D files.

    Raises ValueError for what the format cannot hold, OSError where the file cannot be written.

    >>> write_image("mask.nii.gz", mask, like=image)  # doctest: +SKIP
    """
    path = Path(path)
    suffix = next((s for s in WRITABLE if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise ValueError(f"Cannot write {path}: the suffix must be one of {', '.join(WRITABLE)}.")
    image = like.with_array(np.asarray(array))
    if image.array.dtype == np.float16:
        image = image.with_array(image.array.astype(np.float32))
    if bad := count_not_finite(image.array):
        raise ValueError(f"Cannot write {path}: the array holds {bad} values that are NaN or infinite.")
    if suffix == ".png":
        image = _for_png(image, path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Cannot write {path}: the folder {path.parent} does not exist.")
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        temporary.open("xb").close()  # says in the system's words why a folder is not writable
        _write(temporary, image)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, image: Image) -> None:
    """Write, flush to the disk and read back: on a full disk ITK cuts a NIfTI short without a word."""
    # A 2D header has no room for a plane that stands obliquely in space: such a plane stays a thin volume.
    flat = image.planar and np.allclose(image.direction[2], (0, 0, 1)) and image.origin[2] == 0
    axes = 2 if flat or path.suffix == ".png" else 3
    itk = sitk().GetImageFromArray(image.array[..., 0].T if axes == 2 else image.array.T)
    itk.SetSpacing(image.spacing[:axes])
    itk.SetOrigin(image.origin[:axes])
    if path.suffix != ".png":
        itk.SetDirection(image.direction[:axes, :axes].ravel().tolist())
    try:
        sitk().WriteImage(itk, str(path), True)
        del itk  # its copy of the pixels, before they are read back
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        whole = arrived(path, image.array) if is_nifti(path) else np.array_equal(_read(path).array, image.array)
    except (RuntimeError, ValueError, EOFError):
        whole = False
    if not whole:
        raise OSError("the file did not arrive whole; the disk may be full")


def _for_png(image: Image, path: Path) -> Image:
    array = image.array
    if image.shape[2] != 1:
        raise ValueError(f"Cannot write {path}: PNG holds one plane, and the array has the shape {image.shape}.")
    if array.dtype.kind == "f":
        if array.min() < 0 or array.max() > 1:
            raise ValueError(f"Cannot write {path}: floats in a PNG must lie in [0, 1] (to become 0 to 255).")
        return image.with_array(np.rint(array * 255).astype(np.uint8))
    if array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"Cannot write {path}: PNG holds uint8, uint16 or floats in [0, 1], not {array.dtype}.")
    return image


def _read(
    path: Path, series: str | None = None, *, grey: bool = False, allowed: tuple[int, int] | None = None
) -> Image:
    """``allowed``: voxels and bytes that a stranger's file may hold."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if path.is_dir():
        return _image(read_series(path, path, series, allowed), path, grey=grey)
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty.")
    if path.suffix.lower() == ".zip":
        with TemporaryDirectory() as folder:
            unzip(path, Path(folder), allowed[1] if allowed else None)
            return _image(read_series(Path(folder), path, series, allowed), path, grey=grey)
    if is_nifti(path):
        return _read_nifti(path, SURPLUS if allowed else None, grey=grey)
    _check_end(path)
    return _image(_by_itk(path, reader_of(path) if allowed else ""), path, grey=grey)


def _by_itk(path: Path, image_io: str) -> Any:
    try:
        return sitk().ReadImage(str(path), imageIO=image_io)
    except (RuntimeError, UnicodeDecodeError) as error:  # ITK quotes what it read, be it text or not
        raise ValueError(f"{path} is damaged, or not an image of a known format: {FORMATS}.") from error


def _read_nifti(path: Path, surplus: int | None, *, grey: bool) -> Image:
    """Voxels that lie in the file as they are we read ourselves; ITK says where they lie."""
    head = check_head(path, surplus=surplus)
    if path.name.lower().endswith(".gz"):
        try:
            itk = _by_itk(path, reader_of(path))
        except ValueError:
            check_nifti(path, head, surplus=surplus)  # its error says more
            raise
        if not proven(path, head, np.asarray(_Pixels(itk))):
            check_nifti(path, head, surplus=surplus)
        return _image(itk, path, place_of(path, head.header), grey=grey)
    voxels = check_nifti(path, head, surplus=surplus)
    place = place_of(path, head.header)
    if voxels is not None:
        reader = header_of(path, reader_of(path))
        if reader.GetNumberOfComponents() == 1 and np.prod(reader.GetSize()) == voxels.size:
            return _image(reader, path, place, array=voxels.reshape(reader.GetSize()[::-1]))
    return _image(_by_itk(path, reader_of(path)), path, place, grey=grey)


class _Pixels:
    """The pixels of an ITK image as NumPy sees them; keeps the image alive, as SimpleITK's views do not."""

    def __init__(self, itk: Any) -> None:
        self.itk = itk
        self.__array_interface__ = sitk().GetArrayViewFromImage(itk).__array_interface__


def _image(
    itk: Any, path: Path, place: dict | None = None, *, grey: bool = False, array: np.ndarray | None = None
) -> Image:
    """The Image of an ITK image; ``place`` overrides its spacing, origin and direction.

    ``array``: the pixels (z, y, x), where ``itk`` is a reader that has seen the header alone.
    """
    axes = itk.GetDimension()
    if any(n > 1 for n in itk.GetSize()[3:]):
        raise ValueError(f"{path} has {axes} axes, {itk.GetSize()}; give one frame of it, a 2D or 3D image.")
    if array is None:
        array = _pixels(itk, path, grey=grey)
        if bad := count_not_finite(array):
            raise ValueError(NOT_FINITE.format(path=path, bad=bad))
    array = array.T if axes < 4 else array.reshape(array.shape[-3:]).T
    direction = np.eye(3)
    inner = min(axes, 3)
    direction[:inner, :inner] = np.reshape(itk.GetDirection(), (axes, axes))[:inner, :inner]
    geometry = {
        "spacing": (*itk.GetSpacing(), 1.0)[:3],
        "origin": (*itk.GetOrigin(), 0.0)[:3],
        "direction": direction,
    }
    try:
        return Image(array, **(geometry | (place or {})), planar=axes == 2)
    except ValueError as error:
        raise ValueError(f"{path} is not usable: {error}") from error


def _pixels(itk: Any, path: Path, *, grey: bool) -> np.ndarray:
    """The pixels of an ITK image, last axis first; colours as their luminance."""
    if "complex" in itk.GetPixelIDTypeAsString():
        raise ValueError(f"{path} holds complex numbers; save their magnitude instead.")
    array = np.asarray(_Pixels(itk))
    return _luminance(array, path, grey=grey) if itk.GetNumberOfComponentsPerPixel() > 1 else array


def _luminance(array: np.ndarray, path: Path, *, grey: bool) -> np.ndarray:
    """RGB or RGBA in the last axis to grey, of the same type."""
    if array.shape[-1] not in (3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} holds vectors of {array.shape[-1]} {array.dtype}; give one channel, or RGB colours.")
    colours = array[..., :3]
    if grey and (colours != colours[..., :1]).any():
        raise ValueError(f"{path} is in colour; a label map has one number per voxel.")
    return np.rint(colours @ LUMINANCE).astype(array.dtype)


def _check_end(path: Path) -> None:
    """Refuse a truncated picture that ITK would fill up silently."""
    name = path.name.lower()
    if name.endswith(".bmp"):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(6)[2:], "little")
        whole = size <= path.stat().st_size
    elif name.endswith((".jpg", ".jpeg")):
        with mapped(path) as data:
            # In the entropy-coded data after the last "start of scan", FF D9 can only be the end of the image.
            whole = data.find(b"\xff\xd9", max(0, data.rfind(b"\xff\xda"))) >= 0
    else:
        return
    if not whole:
        raise ValueError(f"{path} is truncated: the end of the image is missing.")
