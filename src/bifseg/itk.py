"""SimpleITK, imported when it is first needed, for that takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

READERS = {  # the only reader that a stranger's file may meet: some of ITK's go by content, and follow links in it
    ".nii": "NiftiImageIO", ".nrrd": "NrrdImageIO", ".mha": "MetaImageIO", ".png": "PNGImageIO", ".jpg": "JPEGImageIO",
    ".jpeg": "JPEGImageIO", ".bmp": "BMPImageIO", ".dcm": "GDCMImageIO",
}  # fmt: skip
FORMATS = "NIfTI-1, NRRD, MHA, MHD, PNG (grey or RGB), JPEG, TIFF, BMP, DICOM"


def sitk() -> Any:
    import SimpleITK  # here, for it takes a second

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def reader_of(path: Path | str) -> str:
    """The name of ITK's reader for a file's suffix."""
    return READERS[Path(str(path).lower().removesuffix(".gz")).suffix]


def header_of(path: Path | str, image_io: str) -> Any:
    """One of ITK's readers, ``image_io``, that has read the header of a file."""
    reader = sitk().ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except (RuntimeError, UnicodeDecodeError) as error:  # ITK quotes what it read, be it text or not
        raise ValueError(f"{path} is damaged, or not an image of a known format: {FORMATS}.") from error
    return reader


def declared(names: Sequence[Path | str], image_io: str) -> tuple[tuple[int, ...], int]:
    """The extent and the bytes of a voxel that files of one size have together, by the header of the first.

    ``image_io``: the one of ITK's readers that may look at it.
    """
    reader = header_of(names[0], image_io)
    try:
        itk = sitk().Image([1] * min(3, reader.GetDimension()), reader.GetPixelID(), reader.GetNumberOfComponents())
    except RuntimeError as error:  # of a kind of pixel that there is not
        raise ValueError(f"{names[0]} is damaged, or not an image of a known format: {FORMATS}.") from error
    extent = [int(n) for n in reader.GetSize()]
    if len(names) > 1:  # of slices, each of which may be a volume of one
        extent = [n for n in extent if n > 1] + [len(names)]
    return tuple(extent), itk.GetSizeOfPixelComponent() * reader.GetNumberOfComponents()
