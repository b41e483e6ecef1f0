"""NRRD, with its voxels beside it or in it: read to the last byte, and written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, UnsupportedFile
from bifseg.imaging.image import Image
from bifseg.io.formats import ReadOptions
from bifseg.io.voxels import Content, as_array, check_room, place_of, planes, stored, unpacked, written_axes

HEAD = 1 << 20  # bytes in which the header must end
TYPES = {
    "int8": "signed char,int8,int8_t", "uint8": "uchar,unsigned char,uint8,uint8_t",
    "int16": "short,short int,signed short,signed short int,int16,int16_t",
    "uint16": "ushort,unsigned short,unsigned short int,uint16,uint16_t",
    "int32": "int,signed int,int32,int32_t", "uint32": "uint,unsigned int,uint32,uint32_t",
    "int64": "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t",
    "uint64": "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t",
    "float32": "float", "float64": "double",
}  # fmt: skip
DTYPES = {name: dtype for dtype, names in TYPES.items() for name in names.split(",")}
ENCODINGS = {"raw": "", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2"}
SPACES = {
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1), "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
}  # fmt: skip
UNITS = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "nm": 1e-6}
DOMAIN = ("domain", "space", "???", "none", "")  # kinds of axes in space
FRAMES = ("list", "time")


def is_nrrd(start: bytes) -> bool:
    """Whether a file that starts so is a NRRD."""
    return re.match(rb"NRRD\d{4}", start) is not None


def read_nrrd(path: Path, options: ReadOptions) -> Content:
    """What a NRRD holds.

    Raises InvalidInput for a header that says too little or contradicts itself, for a file that holds fewer or more
    bytes of voxels than it says, and for sheared axes.
    """
    allowed = options.allowed
    fields, data, lines = _header(path)
    axes = _integers(path, fields, "dimension", 1)[0]
    if not 1 < axes <= 16:
        raise UnsupportedFile(path, f"has {axes} axes; give a 2D or 3D image.")
    shape = _integers(path, fields, "sizes", axes)
    kind = fields.get("type", "").lower()
    if kind not in DTYPES:
        raise UnsupportedFile(path, f"has the type {kind[:40]!r}; possible are {', '.join(TYPES)}.")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ENCODINGS:
        raise UnsupportedFile(path, f"has the encoding {encoding[:40]!r}; possible are {', '.join(ENCODINGS)}.")
    endian = fields.get("endian", "little").lower()
    if endian not in ("big", "little") or ("endian" not in fields and np.dtype(DTYPES[kind]).itemsize > 1):
        raise UnsupportedFile(path, "does not say whether its numbers are big- or little-endian.")
    dtype = np.dtype(DTYPES[kind]).newbyteorder(">" if endian == "big" else "<")
    check_room(path, shape, dtype.itemsize, allowed)
    count = int(np.prod(shape, dtype=object)) * dtype.itemsize
    raw = _voxels(path, fields, data, lines, count, ENCODINGS[encoding], shape, alone=allowed is not None)
    return _placed(path, fields, as_array(raw, dtype, shape))


def write_nrrd(path: Path, image: Image, names: Sequence[str] | None = None) -> None:
    """Write an image as one packed NRRD of two or three axes."""
    write_fields(path, image, written_axes(image))


def write_fields(path: Path, image: Image, axes: int, further: Sequence[str] = ()) -> None:
    """Write an image as one packed NRRD of so many axes, with ``further`` lines in its header."""
    array = image.voxels.astype(image.array.dtype.newbyteorder("<"), copy=False)
    first = ("3 ", "none ", "RGB-color ") if array.ndim == 4 else ("", "", "")  # what is said of the colours' axis
    vectors = (image.direction * image.spacing).T[:axes, :axes].tolist()
    vector = "({})".format
    lines = [
        "NRRD0005", f"type: {TYPES[array.dtype.newbyteorder('=').name].split(',')[0]}",
        f"dimension: {axes + bool(first[0])}", f"sizes: {first[0]}{' '.join(map(str, image.shape[:axes]))}",
        "endian: little", "encoding: gzip",
    ]  # fmt: skip
    if axes == 3 and image.calibrated:
        lines += [
            "space: left-posterior-superior",
            f"space directions: {first[1]}" + " ".join(vector(",".join(map(repr, v))) for v in vectors),
            f"kinds: {first[2]}domain domain domain",
            "space origin: " + vector(",".join(map(repr, image.origin))),
        ]
    elif image.calibrated:
        lines += [
            "space dimension: 2",
            f"space directions: {first[1]}" + " ".join(vector(",".join(map(repr, v))) for v in vectors),
            "space origin: " + vector(",".join(map(repr, image.origin[:2]))),
        ]
    if first[2] and not (axes == 3 and image.calibrated):
        lines.append(f"kinds: {first[2]}" + " ".join(["domain"] * axes))
    with path.open("wb") as file:
        file.write(("\n".join([*lines, *further]) + "\n\n").encode())
        packer = zlib.compressobj(2, wbits=31)
        for plane in planes(array):
            file.write(packer.compress(plane))
        file.write(packer.flush())


def _header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The fields by their names in small letters, where the voxels begin, and the lines after a LIST of files."""
    with path.open("rb") as file:
        start = file.read(HEAD)
    fields: dict[str, str] = {}
    place = 0
    while place < len(start):
        end = start.find(b"\n", place)
        ended, end = end >= 0, len(start) if end < 0 else end
        line, place = start[place:end].rstrip(b"\r"), end + 1
        if not line:
            return fields, min(place, len(start)), []
        text = line.decode("utf-8", "surrogateescape")
        key, colon, value = text.partition(":")
        if not fields and is_nrrd(line):
            fields["nrrd"] = text
        elif line.startswith(b"#") or value.startswith("="):  # a comment, or "key:=value"
            continue
        elif not colon or not ended:
            raise DamagedFile(path, "is damaged: its header has lines that are not of the form field: value.")
        else:
            name = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}.get(
                key.lower(), key.lower()
            )
            if name in fields:
                raise DamagedFile(path, f"is damaged: its header says twice what its {name[:40]} is.")
            fields[name] = value.strip()
            if name == "data file" and fields[name].split()[:1] == ["LIST"]:
                return fields, min(place, len(start)), start[place:].decode("utf-8", "surrogateescape").splitlines()
    if "data file" in fields:
        return fields, len(start), []
    raise DamagedFile(path, "is damaged: its header has no end.")


def _voxels(
    path: Path, fields: dict[str, str], data: int, lines: list[str], count: int, packing: str,
    shape: Sequence[int], *, alone: bool,
) -> np.ndarray:  # fmt: skip
    """The bytes of the voxels, whichever file they are in."""
    words = [fields.get(key, "0") for key in ("line skip", "byte skip")]
    if not all(re.fullmatch(r"-?\d{1,15}", word) for word in words):
        raise DamagedFile(path, f"is damaged: it skips {words[0][:40]!r} lines and {words[1][:40]!r} bytes.")
    skips = [int(word) for word in words]
    if alone and "data file" in fields:
        raise DamagedFile(path, "keeps its voxels in another file; save header and voxels as one NRRD.")
    if any(skips) and alone:
        raise DamagedFile(path, "skips bytes before its voxels; save it without a byte skip or a line skip.")
    if skips[0] < 0 or skips[1] < (0 if packing else -1):
        raise DamagedFile(path, f"is damaged: it skips {skips[0]} lines and {skips[1]} bytes before its voxels.")
    if "data file" not in fields:
        return _part(path, data, count, packing, *skips)
    names = _names(path, fields["data file"], lines, shape)
    if not names or count % len(names):
        raise DamagedFile(path, f"names {len(names)} files of voxels, into which its {count} bytes do not divide.")
    for name in names:
        if not (path.parent / name).is_file():
            raise UnsupportedFile(path, f"keeps its voxels in {path.parent / name}, which does not exist.")
    parts = [_part(path.parent / name, 0, count // len(names), packing, *skips, exact=True) for name in names]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _part(path: Path, data: int, count: int, packing: str, lines: int, skip: int, *, exact: bool = False) -> np.ndarray:
    """The bytes of the voxels in one file; ``exact``: nothing may follow them."""
    with path.open("rb") as file:
        file.seek(data)
        for _ in range(lines):
            file.readline()
        data = file.tell()
    if packing:
        return unpacked(path, data, count, packing, before=skip)
    size = path.stat().st_size
    start = size - count if skip < 0 else data + skip
    if start < data or (exact and size != start + count):
        raise DamagedFile(path, f"has {size - data} bytes for {count} of voxels after {max(0, skip)} others.")
    return stored(path, start, count)


def _names(path: Path, where: str, lines: list[str], shape: Sequence[int]) -> list[str]:
    """The files of the voxels: one, a list in the lines that follow, or a pattern with first, last and step."""
    words = where.split()
    if words[:1] == ["LIST"]:
        return [line.strip() for line in lines if line.strip()]
    if len(words) in (4, 5) and "%" in words[0] and all(re.fullmatch(r"-?\d{1,6}", word) for word in words[1:]):
        first, last, step = map(int, words[1:4])
        if step == 0 or abs((last - first) // step) > 100_000:
            raise UnsupportedFile(path, f"keeps its voxels in {where[:80]!r}, which is no pattern of file names.")
        try:
            return [words[0] % number for number in range(first, last + (1 if step > 0 else -1), step)]
        except (TypeError, ValueError):
            raise UnsupportedFile(
                path, f"keeps its voxels in {where[:80]!r}, which is no pattern of file names."
            ) from None
    return [where]


def _placed(path: Path, fields: dict[str, str], array: np.ndarray) -> Content:
    """The array with its channels last, and where it lies."""
    axes = array.ndim
    vectors = _vectors(path, fields, axes)
    directed = range(axes) if vectors is None else [k for k in range(axes) if vectors[k]]
    kinds = [kind.lower() for kind in fields.get("kinds", "").split()] or [""] * axes
    if len(kinds) != axes:
        raise DamagedFile(path, f"is damaged: it names {len(kinds)} kinds of axes for {axes}.")
    inner = [k for k in range(axes) if kinds[k] in DOMAIN and k in directed]
    other = [k for k in range(axes) if k not in inner]
    channels = int(np.prod([array.shape[k] for k in other])) if other else 1
    if channels > 1 and (len(other) > 1 or kinds[other[0]] in FRAMES):
        raise UnsupportedFile(path, f"has {axes} axes, {array.shape}; give one frame of it, a 2D or 3D image.")
    if not 1 < len(inner) <= 4:
        raise UnsupportedFile(path, f"has {len(inner)} axes in space; give a 2D or 3D image.")
    array = array.transpose(*inner, *other)
    array = array if channels > 1 else array.reshape(array.shape[: len(inner)], order="F")
    three = inner[:3]
    if vectors is None:
        place = _by_spacings(path, fields, three, axes)
    else:
        place = _by_vectors(path, fields, [vectors[k] for k in three])
    return Content(array, channels=channels, planar=len(inner) == 2, **place)


def _vectors(path: Path, fields: dict[str, str], axes: int) -> list[list[float]] | None:
    """The direction of each axis in space, empty for an axis that has none; None where the file does not tell."""
    text = fields.get("space directions")
    if text is None:
        return None
    words = re.findall(r"none|\([^()]*\)", text)
    if len(words) != axes or re.sub(r"none|\([^()]*\)|\s", "", text):
        raise DamagedFile(path, f"is damaged: it gives {len(words)} space directions for {axes} axes.")
    return [[] if word == "none" else _vector(path, word) for word in words]


def _by_vectors(path: Path, fields: dict[str, str], vectors: list[list[float]]) -> dict[str, Any]:
    lengths = {len(vector) for vector in vectors}
    size = lengths.pop()
    if lengths or size not in (2, 3) or size < len(vectors):
        raise DamagedFile(path, "is damaged: its space directions have different lengths.")
    signs = np.array(SPACES.get(fields.get("space", "").lower(), (1, 1, 1)), float)
    unit = _unit(path, fields)
    columns = np.zeros((3, len(vectors)))
    columns[:size] = np.transpose(vectors)
    spacing, direction = place_of(path, signs[:, None] * columns, "space directions")
    if min(spacing) <= 0:
        raise UnsupportedFile(path, "is not usable: one of its space directions has no length.")
    if len(vectors) == 2:  # a plane has the axis that stands on it
        direction = np.c_[direction, np.cross(direction[:, 0], direction[:, 1])]
    scale = 1.0 if unit is None else unit
    place = {
        "spacing": (*(s * scale for s in spacing), 1.0)[:3],
        "direction": direction,
        "calibrated": unit is not None,
    }
    if "space origin" in fields:
        origin = _vector(path, fields["space origin"])
        if len(origin) != size:
            raise DamagedFile(path, f"is damaged: its space origin has {len(origin)} numbers.")
        if not np.isnan(origin).any():
            place["origin"] = tuple(signs * (*(o * scale for o in origin), 0.0)[:3])
    return place


def _by_spacings(path: Path, fields: dict[str, str], inner: list[int], axes: int) -> dict[str, Any]:
    """Where there are no directions: spacings, and minima of the axes."""
    if "spacings" not in fields:
        return {}
    numbers = _list(path, fields, "spacings", axes)
    spacing = [numbers[k] for k in inner]
    unit = _unit(path, fields)
    if np.isnan(spacing).any():  # that is how a NRRD says that it does not know
        if np.isnan(spacing).all():
            return {}
        raise UnsupportedFile(
            path, f"is not usable: it knows the spacing of some axes only, {fields['spacings'][:60]}."
        )
    scale = 1.0 if unit is None else unit
    place = {"spacing": (*(s * scale for s in spacing), 1.0)[:3], "calibrated": unit is not None}
    if "axis mins" in fields or "axismins" in fields:
        key = "axis mins" if "axis mins" in fields else "axismins"
        mins = [_list(path, fields, key, axes)[k] for k in inner]
        node = [word.lower() == "node" for word in fields.get("centers", fields.get("centerings", "")).split()]
        node = node if len(node) == axes else [False] * axes
        if not np.isnan(mins).any():
            origin = [scale * (m + (0 if node[k] else s / 2)) for m, s, k in zip(mins, spacing, inner, strict=True)]
            place["origin"] = (*origin, 0.0)[:3]
    return place


def _unit(path: Path, fields: dict[str, str]) -> float | None:
    """Millimetres of a unit of length, which is one where the file names none; None where it is unknown."""
    words = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    units = {word.strip() for word in words if word.strip() and word.strip().lower() != "none"}
    if len(units) > 1 and "space units" in fields:
        raise UnsupportedFile(
            path, f"measures its axes in different units, {', '.join(sorted(units))}; resample it first."
        )
    return UNITS.get(units.pop().lower()) if units else 1.0


def _vector(path: Path, text: str) -> list[float]:
    return [_number(path, word, "vector") for word in text.strip().strip("()").split(",")]


def _list(path: Path, fields: dict[str, str], key: str, count: int) -> list[float]:
    numbers = [_number(path, word, key) for word in fields[key].split()]
    if len(numbers) != count:
        raise DamagedFile(path, f"is damaged: its {key} are {len(numbers)} numbers for {count} axes.")
    return numbers


def _number(path: Path, text: str, key: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DamagedFile(path, f"is damaged: its {key} holds {text.strip()[:40]!r}, which is no number.") from None


def _integers(path: Path, fields: dict[str, str], key: str, count: int) -> tuple[int, ...]:
    words = fields.get(key, "").split()
    if len(words) != count or not all(re.fullmatch(r"\d{1,15}", word) and int(word) > 0 for word in words):
        raise DamagedFile(
            path, f"is damaged: its {key} is {fields.get(key, '')[:60]!r}; it needs {count} whole numbers."
        )
    return tuple(map(int, words))
