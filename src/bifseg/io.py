"""Images in and masks out: the only module that knows files, and the only importer of SimpleITK."""

from __future__ import annotations

import errno
import os
import secrets
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bifseg.declared import TooLargeError, check_dicom, check_extent, check_single, is_dicom
from bifseg.image import Image, count_not_finite, slabs
from bifseg.nifti import NOT_FINITE, arrived, check_nifti, is_nifti

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
FORMATS = "NIfTI-1, NRRD, MHA, MHD, PNG (grey or RGB), JPEG, TIFF, BMP, DICOM"
ZIP_BYTES = 4 << 30
ZIP_FILES = 20_000
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
        check_extent(path, *_declared([path]), voxels, bytes)


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
    sitk = _sitk()
    # A 2D header has no room for a plane that stands obliquely in space: such a plane stays a thin volume.
    flat = image.planar and np.allclose(image.direction[2], (0, 0, 1)) and image.origin[2] == 0
    axes = 2 if flat or path.suffix == ".png" else 3
    itk = sitk.GetImageFromArray(image.array[..., 0].T if axes == 2 else image.array.T)
    itk.SetSpacing(image.spacing[:axes])
    itk.SetOrigin(image.origin[:axes])
    if path.suffix != ".png":
        itk.SetDirection(image.direction[:axes, :axes].ravel().tolist())
    try:
        sitk.WriteImage(itk, str(path), True)
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
        return _image(_read_dicom(path, path, series, allowed), path, grey=grey)
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty.")
    if path.suffix.lower() == ".zip":
        with TemporaryDirectory() as folder:
            unzip(path, Path(folder), allowed[1] if allowed else ZIP_BYTES)
            return _image(_read_dicom(Path(folder), path, series, allowed), path, grey=grey)
    place = _check_header(path, surplus=SURPLUS if allowed else None)
    try:
        itk = _sitk().ReadImage(str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} is damaged, or not an image of a known format: {FORMATS}.") from error
    return _image(itk, path, place, grey=grey)


class _Pixels:
    """The pixels of an ITK image as NumPy sees them; keeps the image alive, as SimpleITK's views do not."""

    def __init__(self, itk: Any) -> None:
        self.itk = itk
        self.__array_interface__ = _sitk().GetArrayViewFromImage(itk).__array_interface__


def _image(itk: Any, path: Path, place: dict | None = None, *, grey: bool = False) -> Image:
    """The Image of an ITK image; ``place`` overrides its spacing, origin and direction."""
    axes = itk.GetDimension()
    if any(n > 1 for n in itk.GetSize()[3:]):
        raise ValueError(f"{path} has {axes} axes, {itk.GetSize()}; give one frame of it, a 2D or 3D image.")
    if "complex" in itk.GetPixelIDTypeAsString():
        raise ValueError(f"{path} holds complex numbers; save their magnitude instead.")
    array = np.asarray(_Pixels(itk))
    if itk.GetNumberOfComponentsPerPixel() > 1:
        array = _luminance(array, path, grey=grey)
    array = array.T if axes < 4 else array.reshape(array.shape[-3:]).T
    if bad := count_not_finite(array):
        raise ValueError(NOT_FINITE.format(path=path, bad=bad))
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


def _luminance(array: np.ndarray, path: Path, *, grey: bool) -> np.ndarray:
    """RGB or RGBA in the last axis to grey, of the same type."""
    if array.shape[-1] not in (3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"{path} holds vectors of {array.shape[-1]} {array.dtype}; give one channel, or RGB colours.")
    colours = array[..., :3]
    if grey and (colours != colours[..., :1]).any():
        raise ValueError(f"{path} is in colour; a label map has one number per voxel.")
    return np.rint(colours @ LUMINANCE).astype(array.dtype)


def _declared(names: Sequence[Path | str]) -> tuple[tuple[int, ...], int]:
    """The extent and the bytes of a voxel that files of one size have together, by the header of the first."""
    reader = _sitk().ImageFileReader()
    reader.SetFileName(str(names[0]))
    try:
        reader.ReadImageInformation()
        itk = _sitk().Image([1] * min(3, reader.GetDimension()), reader.GetPixelID(), reader.GetNumberOfComponents())
    except RuntimeError as error:
        raise ValueError(f"{names[0]} is damaged, or not an image of a known format: {FORMATS}.") from error
    extent = [int(n) for n in reader.GetSize()]
    if len(names) > 1:  # of slices, each of which may be a volume of one
        extent = [n for n in extent if n > 1] + [len(names)]
    return tuple(extent), itk.GetSizeOfPixelComponent() * reader.GetNumberOfComponents()


def _check_header(path: Path, surplus: int | None) -> dict | None:
    """Refuse a damaged file that ITK would fill up silently; return the place that a NIfTI's sform gives."""
    name = path.name.lower()
    if is_nifti(path):
        return check_nifti(path, surplus=surplus)
    if name.endswith(".bmp"):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(6)[2:], "little")
        whole = size <= path.stat().st_size
    elif name.endswith((".jpg", ".jpeg")):
        data = path.read_bytes()
        # In the entropy-coded data after the last "start of scan", FF D9 can only be the end of the image.
        whole = b"\xff\xd9" in data[data.rfind(b"\xff\xda") :]
    else:
        return None
    if not whole:
        raise ValueError(f"{path} is truncated: the end of the image is missing.")
    return None


def _read_dicom(folder: Path, path: Path, series: str | None, allowed: tuple[int, int] | None = None) -> Any:
    """The ITK image of the one DICOM series in a folder, or of the one asked for."""
    sitk, names = _sitk(), series_files(folder, path, series)
    if allowed:
        check_extent(path, *_declared(names), *allowed)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()
    try:
        itk = reader.Execute()
    except RuntimeError as error:
        raise ValueError(f"The DICOM series in {path} is damaged, or its slices differ in size.") from error
    _check_stack(reader, itk, path)
    return itk


def series_files(folder: Path, path: Path, series: str | None = None) -> tuple[str, ...]:
    """The files of the one DICOM series in a folder, or of the one asked for, in the order of their slices.

    Errors speak of ``path``. Raises ValueError where there is none, or several and none was asked for.
    """
    sitk = _sitk()
    found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not found:
        raise ValueError(f"{path} holds no DICOM images; give the folder that holds the slices of one series.")
    files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in found}
    if series not in files and (series is not None or len(files) > 1):
        sizes = ", ".join(f"{uid} ({_extent(names)})" for uid, names in files.items())
        asked = f"not {series}" if series is not None else "several"
        raise ValueError(f"{path} holds {asked} DICOM series; pick one with series=UID: {sizes}.")
    return files[series or found[0]]


def _extent(names: tuple[str, ...]) -> str:
    """The size of a DICOM series in words, from the header of its first file."""
    reader = _sitk().ImageFileReader()
    reader.SetFileName(names[0])
    reader.ReadImageInformation()
    columns, rows, frames = (*reader.GetSize(), 1)[:3]
    return f"{columns} x {rows} x {len(names) * frames}"


def _check_stack(reader: Any, itk: Any, path: Path) -> None:
    """Refuse slices that are unevenly placed: ITK would stack them evenly, at right angles, all the same."""
    key = "0020|0032"  # Image Position (Patient)
    if itk.GetDimension() != 3 or len(reader.GetFileNames()) < 2:
        return
    count = itk.GetSize()[2]
    if count != len(reader.GetFileNames()) or not all(reader.HasMetaDataKey(k, key) for k in range(count)):
        return
    for k in range(count):
        position = np.array(reader.GetMetaData(k, key).split("\\"), dtype=float)
        apart = np.linalg.norm(position - itk.TransformIndexToPhysicalPoint((0, 0, k)))
        if apart > 0.25 * min(itk.GetSpacing()):
            raise ValueError(
                f"The DICOM slices in {path} form no even, straight stack: slice {k} lies {apart:.3g} mm "
                "off; one may be missing, or the gantry was tilted."
            )


def unzip(path: Path, folder: Path, limit: int = ZIP_BYTES) -> None:
    """Unpack into one flat folder under names of our own: no name in the archive can lead elsewhere."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            size = sum(member.file_size for member in members)
            if len(members) > ZIP_FILES or size > limit:
                raise TooLargeError(
                    f"{path} unpacks to {len(members)} files of {size / 2**30:.2g} GiB in all; "
                    f"at most {ZIP_FILES} files and {limit / 2**30:.3g} GiB are allowed."
                )
            for number, member in enumerate(members):
                # zipfile never yields more than the declared size, so the sum above is a bound.
                slice = folder / f"{number:05}.dcm"
                with archive.open(member) as source, slice.open("wb") as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
                if is_dicom(slice):
                    check_dicom(slice, path)
                else:
                    slice.unlink()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"{path} cannot be unpacked: it is damaged.") from error  # it points before its beginning
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be unpacked: {str(error).rstrip('.')}.") from error


def _sitk() -> Any:
    import SimpleITK  # here, for it takes a second

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK
