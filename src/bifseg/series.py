"""A DICOM series: which files it is made of, in which order, and whether they form one straight stack."""

from __future__ import annotations

import errno
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.declared import TooLargeError, check_dicom, check_extent, check_listing, is_dicom
from bifseg.itk import READERS, declared, sitk

ZIP_BYTES = 4 << 30
ZIP_FILES = 20_000


def read_series(folder: Path, path: Path, series: str | None, allowed: tuple[int, int] | None = None) -> Any:
    """The ITK image of the one DICOM series in a folder, or of the one asked for."""
    names = series_files(folder, path, series)
    if allowed:
        check_extent(path, *declared(names, READERS[".dcm"]), *allowed)
    reader = sitk().ImageSeriesReader()
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
    found = sitk().ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not found:
        raise ValueError(f"{path} holds no DICOM images; give the folder that holds the slices of one series.")
    files = {uid: sitk().ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in found}
    if series not in files and (series is not None or len(files) > 1):
        sizes = ", ".join(f"{uid} ({_extent(names)})" for uid, names in files.items())
        asked = f"not {series}" if series is not None else "several"
        raise ValueError(f"{path} holds {asked} DICOM series; pick one with series=UID: {sizes}.")
    return files[series or found[0]]


def _extent(names: tuple[str, ...]) -> str:
    """The size of a DICOM series in words, from the header of its first file."""
    reader = sitk().ImageFileReader()
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


def unzip(path: Path, folder: Path, limit: int | None = None) -> None:
    """Unpack into one flat folder under names of our own: no name in the archive can lead elsewhere."""
    limit = ZIP_BYTES if limit is None else limit
    check_listing(path, ZIP_FILES)
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
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{path} cannot be unpacked: {str(error).rstrip('.')}.") from error
