"""The frames of a DICOM file: where each lies, and how its numbers are scaled."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, UnsupportedFile
from bifseg.io.dicom_file import DicomFile

Numbers = tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of a file. ``position``: mm, LPS; ``orientation``: of its rows and columns, six numbers; ``spacing``:
    mm along x and y; ``thickness``: mm; each None where the file does not tell."""

    file: DicomFile
    index: int
    position: Numbers | None
    orientation: Numbers | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    scaled: bool  # whether the file tells them


def frames_of(file: DicomFile) -> list[Frame]:
    """A file's planes as they are stored; InvalidInput where several do not say where each lies."""
    try:
        return list(_frames(file))
    except (TypeError, AttributeError, IndexError, KeyError, OverflowError) as error:
        raise DamagedFile(file.name, "is damaged: its header holds values that are none.") from error


def _frames(file: DicomFile) -> Iterator[Frame]:
    header = file.header
    if header.get("ModalityLUTSequence") and not file.coloured:
        raise UnsupportedFile(file.name, "maps its numbers by a table (Modality LUT), which is not read.")
    if "MOSAIC" in (header.get("ImageType") or ()):
        raise UnsupportedFile(
            file.name, "is a mosaic, all slices of a volume in one picture, as scanners of Siemens save some; "
            "convert it to NIfTI first, with dcm2niix for example.",
        )  # fmt: skip
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if file.count > 1 and groups and len(groups) != file.count:
        raise DamagedFile(file.name, f"is damaged: it describes {len(groups)} of its {file.count} frames.")
    offsets = header.get("GridFrameOffsetVector")
    for k in range(file.count):
        sources = [group for group in (groups[k] if groups else None, shared) if group is not None]

        def value(sequence: str, keyword: str, sources: list[Any] = sources) -> Any:
            for group in sources:
                items = group.get(sequence)
                if items and items[0].get(keyword) not in (None, ""):
                    return items[0].get(keyword)
            return header.get(keyword)

        position = numbers_of(file, value("PlanePositionSequence", "ImagePositionPatient"), 3)
        orientation = numbers_of(file, value("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        if file.count > 1 and not groups:
            if offsets is None or position is None or orientation is None or len(offsets) != file.count:
                raise UnsupportedFile(
                    file.name,
                    f"has {file.count} frames and does not say where each lies, as a film; give one frame of it.",
                )
            normal = np.cross(orientation[:3], orientation[3:])
            height = _number(file, offsets[k], 0.0) - _number(file, offsets[0], 0.0)
            position = tuple((np.array(position) + height * normal).tolist())
        spacing = numbers_of(file, value("PixelMeasuresSequence", "PixelSpacing"), 2)
        thickness = value("PixelMeasuresSequence", "SpacingBetweenSlices") or value(
            "PixelMeasuresSequence", "SliceThickness"
        )
        slope = value("PixelValueTransformationSequence", "RescaleSlope")
        intercept = value("PixelValueTransformationSequence", "RescaleIntercept")
        if header.get("Modality") == "RTDOSE":
            slope, intercept = header.get("DoseGridScaling"), 0
        if slope not in (None, "") and _number(file, slope, 1.0) == 0:
            raise DamagedFile(file.name, "is damaged: it scales its numbers by 0.")
        yield Frame(
            file, k, position, orientation, None if spacing is None else (spacing[1], spacing[0]),
            abs(_number(file, thickness, 0.0)) or None, _number(file, slope, 1.0), _number(file, intercept, 0.0),
            scaled=slope not in (None, "") or intercept not in (None, ""),
        )  # fmt: skip


def numbers_of(file: DicomFile, value: Any, count: int) -> Numbers | None:
    """The numbers of a header's element, None where it holds none; InvalidInput where they are not ``count``."""
    if value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0):
        return None
    try:
        numbers = tuple(float(one) for one in value)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise DamagedFile(file.name, f"is damaged: its header holds {str(value)[:60]!r} where {count} numbers belong.")
    return numbers


def _number(file: DicomFile, value: Any, default: float) -> float:
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DamagedFile(file.name, f"is damaged: its header holds {str(value)[:60]!r} where a number belongs.")
    return number
