"""MetaImage, MHA and MHD: read to the last byte, and written."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bifseg.errors import DamagedFile, InvalidInput, UnsupportedFile
from bifseg.imaging.image import Image
from bifseg.io.formats import ReadOptions
from bifseg.io.voxels import Content, as_array, check_room, place_of, planes, stored, unpacked, written_axes

HEAD = 1 << 16  # bytes in which the header must end
TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
NAMES = {code: name for name, code in reversed(TYPES.items())}


def is_metaimage(start: bytes) -> bool:
    """Whether a file that starts so is a MetaImage."""
    return re.match(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*=", start) is not None


def read_metaimage(path: Path, options: ReadOptions) -> Content:
    """What a MetaImage holds.

    Raises InvalidInput for a header that says too little or contradicts itself, and for a file that holds fewer or more
    bytes of voxels than it says.
    """
    allowed = options.allowed
    fields, data, lines = _header(path)
    axes = _whole(path, fields, "ndims", 1)[0]
    if axes not in (2, 3, 4):
        raise DamagedFile(path, "is damaged: its header says a thing twice, or has no NDims of 2 to 4.")
    shape = _whole(path, fields, "dimsize", axes)
    channels = _whole(path, fields, "elementnumberofchannels", 1)[0] if "elementnumberofchannels" in fields else 1
    kind = fields.get("elementtype", "").upper()
    if kind not in TYPES:
        raise UnsupportedFile(path, f"has the element type {kind[:40]!r}; possible are {', '.join(TYPES)}.")
    swapped = _yes(fields.get("elementbyteordermsb") or fields.get("binarydatabyteordermsb") or "False")
    dtype = np.dtype(("<", ">")[swapped] + TYPES[kind])
    if "binarydata" in fields and not _yes(fields["binarydata"]):
        raise UnsupportedFile(path, "keeps its voxels as text; save it with BinaryData = True.")
    check_room(path, shape, dtype.itemsize * channels, allowed)
    count = int(np.prod(shape, dtype=object)) * channels * dtype.itemsize
    raw = _voxels(path, fields, data, lines, count, shape[-1], alone=allowed is not None)
    array = as_array(raw, dtype, (channels, *shape) if channels > 1 else shape)
    return Content(
        np.moveaxis(array, 0, -1) if channels > 1 else array, channels=channels, **_geometry(path, fields, axes)
    )


def write_metaimage(path: Path, image: Image, names: Sequence[str] | None = None) -> None:
    """Write an image as one packed MHA of two or three axes."""
    axes = written_axes(image)
    array = image.voxels.astype(image.array.dtype.newbyteorder("<"), copy=False)
    packer = zlib.compressobj(2)
    packed = b"".join([*map(packer.compress, planes(array)), packer.flush()])
    words = {
        "ObjectType": "Image", "NDims": axes, "BinaryData": True, "BinaryDataByteOrderMSB": False,
        "CompressedData": True, "CompressedDataSize": len(packed),
        "TransformMatrix": image.direction[:axes, :axes].T.ravel().tolist(), "Offset": image.origin[:axes],
        **({"ElementSpacing": image.spacing[:axes]} if image.calibrated else {}), "DimSize": image.shape[:axes],
        **({"ElementNumberOfChannels": 3} if image.colours is not None else {}),
        "ElementType": NAMES[array.dtype.str[1:]], "ElementDataFile": "LOCAL",
    }  # fmt: skip
    head = "".join(
        f"{key} = {' '.join(map(repr, value)) if isinstance(value, (list, tuple)) else value}\n"
        for key, value in words.items()
    )
    with path.open("wb") as file:
        file.write(head.encode())
        file.write(packed)


def _header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """The fields by their names in small letters, where the voxels begin, and the lines after the last field."""
    with path.open("rb") as file:
        start = file.read(HEAD)
    fields: dict[str, str] = {}
    place = 0
    while (end := start.find(b"\n", place)) >= 0 or place < len(start):
        end = len(start) if end < 0 else end
        line, place = start[place:end].rstrip(b"\r"), end + 1
        if not line.strip():
            continue
        match = re.fullmatch(rb"\s*([A-Za-z]\w{,99})\s*[=:]\s*([^\0-\x08\x0a-\x1f]{,3000})", line)
        if not match:
            raise DamagedFile(path, "is damaged: its header has lines that are not of the form Key = value.")
        key = match[1].decode().lower()
        if key in fields and key != "comment":
            raise DamagedFile(path, "is damaged: its header says a thing twice, or has no NDims of 2 to 4.")
        fields[key] = match[2].decode("utf-8", "surrogateescape").strip()
        if key == "elementdatafile":
            return fields, min(place, len(start)), start[place:].decode("utf-8", "surrogateescape").splitlines()
    raise DamagedFile(path, "is damaged: its header has no end.")


def _voxels(
    path: Path, fields: dict[str, str], data: int, lines: list[str], count: int, slices: int, *, alone: bool
) -> np.ndarray:
    """The bytes of the voxels, whichever file they are in."""
    packed = _yes(fields.get("compresseddata", "False"))
    where = fields["elementdatafile"]
    if where.upper() == "LOCAL":
        return unpacked(path, data, count, "zlib") if packed else stored(path, data, count)
    if alone:
        raise UnsupportedFile(path, "keeps its voxels in another file; save header and voxels as one MHA.")
    names = _names(path, where, lines, slices)
    if not names or count % len(names) or (packed and len(names) > 1):
        raise DamagedFile(path, f"names {len(names)} files of voxels, into which its {count} bytes do not divide.")
    parts, each = [], count // len(names)
    skip = _whole(path, fields, "headersize", 1, least=-1)[0] if "headersize" in fields else 0
    for name in names:
        other = path.parent / name
        if not other.is_file():
            raise UnsupportedFile(path, f"keeps its voxels in {other}, which does not exist.")
        if packed:
            parts.append(unpacked(other, max(0, skip), each, "zlib"))
            continue
        size = other.stat().st_size
        if size != max(0, skip) + each and skip >= 0:
            raise InvalidInput(f"{other} has {size} bytes; {path} says it has {each} of voxels after {skip} others.")
        parts.append(stored(other, skip if skip >= 0 else max(0, size - each), each))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _names(path: Path, where: str, lines: list[str], slices: int) -> list[str]:
    """The files of the voxels: one, a list in the lines that follow, or a pattern with its first, last and step."""
    words = where.split()
    if words and words[0].upper() == "LIST":
        return [line.strip() for line in lines if line.strip()]
    if "%" in where and len(words) in (1, 3, 4):
        first, last, step = (*map(int, words[1:]), 1)[:3] if len(words) > 2 else (1, slices, 1)
        try:
            return [words[0] % number for number in range(first, last + 1, step)]
        except (TypeError, ValueError):
            raise UnsupportedFile(
                path, f"keeps its voxels in {where[:80]!r}, which is no pattern of file names."
            ) from None
    return [where]


def _geometry(path: Path, fields: dict[str, str], axes: int) -> dict:
    inner = min(axes, 3)
    direction = np.eye(3)
    text = next((fields[key] for key in ("transformmatrix", "rotation", "orientation") if key in fields), None)
    if text is not None:
        matrix = _numbers(path, text, axes * axes, "TransformMatrix").reshape(axes, axes).T
        lengths = np.linalg.norm(matrix[:inner, :inner], axis=0)
        if (lengths == 0).any():
            raise UnsupportedFile(path, "is not usable: its TransformMatrix has an axis of no length.")
        direction[:inner, :inner] = place_of(path, matrix[:inner, :inner], "TransformMatrix")[1]
    origin = next((fields[key] for key in ("offset", "position", "origin") if key in fields), None)
    spacing = fields.get("elementspacing") or fields.get("elementsize")
    place = {"direction": direction, "planar": axes == 2}
    if origin is not None:
        place["origin"] = (*_numbers(path, origin, axes, "Offset"), 0.0)[:3]
    if spacing is not None:
        place["spacing"] = (*_numbers(path, spacing, axes, "ElementSpacing"), 1.0)[:3]
    return place


def _numbers(path: Path, text: str, count: int, name: str) -> np.ndarray:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count:
        raise DamagedFile(path, f"is damaged: its {name} is {text[:60]!r}; it needs {count} numbers.")
    return numbers


def _whole(path: Path, fields: dict[str, str], key: str, count: int, least: int = 1) -> tuple[int, ...]:
    """``count`` integers of a field."""
    words = fields.get(key, "").split()
    if len(words) != count or not all(re.fullmatch(r"-?\d{1,15}", word) and int(word) >= least for word in words):
        twice = "its header says a thing twice, or has no NDims of 2 to 4"
        what = twice if key == "ndims" else f"its {key} is {fields.get(key, '')[:60]!r}; it needs {count} whole numbers"
        raise DamagedFile(path, f"is damaged: {what}.")
    return tuple(map(int, words))


def _yes(text: str) -> bool:
    return text[:1] in ("T", "t", "1", "Y", "y")
