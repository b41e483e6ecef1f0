"""DICOM RTSTRUCT: the outlines of objects in the slices of their series, for radiotherapy planning."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput, MissingExtra
from bifseg.imaging.image import Image
from bifseg.io.atomic import write_atomically
from bifseg.io.dicom_seg import called, frames_in_order, sources_of
from bifseg.io.pictures import COLOURS
from bifseg.loading import version

NEEDED = 'RTSTRUCT needs scikit-image, which is not installed: pip install "bifseg[dicom]"'
STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # which the standard has retired, and readers expect
PATIENT = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip


def write_rtstruct(path: str | Path, labels: np.ndarray, names: Sequence[str], image: Image, headers: bytes) -> None:
    """Write the outlines of a label map as a DICOM RT Structure Set of the series that it was drawn on; atomic.

    ``labels``: integers (x, y, z), k is the k-th of ``names``. ``image``: the scan, read from the series; ``headers``:
    of `bifseg.io.dicom_seg.headers_of`. Outlines run halfway between the centres of pixels inside and outside; holes
    are joined to what surrounds them by a channel of no width, as the standard has it.

    Raises InvalidInput where there is nothing in the labels, or they do not fit the series; MissingExtra where
    scikit-image is missing.
    """
    from scipy import ndimage  # here, for who writes no outlines need not wait for it

    labels = np.asarray(labels)
    slices = _slices(headers, image)
    boxes = ndimage.find_objects(labels.astype(np.int32, copy=False))
    if labels.shape != image.shape or len(slices) != image.shape[2]:
        raise InvalidInput(
            f"The labels have the shape {labels.shape}, the image {image.shape}; the series has {len(slices)} slices."
        )
    if not any(boxes) or len(boxes) > len(names):
        raise InvalidInput("There is nothing to write: the labels are empty, or hold numbers that have no name.")
    structures = _structure_set(slices)
    for number, name in enumerate(names, start=1):
        box = boxes[number - 1] if number <= len(boxes) else None
        contours = [] if box is None else list(_contours(labels[box] == number, [s.start for s in box], image, slices))
        _add(structures, number, called(name) or f"object {number}", contours)
    content = io.BytesIO()
    structures.save_as(content, enforce_file_format=True)
    write_atomically(Path(path), content.getvalue())


def _slices(headers: bytes, image: Image) -> list[tuple[Any, int | None]]:
    """The header that belongs to each slice, and the number of the frame in it, where it has several."""
    sources = sources_of(headers, image.spacing[2])
    if len(sources) == 1 and int(sources[0].get("NumberOfFrames") or 1) > 1:
        return [(sources[0], index + 1) for index in frames_in_order(headers)]
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        if not sources[0].get(keyword):
            raise InvalidInput(f"The series cannot carry outlines: its headers lack {keyword}.")
    return [(source, None) for source in sources]


def _structure_set(slices: Sequence[tuple[Any, int | None]]) -> Any:
    """All but the objects."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    first, now = slices[0][0], datetime.now()
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # explicit ones have no room for long outlines
    made.SpecificCharacterSet = "ISO_IR 192"
    for keyword in PATIENT:
        setattr(made, keyword, first.get(keyword, ""))
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.Modality = generate_uid(), "RTSTRUCT"
    made.SeriesNumber, made.InstanceNumber = int(first.get("SeriesNumber") or 0) + 2000, 1
    made.SeriesDescription = "Contours (bifseg)"
    made.Manufacturer = made.ManufacturerModelName = "bifseg"
    made.SoftwareVersions, made.OperatorsName = version("bifseg"), ""
    made.StructureSetLabel, made.ApprovalStatus = "bifseg", "UNAPPROVED"
    made.StructureSetDate, made.StructureSetTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.InstanceCreationDate, made.InstanceCreationTime = made.StructureSetDate, made.StructureSetTime
    series = _item(
        SeriesInstanceUID=first.SeriesInstanceUID,
        ContourImageSequence=[_reference(source) for source in {id(source): source for source, _ in slices}.values()],
    )
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS, ReferencedSOPInstanceUID=first.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )  # fmt: skip
    made.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=first.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    ]
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    return made


def _add(structures: Any, number: int, name: str, contours: list[Any]) -> None:
    frame = structures.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    structures.StructureSetROISequence.append(
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame,
            ROIName=name,
            ROIGenerationAlgorithm="SEMIAUTOMATIC",
        )
    )
    for k, contour in enumerate(contours, start=1):
        contour.ContourNumber = k
    structures.ROIContourSequence.append(
        _item(
            ReferencedROINumber=number,
            ROIDisplayColor=list(COLOURS[(number - 1) % len(COLOURS)]),
            ContourSequence=contours,
        )
    )
    structures.RTROIObservationsSequence.append(
        _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter="")
    )


def _contours(
    mask: np.ndarray, start: Sequence[int], image: Image, slices: Sequence[tuple[Any, int | None]]
) -> Iterator[Any]:
    """The outlines of a mask (x, y, z) whose first voxel is ``start``, slice by slice."""
    for k in range(mask.shape[2]):
        source, frame = slices[start[2] + k]
        for outline in outlines(mask[..., k]):
            places = np.c_[outline + start[:2], np.full(len(outline), start[2] + k)]
            places = places @ image.affine[:3, :3].T + image.affine[:3, 3]
            yield _item(
                ContourImageSequence=[_reference(source, frame)], ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(places), ContourData=[f"{n:.4f}" for n in places.ravel()],
            )  # fmt: skip


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """The closed outlines (n, 2) of a mask (x, y) in voxels, without the first point again; holes joined to theirs."""
    try:
        from skimage.measure import find_contours, points_in_poly
    except ImportError:
        raise MissingExtra(NEEDED) from None
    lines = [_corners(line[:-1] - 1) for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5)]
    areas = [_area(line) for line in lines]
    outer = max(areas, key=abs, default=0)  # nothing lies around the largest
    rings = sorted((abs(area), k) for k, area in enumerate(areas) if area * outer > 0)
    joined = {k: lines[k] for _, k in rings}
    for hole in (line for line, area in zip(lines, areas, strict=True) if area * outer < 0):
        around = next(k for _, k in rings if points_in_poly(hole[:1], lines[k])[0])
        joined[around] = _joined(joined[around], hole)
    return list(joined.values())


def _corners(line: np.ndarray) -> np.ndarray:
    """A closed line without the points at which it does not turn."""
    before, after = line - np.roll(line, 1, 0), np.roll(line, -1, 0) - line
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return line[turns]


def _area(line: np.ndarray) -> float:
    """Twice the signed area inside."""
    x, y = line.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


def _joined(line: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One line along both, which run in opposite senses, over the shortest way between two of their points."""
    apart = ((line[:, None] - hole[None]) ** 2).sum(2)
    i, j = np.unravel_index(apart.argmin(), apart.shape)
    return np.concatenate([line[: i + 1], hole[j:], hole[: j + 1], line[i:]])


def _reference(source: Any, frame: int | None = None) -> Any:
    item = _item(ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item


def _item(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
