"""A DICOM series: which files it is made of, in which order, and whether they form one straight stack of one kind."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, FileError, InvalidInput, SeveralSeries, TooLarge, UnsupportedFile
from bifseg.io.archive import check_apart, opened
from bifseg.io.dicom_slices import NATIVE, Frame, NoImage, Slice, is_bare_dicom, numbers_of, read_slice
from bifseg.io.untrusted import check_listing
from bifseg.io.voxels import Found, check_room, place_of

__all__ = ["is_bare_dicom", "read_dicom", "read_series", "series_files", "unzip"]

ZIP_BYTES = 4 << 30
ZIP_FILES = 20_000
SLICE = (".dcm", ".ima", ".dicom", ".dc3")  # endings by which a file says that it is a slice
log = logging.getLogger("bifseg.io.dicom_series")


def read_series(
    folder: Path, path: Path, series: str | None, allowed: tuple[int, int] | None = None,
    names: Mapping[str, str] | None = None,
) -> Found:  # fmt: skip
    """The one DICOM series in a folder, or the one asked for; ``names``: what its files were called in a zip."""
    return _volume(path, _series(folder, path, series, names), allowed)


def read_dicom(path: Path, series: str | None, allowed: tuple[int, int] | None = None) -> Found:
    """What a single DICOM file holds: a slice, or a stack of them."""
    file = _single(path)
    if series is not None and series not in _said(file):
        raise UnsupportedFile(path, f"holds not {series} but the DICOM series {file.series}.")
    return _volume(path, [file], allowed)


def series_files(
    folder: Path, path: Path, series: str | None = None, names: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The files of the one DICOM series in a folder, or of the one asked for, in the order of their slices.

    Errors speak of ``path``. Raises InvalidInput where there is none, or several and none was asked for.
    """
    frames, _ = _sorted(path, _series(folder, path, series, names))
    return tuple(dict.fromkeys(str(frame.file.path) for frame in frames))


def frame_order(header: bytes) -> list[int]:
    """The frames of one DICOM file in the order in which `read_dicom` gives them; ``header``: all but its pixels."""
    from pydicom import dcmread

    file = Slice(Path("header"), "the header", dcmread(BytesIO(header), force=True), "", 0, 0, "")
    return [frame.index for frame in _sorted(Path("header"), [file])[0]]


def _single(path: Path) -> Slice:
    try:
        return read_slice(path, str(path))
    except NoImage as error:
        raise UnsupportedFile(error.file, f"{error.problem} It may be a report or a plan.") from None


def _series(folder: Path, path: Path, series: str | None, names: Mapping[str, str] | None) -> list[Slice]:
    """The files of the one series in a folder, or of the one asked for."""
    found: dict[str, list[Slice]] = {}
    for file in sorted(folder.iterdir()):
        name = (names or {}).get(file.name, file.name)
        if file.is_file() and (slice_ := _slice(file, name)) is not None:
            found.setdefault(slice_.series, []).append(slice_)
    if not found:
        raise DamagedFile(path, "holds no DICOM images; give the folder that holds the slices of one series.")
    wanted = [files for files in found.values() if series is not None and series in _said(files[0])]
    if len(wanted) != 1 and (series is not None or len(found) > 1):
        choices = [_choice(uid, files) for uid, files in found.items()]
        listed = ", ".join(map(_described, choices))
        asked = f"{'several series' if wanted else 'not'} {series}" if series is not None else "several"
        problem = f"holds {asked} DICOM series; pick one with --series (series=) and its UID: {listed}."
        raise SeveralSeries(path, problem, series=choices)
    return wanted[0] if wanted else next(iter(found.values()))


def _slice(file: Path, name: str) -> Slice | None:
    """A file of a folder, None where it is none of DICOM's; InvalidInput for a slice that is damaged or empty."""
    suffix = PurePath(name).suffix.lower()
    slicelike = suffix in SLICE or (suffix == "" and "." not in name) or suffix[1:].isdigit()
    size = file.stat().st_size
    if size:
        with file.open("rb") as content:
            start = content.read(132)
        told = start[128:] == b"DICM"
        if told or suffix in SLICE or is_bare_dicom(start):
            try:
                return read_slice(file, name)
            except NoImage:
                return None
            except FileError:
                if told or suffix in SLICE:
                    raise
                return None
    elif slicelike and not name.startswith("."):
        raise DamagedFile(name, "is empty, and may be a slice that is missing; delete it, or copy it again.")
    return None


def _said(file: Slice) -> tuple[str, ...]:
    """What a series may be asked for by: its UID, its number, its description."""
    words = (file.series, file.header.get("SeriesNumber"), file.header.get("SeriesDescription"))
    return tuple(str(word) for word in words if word not in (None, ""))


def _choice(uid: str, files: Sequence[Slice]) -> dict[str, Any]:
    """A series for programs, as JSON; what its files do not tell is None."""
    header, number = files[0].header, files[0].header.get("SeriesNumber")
    return {
        "uid": uid, "shape": [*files[0].size, sum(file.count for file in files)],
        "modality": str(header.get("Modality") or "") or None,
        "number": None if number is None else str(number),
        "description": str(header.get("SeriesDescription") or "")[:40] or None,
    }  # fmt: skip


def _described(choice: Mapping[str, Any]) -> str:
    """A series for people: its UID, size, modality, number and description."""
    size, number = " x ".join(map(str, choice["shape"])), choice["number"]
    facts = [size, choice["modality"], None if number is None else f"number {number}", choice["description"]]
    return f"{choice['uid'] or 'without a UID'} ({', '.join(filter(None, facts))})"


def _volume(path: Path, files: list[Slice], allowed: tuple[int, int] | None) -> Found:
    """All frames of the files as one volume, of one number type that holds every value of every frame."""
    columns, rows = files[0].size
    count = sum(file.count for file in files)
    check_room(path, (columns, rows, count), files[0].dtype.itemsize * files[0].samples, allowed)
    for file in files:
        file.check_pixels()
    frames, geometry = _sorted(path, files)
    colours = files[0].samples > 1 or files[0].header.get("PhotometricInterpretation") == "PALETTE COLOR"
    deep = files[0].samples > 1 and files[0].dtype.itemsize == 2
    dtype = np.dtype(np.uint16 if deep else np.uint8) if colours else _common_type(frames)
    volume = np.empty((len(frames), rows, columns, *([3] if colours else [])), dtype)
    at = {(id(frame.file), frame.index): k for k, frame in enumerate(frames)}
    for file in dict.fromkeys(frame.file for frame in frames):
        planes = 0
        for index, plane in enumerate(file.pixels()):
            planes += 1
            if (k := at.get((id(file), index))) is not None:
                _fill(volume[k], plane, frames[k], path)
        if planes != file.count:
            raise DamagedFile(file.name, f"is truncated: it holds {planes} of {file.count} frames.")
    array = volume.transpose(2, 1, 0, 3) if colours else volume.T
    array.flags.writeable = False
    return Found(array, channels=3 if colours else 1, **geometry)


def _fill(place: np.ndarray, plane: np.ndarray, frame: Frame, path: Path) -> None:
    if plane.ndim == 3 and plane.dtype != place.dtype:
        raise UnsupportedFile(path, f"holds colours of {plane.dtype}; give one channel, or 8 bits.")
    if plane.ndim == 3 or (frame.slope, frame.intercept) == (1, 0):
        place[...] = plane
    elif place.dtype.kind == "f":
        place[...] = plane * np.float64(frame.slope) + frame.intercept
    else:
        place[...] = plane.astype(np.int64) * int(frame.slope) + int(frame.intercept)


def _common_type(frames: Sequence[Frame]) -> np.dtype:
    """The number type that holds whatever the frames may hold, once scaled."""
    kinds = {(f.file.dtype.newbyteorder("="), f.file.bits, f.slope, f.intercept) for f in frames}
    if any(dtype.kind == "f" or slope % 1 or intercept % 1 for dtype, _, slope, intercept in kinds):
        wide = any(dtype.itemsize > 2 and dtype != np.float32 for dtype, *_ in kinds)
        return np.dtype(np.float64 if wide else np.float32)
    low, high = [], []
    for dtype, bits, slope, intercept in kinds:
        ends = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)
        scaled = [end * int(slope) + int(intercept) for end in ends]
        low.append(min(scaled))
        high.append(max(scaled))
    native = [dtype for dtype, *_ in kinds]
    for dtype in map(np.dtype, (*(native if len(set(native)) == 1 else []), "u1", "i2", "u2", "i4", "u4", "i8")):
        if np.iinfo(dtype).min <= min(low) and max(high) <= np.iinfo(dtype).max:
            return dtype
    return np.dtype(np.float64)


# ---- are they one stack?


def _sorted(path: Path, files: Sequence[Slice]) -> tuple[list[Frame], dict[str, Any]]:
    """All frames in the order in which they lie, and the geometry of the stack; InvalidInput where they form none."""
    frames = [frame for file in _without_copies(files) for frame in file.frames]
    first = frames[0]
    for frame in frames:
        _check_alike(first, frame)
    if len(frames) == 1:
        return frames, _single_geometry(path, first)
    if any(frame.position is None or frame.orientation is None for frame in frames):
        raise DamagedFile(
            path,
            "holds DICOM slices that do not say where they lie (ImagePositionPatient, ImageOrientationPatient); "
            "give a single one of them.",
        )
    if first.spacing is None:
        raise DamagedFile(path, "holds DICOM slices that do not say how large a pixel is (PixelSpacing).")
    direction = _direction(path, first.orientation)
    heights = [float(frame.position @ direction[:, 2]) for frame in frames]
    order = sorted(range(len(frames)), key=heights.__getitem__)
    frames = _once(path, [frames[k] for k in order], min(first.spacing))
    if len(frames) == 1:
        return frames, _single_geometry(path, first)
    origin, last = frames[0].position, frames[-1].position
    step = float((last - origin) @ direction[:, 2]) / (len(frames) - 1)
    smallest = min(*first.spacing, step)
    for k, frame in enumerate(frames):
        apart = float(np.linalg.norm(frame.position - origin - k * step * direction[:, 2]))
        if apart > 0.25 * smallest:
            raise DamagedFile(
                path,
                f"holds DICOM slices that form no even, straight stack: slice {k} ({_called(frame)}) lies "
                f"{apart:.3g} mm off; one may be missing, or the gantry was tilted.",
            )
    spacing = (*first.spacing, step)
    return frames, {"spacing": spacing, "origin": tuple(map(float, origin)), "direction": direction}


def _without_copies(files: Sequence[Slice]) -> list[Slice]:
    """The files, those that are one instance taken once; InvalidInput where its copies differ."""
    kept: dict[str, Slice] = {}
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
    kept: list[Frame] = []
    places = len({tuple(np.rint(frame.position / (0.01 * pixel)).tolist()) for frame in frames})
    for frame in frames:
        before = kept[-1] if kept else None
        if before is None or np.linalg.norm(frame.position - before.position) > 0.01 * pixel:
            kept.append(frame)
        elif frame.file.count == before.file.count == 1 and _digest(frame.file) == _digest(before.file):
            log.warning("%s is the same DICOM slice as %s, and left out.", _called(frame), _called(before))
        else:
            raise UnsupportedFile(
                path,
                f"holds {len(frames)} DICOM slices at {places} places: {_called(before)} and {_called(frame)} "
                "lie at the same place, as several times, phases or echoes do; give the slices of one.",
            )
    return kept


def _digest(file: Slice) -> str:
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
        ("tissue that is bright", one.header.get("PhotometricInterpretation") == "MONOCHROME1",
         other.header.get("PhotometricInterpretation") == "MONOCHROME1"),
    ):  # fmt: skip
        if before != now:
            raise InvalidInput(_differs(first, frame, what, before, now))
    for what, before, now, tolerance in (
        ("orientation", first.orientation, frame.orientation, 1e-3),
        ("pixel spacing", first.spacing, frame.spacing, 1e-3 * (min(first.spacing) if first.spacing else 1)),
    ):
        same = (before is None) == (now is None) and (
            before is None or np.allclose(before, now, rtol=0, atol=tolerance)
        )
        if not same:
            raise InvalidInput(_differs(first, frame, what, _text(before), _text(now)))


def _differs(first: Frame, frame: Frame, what: str, before: object, now: object) -> str:
    return (
        f"The DICOM slices differ: {_called(frame)} has the {what} {now}, and {_called(first)} {before}; "
        "give slices of one kind."
    )


def _text(numbers: Any) -> str:
    return "that it does not tell" if numbers is None else "\\".join(f"{n:.4g}" for n in numbers)


def _called(frame: Frame) -> str:
    return frame.file.name if frame.file.count == 1 else f"frame {frame.index + 1} of {frame.file.name}"


def _direction(path: Path, orientation: np.ndarray) -> np.ndarray:
    columns = np.c_[orientation[:3], orientation[3:]]
    if not np.allclose(np.linalg.norm(columns, axis=0), 1, atol=1e-2):
        raise DamagedFile(path, f"is damaged: its ImageOrientationPatient is {_text(orientation)}.")
    direction = place_of(path, columns, "ImageOrientationPatient")[1]
    return np.c_[direction, np.cross(direction[:, 0], direction[:, 1])]


def _single_geometry(path: Path, frame: Frame) -> dict[str, Any]:
    """Of one slice: with a place it is a thin volume, if it says how thick; without one it is a picture."""
    found: dict[str, Any] = {}
    placed = frame.position is not None and frame.orientation is not None
    if placed:
        found = {"origin": tuple(map(float, frame.position)), "direction": _direction(path, frame.orientation)}
    spacing, calibrated = frame.spacing, frame.spacing is not None
    if spacing is None:
        detector = numbers_of(frame.file, frame.file.header.get("ImagerPixelSpacing"), 2)
        if detector is not None:  # at the detector, and larger than in the patient
            spacing = (float(detector[1]), float(detector[0]))
    return found | {
        "planar": not (placed and calibrated and frame.thickness), "calibrated": calibrated,
        "spacing": None if spacing is None else (*spacing, frame.thickness or 1.0),
    }  # fmt: skip


# ---- archives


def unzip(path: Path, folder: Path, limit: int | None = None) -> dict[str, str]:
    """Unpack into one flat folder under names of our own: no name in the archive can lead elsewhere.

    Returns what each of these files was called. Raises InvalidInput for damage and for members that overlap,
    TooLarge for more than ``limit`` bytes, before any are written.
    """
    limit = ZIP_BYTES if limit is None else limit
    check_listing(path, ZIP_FILES)
    names = {}
    with opened(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        size = sum(member.file_size for member in members)
        if len(members) > ZIP_FILES or size > limit:
            raise TooLarge(
                path,
                f"unpacks to {len(members)} files of {size / 2**30:.2g} GiB in all; "
                f"at most {ZIP_FILES} files and {limit / 2**30:.3g} GiB are allowed.",
            )
        check_apart(archive)
        for number, member in enumerate(members):
            # zipfile never yields more than the declared size, so the sum above is a bound.
            slice_ = folder / f"{number:05}.dcm"
            with archive.open(member) as source, slice_.open("wb") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
            names[slice_.name] = PurePath(member.filename).name or slice_.name
    return names
