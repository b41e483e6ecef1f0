"""SimpleITK, imported when it is first needed, for that takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

FORMATS = "NIfTI-1, NRRD, MHA, MHD, PNG (grey or RGB), JPEG, TIFF, BMP, DICOM"


def sitk() -> Any:
    import SimpleITK  # here, for it takes a second

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def declared(names: Sequence[Path | str]) -> tuple[tuple[int, ...], int]:
    """The extent and the bytes of a voxel that files of one size have together, by the header of the first."""
    reader = sitk().ImageFileReader()
    reader.SetFileName(str(names[0]))
    try:
        reader.ReadImageInformation()
        itk = sitk().Image([1] * min(3, reader.GetDimension()), reader.GetPixelID(), reader.GetNumberOfComponents())
    except RuntimeError as error:
        raise ValueError(f"{names[0]} is damaged, or not an image of a known format: {FORMATS}.") from error
    extent = [int(n) for n in reader.GetSize()]
    if len(names) > 1:  # of slices, each of which may be a volume of one
        extent = [n for n in extent if n > 1] + [len(names)]
    return tuple(extent), itk.GetSizeOfPixelComponent() * reader.GetNumberOfComponents()
