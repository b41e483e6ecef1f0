"""Whether the frames of DICOM files form one straight, even stack of one kind, in which order, and where it lies."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, InvalidInput, UnsupportedFile
from bifseg.io.dicom_file import NATIVE, DicomFile
from bifseg.io.dicom_frames import Frame, frames_of, numbers_of
from bifseg.io.voxels import place_of

log = logging.getLogger("bifseg.io.dicom_stack")


def stack_of(path: Path, files: Sequence[DicomFile]) -> tuple[list[Frame], dict[str, Any]]:
    """All frames in the order in which they lie, and the geometry of the stack, as arguments of `Content`.

    Raises InvalidInput, which speaks of ``path``, where they form none.
    """
    frames = [frame for file in _without_copies(files) for frame in frames_of(file)]
    first = frames[0]
    for frame in frames:
        _check_alike(first, frame)
    if len(frames) == 1:
        return frames, _single_geometry(path, first)
    if first.orientation is None or any(frame.position is None for frame in frames):
        raise DamagedFile(
            path,
            "holds DICOM slices that do not say where they lie (ImagePositionPatient, ImageOrientationPatient); "
            "give a single one of them.",
        )
    if first.spacing is None:
        raise DamagedFile(path, "holds DICOM slices that do not say how large a pixel is (PixelSpacing).")
    direction = _direction(path, first.orientation)
    heights = np.array([frame.position for frame in frames]) @ direction[:, 2]
    frames = _once(path, [frames[k] for k in np.argsort(heights, kind="stable")], min(first.spacing))
    if len(frames) == 1:
        return frames, _single_geometry(path, first)
    positions = np.array([frame.position for frame in frames])
    step = float((positions[-1] - positions[0]) @ direction[:, 2]) / (len(frames) - 1)
    even = positions[0] + np.arange(len(frames))[:, None] * step * direction[:, 2]
    distances = np.linalg.norm(positions - even, axis=1)
    for k in np.flatnonzero(distances > 0.25 * min(*first.spacing, step))[:1]:
        raise DamagedFile(
            path,
            f"holds DICOM slices that form no even, straight stack: slice {k} ({_called(frames[k])}) lies "
            f"{distances[k]:.3g} mm off; one may be missing, or the gantry was tilted.",
        )
    spacing = (*first.spacing, step)
    return frames, {"spacing": spacing, "origin": tuple(positions[0].tolist()), "direction": direction}


def _without_copies(files: Sequence[DicomFile]) -> list[DicomFile]:
    """The files, those that are one instance taken once; InvalidInput where its copies differ."""
    kept: dict[str, DicomFile] = {}
    for file in files:
        other = kept.get(file.uid) if file.uid else None
        if other is None:
            kept[file.uid or file.name] = file
        elif _digest(file) != _digest(other):
            raise UnsupportedFile(file.name, f"and {other.name} say that they are the same DICOM slice, and differ.")
        else:
            log.warning("%s is the same DICOM slice as %s, and left out.", file.name, other.name)
    return list(kept.values())


def _once(path: Path, frames: list[Frame], pixel: float) -> list[Frame]:
    """The sorted frames, copies left out; InvalidInput for two that differ and lie at the same place."""
    positions = np.array([frame.position for frame in frames])
    apart = np.linalg.norm(np.diff(positions, axis=0), axis=1) > 0.01 * pixel
    kept = frames[:1]
    for frame, elsewhere in zip(frames[1:], apart.tolist(), strict=True):
        before = kept[-1]
        if elsewhere:
            kept.append(frame)
        elif frame.file.count == before.file.count == 1 and _digest(frame.file) == _digest(before.file):
            log.warning("%s is the same DICOM slice as %s, and left out.", _called(frame), _called(before))
        else:
            places = len(np.unique(np.rint(positions / (0.01 * pixel)), axis=0))
            raise UnsupportedFile(
                path,
                f"holds {len(frames)} DICOM slices at {places} places: {_called(before)} and {_called(frame)} "
                "lie at the same place, as several times, phases or echoes do; give the slices of one.",
            )
    return kept


def _digest(file: DicomFile) -> str:
    """Of the pixels as they are stored, and of where and what they are."""
    with file.path.open("rb") as content:
        content.seek(file.at)
        pixels = content.read(file.length if file.syntax in NATIVE else -1)
    place = [str(file.header.get(word)) for word in ("ImagePositionPatient", "RescaleSlope", "RescaleIntercept")]
    return hashlib.sha256(pixels + "|".join(place).encode()).hexdigest()


def _check_alike(first: Frame, frame: Frame) -> None:
    """Refuse a frame that is turned, sized or made otherwise than the first."""
    one, other = first.file, frame.file
    for what, before, now in (
        ("size", one.size, other.size),
        ("number of channels", one.samples, other.samples),
        ("photometric interpretation", _tissue(one), _tissue(other)),
    ):
        if before != now:
            raise InvalidInput(_differs(first, frame, what, before, now))
    scales = [(one.slope, one.intercept) for one in (first, frame)]
    if scales[0] != scales[1] and not (first.scaled and frame.scaled):  # of one it is forgotten, and its numbers moved
        texts = [_text(scale if one.scaled else None) for scale, one in zip(scales, (first, frame), strict=True)]
        raise InvalidInput(_differs(first, frame, "rescale slope and intercept", *texts))
    finest = min(first.spacing) if first.spacing else 1.0
    for what, numbers, others, tolerance in (
        ("orientation", first.orientation, frame.orientation, 1e-3),
        ("pixel spacing", first.spacing, frame.spacing, 1e-3 * finest),
    ):
        if numbers is None or others is None:
            alike = numbers is others
        else:
            alike = all(abs(a - b) <= tolerance for a, b in zip(numbers, others, strict=True))
        if not alike:
            raise InvalidInput(_differs(first, frame, what, _text(numbers), _text(others)))


def _tissue(file: DicomFile) -> str:
    """What tells files apart in which other tissue is bright."""
    return file.photometric if file.photometric in ("MONOCHROME1", "PALETTE COLOR") else "MONOCHROME2"


def _differs(first: Frame, frame: Frame, what: str, before: object, now: object) -> str:
    return (
        f"The DICOM slices differ: {_called(frame)} has the {what} {now}, and {_called(first)} {before}; "
        "give slices of one kind."
    )


def _text(numbers: Any) -> str:
    return "that it does not tell" if numbers is None else "\\".join(f"{n:.4g}" for n in numbers)


def _called(frame: Frame) -> str:
    return frame.file.name if frame.file.count == 1 else f"frame {frame.index + 1} of {frame.file.name}"


def _direction(path: Path, orientation: Sequence[float]) -> np.ndarray:
    columns = np.reshape(orientation, (2, 3)).T
    if not np.allclose(np.linalg.norm(columns, axis=0), 1, atol=1e-2):
        raise DamagedFile(path, f"is damaged: its ImageOrientationPatient is {_text(orientation)}.")
    direction = place_of(path, columns, "ImageOrientationPatient")[1]
    return np.c_[direction, np.cross(direction[:, 0], direction[:, 1])]


def _single_geometry(path: Path, frame: Frame) -> dict[str, Any]:
    """Of one slice: with a place it is a thin volume, if it says how thick; without one it is a picture."""
    geometry: dict[str, Any] = {}
    if frame.position is not None and frame.orientation is not None:
        geometry = {"origin": frame.position, "direction": _direction(path, frame.orientation)}
    spacing, calibrated = frame.spacing, frame.spacing is not None
    if spacing is None:
        detector = numbers_of(frame.file, frame.file.header.get("ImagerPixelSpacing"), 2)
        if detector is not None:  # at the detector, and larger than in the patient
            spacing = (detector[1], detector[0])
        elif (ratio := numbers_of(frame.file, frame.file.header.get("PixelAspectRatio"), 2)) and min(ratio) > 0:
            spacing = (1.0, ratio[0] / ratio[1])  # of a pixel's height to its width
    return geometry | {
        "planar": not (geometry and calibrated and frame.thickness), "calibrated": calibrated,
        "spacing": None if spacing is None else (*spacing, frame.thickness or 1.0),
    }  # fmt: skip
