"""A DICOM series: which files of a folder, a zip or alone it is made of, and all of them as one volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, FileError, SeveralSeries, UnsupportedFile
from bifseg.io.archive import unzip
from bifseg.io.dicom_file import DicomFile, NoImage, is_bare_dicom, read_file
from bifseg.io.dicom_frames import Frame
from bifseg.io.dicom_headers import packed_headers
from bifseg.io.dicom_pixels import planes_of
from bifseg.io.dicom_stack import stack_of
from bifseg.io.formats import ReadOptions
from bifseg.io.voxels import Content, check_room

SLICE = (".dcm", ".ima", ".dicom", ".dc3")  # endings by which a file says that it is a slice


def read_dicom(path: Path, options: ReadOptions) -> Content:
    """What a DICOM file holds, a slice or a stack of them; or the one series in a folder, or the one asked for."""
    if path.is_dir():
        return _volume(path, _series(path, path, options.series, {}), options)
    file = read_file(path, str(path))
    if options.series is not None and options.series not in _names(file):
        raise UnsupportedFile(path, f"holds not {options.series} but the DICOM series {file.series}.")
    return _volume(path, [file], options)


def read_zip(path: Path, options: ReadOptions) -> Content:
    """As `read_dicom`, of a folder of slices that was zipped."""
    with TemporaryDirectory() as folder:
        names = unzip(path, Path(folder), options.allowed[1] if options.allowed else None)
        return _volume(path, _series(Path(folder), path, options.series, names), options)


def series_files(
    folder: Path, path: Path, series: str | None = None, names: Mapping[str, str] | None = None
) -> tuple[DicomFile, ...]:
    """The files of the one DICOM series in a folder, or of the one asked for, in the order of their slices.

    Errors speak of ``path``; ``names``: what its files were called in a zip. Raises InvalidInput where there is none,
    or several and none was asked for.
    """
    frames, _ = stack_of(path, _series(folder, path, series, names or {}))
    return tuple(dict.fromkeys(frame.file for frame in frames))


def frame_order(header: bytes) -> list[int]:
    """The frames of one DICOM file in the order in which `read_dicom` gives them; ``header``: all but its pixels."""
    from pydicom import dcmread

    file = DicomFile(Path("header"), "the header", dcmread(BytesIO(header), force=True), "", 0, 0, 0, "", False)
    return [frame.index for frame in stack_of(Path("header"), [file])[0]]


# ---- which files


def _series(folder: Path, path: Path, series: str | None, names: Mapping[str, str]) -> list[DicomFile]:
    """The files of the one series in a folder, or of the one asked for."""
    groups: dict[str, list[DicomFile]] = {}
    others = []
    for entry in sorted(folder.iterdir()):
        name = names.get(entry.name, entry.name)
        if entry.is_file():
            if (file := _slice(entry, name)) is not None:
                groups.setdefault(file.series, []).append(file)
            else:
                others.append((entry, name))
    if not groups:
        raise DamagedFile(path, "holds no DICOM images; give the folder that holds the slices of one series.")
    asked = [files for files in groups.values() if series is not None and series in _names(files[0])]
    if len(asked) != 1 and (series is not None or len(groups) > 1):
        choices = [_choice(uid, files) for uid, files in groups.items()]
        listed = ", ".join(map(_described, choices))
        problem = f"{'several series' if asked else 'not'} {series}" if series is not None else "several"
        raise SeveralSeries(
            path, f"holds {problem} DICOM series; pick one with --series (series=) and its UID: {listed}.",
            series=choices,
        )  # fmt: skip
    files = asked[0] if asked else next(iter(groups.values()))
    _check_others(files, others)
    return files


def _slice(entry: Path, name: str) -> DicomFile | None:
    """A file of a folder, None where it is no DICOM image; InvalidInput for a slice that is damaged or empty."""
    suffix = PurePath(name).suffix.lower()
    if not entry.stat().st_size:
        if (suffix in SLICE or (suffix == "" and "." not in name) or suffix[1:].isdigit()) and name[:1] != ".":
            raise DamagedFile(name, "is empty, and may be a slice that is missing; delete it, or copy it again.")
        return None
    with entry.open("rb") as content:
        start = content.read(540)
    certain = start[128:132] == b"DICM" or suffix in SLICE
    if certain or is_bare_dicom(start):
        try:
            return read_file(entry, name)
        except NoImage:
            return None
        except FileError:
            if certain or suffix == "":
                raise
    return None


def _check_others(files: Sequence[DicomFile], others: Sequence[tuple[Path, str]]) -> None:
    """Refuse a folder in which something that is no DICOM is named and as large as the slices, so may be one."""
    suffixes = {PurePath(file.name).suffix.lower() for file in files}
    sizes = [file.path.stat().st_size for file in files]
    for entry, name in others:
        alike = PurePath(name).suffix.lower() in suffixes and name[:1] != "."
        if alike and min(sizes) <= 2 * entry.stat().st_size <= 4 * max(sizes) and not _is_dicom_file(entry):
            raise DamagedFile(
                name, "is no DICOM file, and may be a slice that is damaged; delete it, or copy it again."
            )


def _is_dicom_file(entry: Path) -> bool:
    with entry.open("rb") as content:
        return content.read(132)[128:] == b"DICM"


def _names(file: DicomFile) -> tuple[str, ...]:
    """What a series may be asked for by: its UID, its number, its description."""
    words = (file.series, file.header.get("SeriesNumber"), file.header.get("SeriesDescription"))
    return tuple(str(word) for word in words if word not in (None, ""))


def _choice(uid: str, files: Sequence[DicomFile]) -> dict[str, Any]:
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


# ---- one volume


def _volume(path: Path, files: list[DicomFile], options: ReadOptions) -> Content:
    """All frames of the files as one volume, of one number type that holds every value of every frame."""
    columns, rows = files[0].size
    count = sum(file.count for file in files)
    check_room(path, (columns, rows, count), files[0].dtype.itemsize * files[0].samples, options.allowed)
    for file in files:
        file.check_pixels()
    frames, geometry = stack_of(path, files)
    coloured = files[0].coloured
    deep = files[0].samples > 1 and files[0].dtype.itemsize == 2
    dtype = np.dtype(np.uint16 if deep else np.uint8) if coloured else _common_type(frames)
    narrow = dtype == np.int32 and all(file.dtype.itemsize <= 2 for file in files)  # numbers that need it are seldom
    shape = (len(frames), rows, columns, *([3] if coloured else []))
    volume = (options.room or np.empty)(shape, np.dtype(np.int16) if narrow else dtype)
    places = {(id(frame.file), frame.index): k for k, frame in enumerate(frames)}
    for file in dict.fromkeys(frame.file for frame in frames):
        index = -1
        for index, plane in enumerate(planes_of(file)):
            if (k := places.get((id(file), index))) is not None:
                if volume.dtype != dtype and not _fits(plane, frames[k], volume.dtype):
                    volume = volume.astype(dtype)
                _fill(volume[k], plane, frames[k], path)
        if index + 1 != file.count:
            raise DamagedFile(file.name, f"is truncated: it holds {index + 1} of {file.count} frames.")
    array = volume.transpose(2, 1, 0, 3) if coloured else volume.T
    array.flags.writeable = False
    headers = packed_headers(path, list(dict.fromkeys(frame.file for frame in frames))) if options.headers else None
    return Content(array, channels=3 if coloured else 1, headers=headers, **geometry)


def _fits(plane: np.ndarray, frame: Frame, dtype: np.dtype) -> bool:
    """Whether a plane, scaled, has room in a number type: most have, though there might be numbers that have not."""
    ends = [int(end) * int(frame.slope) + int(frame.intercept) for end in (plane.min(), plane.max())]
    return np.iinfo(dtype).min <= min(ends) and max(ends) <= np.iinfo(dtype).max


def _fill(place: np.ndarray, plane: np.ndarray, frame: Frame, path: Path) -> None:
    """Put a plane into the volume, scaled; without another array as large as the plane."""
    if plane.ndim == 3 and plane.dtype != place.dtype:
        raise UnsupportedFile(path, f"holds colours of {plane.dtype}; give one channel, or 8 bits.")
    if plane.ndim == 3 or (frame.slope, frame.intercept) == (1, 0):
        place[...] = plane
    elif place.dtype.kind == "f":
        place[...] = plane * np.float64(frame.slope) + frame.intercept
    elif frame.slope == 1:  # in numbers as wide as the sum, which has room there, whatever is carried on the way to it
        bits = place.dtype.itemsize * 8
        shift = np.array(int(frame.intercept) % (1 << bits), f"u{place.dtype.itemsize}").view(place.dtype)
        np.add(plane.astype(place.dtype, copy=False), shift, out=place)
    else:
        place[...] = plane.astype(np.int64) * int(frame.slope) + int(frame.intercept)


def _common_type(frames: Sequence[Frame]) -> np.dtype:
    """The number type that holds whatever the frames might hold, once scaled."""
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
    native = {dtype for dtype, *_ in kinds}
    candidates = [*(native if len(native) == 1 else ()), *map(np.dtype, ("u1", "i2", "u2", "i4", "u4", "i8"))]
    for dtype in candidates:
        if np.iinfo(dtype).min <= min(low) and max(high) <= np.iinfo(dtype).max:
            return dtype
    return np.dtype(np.float64)
