"""Every file format, an entry each: how it is recognised, what reads and writes it, and what it can hold.

A format is a module here and one entry of `FORMATS`. Whoever lists formats, the command line, the server, the page and
docs, asks this table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np

OCTETS = "application/octet-stream"


class Room(Protocol):
    """What makes an array in C order, of a shape, (z, y, x) or with colours, and a number type."""

    def __call__(self, shape: tuple[int, ...], dtype: np.dtype, /) -> np.ndarray: ...


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read.

    ``series``: UID, number or description of one of several DICOM series. ``allowed``: voxels, and bytes unpacked, that
    a stranger's file may hold, which then may not refer to other files. ``labels``: numbers are wanted, not the colours
    that they stand for. ``headers``: those of a DICOM series are wanted, too, as `bifseg.io.dicom_headers` packs them.
    ``room``: makes the array that a volume of many files is put into, where it is not any memory.
    """

    series: str | None = None
    allowed: tuple[int, int] | None = None
    labels: bool = False
    headers: bool = False
    room: Room | None = None


@dataclass(frozen=True)
class Format:
    """One entry. Functions are named ``module:function``, and imported when they are first called.

    Parameters
    ----------
    title : str
        What people call it.
    endings : tuple of str
        Endings of the names of files that are read, in small letters, with the point.
    signature : str
        ``(start: bytes) -> bool``: whether a file that begins so is one; ``start`` are its first 540 bytes, unpacked.
    reader : str
        ``(path: Path, options: ReadOptions) -> bifseg.io.voxels.Content``.
    detached : tuple of str
        Endings of files whose voxels lie in other files: they cannot be uploaded.
    series : bool
        Whether files that are read belong to a DICOM series, whose headers are kept.
    written : mapping of str to str
        Endings that are written, the usual one first, and their media types.
    writer : str
        Of numbers: ``(path: Path, image: Image, names: Sequence[str] | None)``, ``names``: of the labels 1, 2..., None
        where the image holds no labels. Of objects: ``(path, labels: ndarray, names, image, headers: bytes | None)``,
        ``headers``: of the image's DICOM series.
    holds : {"numbers", "objects"}
        What is written: any array, or labels alone.
    check : str
        ``(path: Path, image: Image)``: raises CannotWrite for an image of which nothing can be written, before the
        work is done.
    axes : tuple of int
        Of images that can be written.
    needs_series : bool
        Whether it is written for images alone that came as a DICOM series.
    extra : str
        ``pip install "bifseg[extra]"``.
    refused : mapping of str to str
        What of its whole files is refused: a short name for it, and what that is.
    help : str
        What it is good for, as the page says it to who exports; empty: the page does not offer it.
    """

    title: str
    endings: tuple[str, ...] = ()
    signature: str = ""
    reader: str = ""
    detached: tuple[str, ...] = ()
    series: bool = False
    written: Mapping[str, str] = field(default_factory=dict)
    writer: str = ""
    holds: Literal["numbers", "objects"] = "numbers"
    check: str = ""
    axes: tuple[int, ...] = (2, 3)
    needs_series: bool = False
    extra: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)
    help: str = ""

    @property
    def packable(self) -> bool:
        """Whether it is read packed by gzip as a whole."""
        return any(ending.endswith(".gz") for ending in self.endings)


NAN = {"nan": "numbers that are NaN or infinite"}
SHEAR = {"shear": "axes that are not at right angles, by more than a thousandth"}
FRAMES = {"frames": "several times, frames or layers"}
VECTORS = {"vectors": "vectors that are no colours of 8 or 16 bits"}
COMPLEX = {"complex": "complex numbers"}
SLICES = {
    "film": "frames that do not say where each lies, as films of ultrasound",
    "phases": "slices at the same places, as several times, phases or echoes have",
    "uneven": "slices that are unevenly apart, also where one is missing, or shifted, as by a tilted gantry",
    "differing": "slices that differ in size, orientation, pixel spacing or kind, or of which some lack the rescaling",
    "instances": "different slices with one SOPInstanceUID",
    "mosaic": "mosaics of Siemens, all slices in one picture",
    "placeless": "several slices that lack position, orientation or pixel spacing",
    "bits": "pixels of other than 8, 16 or 32 bits, so also DICOM-SEG, and colours of 32",
    "table": "numbers that are mapped by a table (Modality LUT Sequence)",
    "packed": "transfer syntaxes other than uncompressed, RLE, JPEG, JPEG-LS and JPEG 2000: deflated, HTJ2K, MPEG...",
    "others": "what is no image: DICOMDIR, reports, plans, structure sets, waveforms",
}

FORMATS: dict[str, Format] = {  # recognised in this order; what stands before DICOM in its files may be a TIFF
    "dicom": Format(
        "DICOM", (".dcm", ".ima"), "bifseg.io.dicom_file:is_dicom", "bifseg.io.dicom_series:read_dicom", series=True,
        refused=SLICES,
    ),
    "zip": Format(
        "zip of DICOM", (".zip",), "bifseg.io.archive:is_zip", "bifseg.io.dicom_series:read_zip", series=True,
        refused={"slices": "what is refused of DICOM", "content": "zips without slices of one series"},
    ),
    "nifti": Format(
        "NIfTI", (".nii.gz", ".nii"), "bifseg.io.nifti:is_nifti", "bifseg.io.nifti:read_nifti",
        written={".nii.gz": "application/gzip", ".nii": OCTETS}, writer="bifseg.io.nifti:write_nifti",
        check="bifseg.io.nifti:check_axes",
        refused={
            **NAN, **SHEAR, **FRAMES, **COMPLEX,
            "vectors": "vectors but RGB24 and RGBA32, and numbers of 1 or 128 bits",
            "pair": "images in two files, .hdr and .img, so also Analyze 7.5",
        },
        help="All objects as labels on the voxels of the scan; most programs read it.",
    ),
    "nrrd": Format(
        "NRRD", (".nrrd", ".nhdr"), "bifseg.io.nrrd:is_nrrd", "bifseg.io.nrrd:read_nrrd", (".nhdr",),
        written={".nrrd": OCTETS}, writer="bifseg.io.nrrd:write_nrrd", help="The same, without names.",
        refused={**NAN, **SHEAR, **FRAMES, **VECTORS, "text": "voxels as text or in hexadecimal digits",
                 "units": "axes in different units, or of which some spacings alone are known"},
    ),
    "slicer": Format(
        "3D Slicer segmentation", written={".seg.nrrd": OCTETS}, writer="bifseg.io.slicer:write_segmentation",
        holds="objects", help="The same with names and colours, as 3D Slicer likes it.",
    ),
    "metaimage": Format(
        "MHA", (".mha", ".mhd"), "bifseg.io.metaimage:is_metaimage", "bifseg.io.metaimage:read_metaimage", (".mhd",),
        written={".mha": OCTETS}, writer="bifseg.io.metaimage:write_metaimage",
        refused={**NAN, **SHEAR, **FRAMES, **VECTORS, "text": "voxels as text", "spacing": "negative spacing"},
        help="The same, as ITK and MITK like it.",
    ),
    "png": Format(
        "PNG", (".png",), "bifseg.io.pictures:is_png", "bifseg.io.pictures:read_picture",
        written={".png": "image/png"}, writer="bifseg.io.pictures:write_png", check="bifseg.io.pictures:check_plane",
        refused={"animation": "several pictures, as an animation has", "alpha": "grey with alpha of 16 bits"},
        axes=(2,), help="Labels of a picture, a colour for each; their numbers are its indices.",
    ),
    "jpeg": Format(
        "JPEG", (".jpg", ".jpeg"), "bifseg.io.pictures:is_jpeg", "bifseg.io.pictures:read_picture",
        refused={"scans": "more than 100 scans"},
    ),
    "bmp": Format(
        "BMP", (".bmp",), "bifseg.io.pictures:is_bmp", "bifseg.io.pictures:read_picture",
        refused={"packed": "packed pixels"},
    ),
    "tiff": Format(
        "TIFF", (".tif", ".tiff"), "bifseg.io.tiff:is_tiff", "bifseg.io.tiff:read_tiff", extra="tiff",
        refused={
            **NAN, **VECTORS, **COMPLEX, "channels": "several channels or times",
            "pictures": "pictures of several sizes",
            "colours": "colours but red, green and blue, and palettes", "turned": "planes that are turned differently",
            "packed": "compressions but deflate, PackBits and LZW",
        },
    ),
    "dicom_seg": Format(
        "DICOM-SEG", written=dict.fromkeys((".seg.dcm", ".dcm"), "application/dicom"),
        writer="bifseg.io.dicom_seg:write_dicom_seg", holds="objects", needs_series=True, extra="dicom",
        help="The same for the archive, with the patient and series of the scan.",
    ),
    "rtstruct": Format(
        "RTSTRUCT", written={".rtstruct.dcm": "application/dicom"}, writer="bifseg.io.rtstruct:write_rtstruct",
        holds="objects", needs_series=True, extra="dicom",
        help="Outlines in the slices, for planning of radiotherapy.",
    ),
    "stl": Format(
        "STL", written={".stl": "model/stl"}, writer="bifseg.io.stl:write_stl", holds="objects",
        check="bifseg.io.stl:check_surface", axes=(3,), extra="mesh",
        help="Surfaces of all objects in millimetres, for printers.",
    ),
}  # fmt: skip


def titles() -> str:
    """What is read, as a sentence lists it."""
    return ", ".join(format_.title for format_ in FORMATS.values() if format_.reader)


def read_endings() -> tuple[str, ...]:
    """Of the names of all files that are read."""
    return tuple(ending for format_ in FORMATS.values() for ending in format_.endings)


def upload_endings() -> tuple[str, ...]:
    """Of the names of files that hold all that belongs to them."""
    return tuple(ending for format_ in FORMATS.values() for ending in format_.endings if ending not in format_.detached)


def written_endings(*holds: str) -> tuple[str, ...]:
    """Of the names of all files that are written, or of those alone that hold "numbers", or "objects"."""
    formats = (format_ for format_ in FORMATS.values() if not holds or format_.holds in holds)
    return tuple(ending for format_ in formats for ending in format_.written)


def ending_of(name: str | Path, endings: Iterable[str]) -> str | None:
    """The longest of some endings that a file's name has, None where it has none of them."""
    name = Path(name).name.lower()
    return max((ending for ending in endings if name.endswith(ending)), key=len, default=None)


def written_as(name: str | Path) -> Format | None:
    """The format that a file of a name is written in; None where there is none."""
    ending = ending_of(name, written_endings())
    return next((format_ for format_ in FORMATS.values() if ending in format_.written), None)


def named(name: str | Path) -> Format | None:
    """The format of a file that is read, as its name says; None where that says none."""
    ending = ending_of(name, read_endings())
    return next((format_ for format_ in FORMATS.values() if ending in format_.endings), None)


def recognised(start: bytes) -> Format | None:
    """The format of a file that begins so, unpacked; None where that is none's."""
    for format_ in FORMATS.values():
        if format_.signature and resolve_name(format_.signature)(start):
            return format_
    return None
