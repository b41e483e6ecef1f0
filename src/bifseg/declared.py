"""What a file says of itself before anything in it is unpacked: enough to refuse one that wants too much."""

from __future__ import annotations

import math
import mmap
import re
import struct
from pathlib import Path

HEAD = 1 << 16  # bytes in which a text header must end
NRRD_LINE = 400  # characters; ITK quotes a bad line into 1024 of them, whatever its length
JPEG_SCANS = 100  # each scan of a progressive JPEG costs the time of a whole picture
DICOM_DEPTH = 100  # of sequences and items; GDCM follows them by recursion, and at 20,000 its stack is full
# No TIFF: libtiff follows pages in a circle, and small files had it work for 15 s in 5 GiB.
ONE_FILE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".bmp", ".dcm", ".zip")


class TooLargeError(ValueError):
    """The file holds, or says that it holds, more than is allowed."""


def check_single(path: Path) -> None:
    """Refuse a file that is made of others, by its format or by what its header says: they could lead anywhere."""
    name = path.name.lower()
    if not name.endswith(ONE_FILE):
        raise ValueError(f"{path} is of a kind that cannot be uploaded; possible are {', '.join(ONE_FILE)}.")
    if name.endswith(".nrrd"):
        _check_nrrd(path)
    elif name.endswith(".mha"):
        _check_mha(path)
    elif name.endswith(".png"):
        _check_png(path)
    elif name.endswith((".jpg", ".jpeg")):
        with mapped(path) as data:
            scans = sum(1 for _ in re.finditer(rb"\xff\xda", data))
        if scans > JPEG_SCANS:
            raise ValueError(f"{path} is a JPEG of {scans} scans; at most {JPEG_SCANS} are allowed.")


def check_extent(path: Path, shape: tuple[int, ...], voxel: int, voxels: int, limit: int) -> None:
    """Refuse more voxels or bytes than are allowed; ``voxel``: bytes of one."""
    count = 1
    for n in shape:
        count *= int(n)
    if count > voxels or count * voxel > limit:
        extent = " x ".join(map(str, shape))
        raise TooLargeError(
            f"{path} says it has {extent} voxels of {voxel} bytes; "
            f"at most {voxels / 1e6:.4g} million voxels and {limit / 2**30:.3g} GiB are allowed."
        )


def _check_nrrd(path: Path) -> None:
    """Refuse a NRRD that leads to another file, skips bytes, or has a line too long for ITK."""
    fields = set()
    for line in _head(path, b"\n\n", b"\r\n\r\n").splitlines():
        field, _, value = line.partition(b":")
        if not line.startswith(b"#") and not value.startswith(b"="):  # no comment, and no "key:=value" of any length
            fields.add(field.lower().replace(b" ", b""))
            if len(line) > NRRD_LINE:
                raise ValueError(f"{path} is damaged: its header has a line of more than {NRRD_LINE} characters.")
    if b"datafile" in fields:
        raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one NRRD.")
    if fields & {b"byteskip", b"lineskip"}:  # they are unpacked all the same
        raise ValueError(f"{path} skips bytes before its voxels; save it without a byte skip or a line skip.")


def _check_mha(path: Path) -> None:
    """Refuse a MetaImage that leads to another file, or has MetaIO write beyond its tables, which have no bounds."""
    _head(path, b"ElementDataFile")
    with path.open("rb") as file:
        start = file.read(HEAD)
    place = re.search(rb"^ElementDataFile *= *LOCAL *\r?$", start, re.M | re.I)
    # Named once: in a comment, or after numbers that go on over lines, the field could mean two places.
    if not place or start.lower().count(b"elementdatafile") != 1:
        raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one MHA.")
    lines = start[: place.start()].splitlines()
    if not all(re.fullmatch(rb"[A-Za-z]\w{,99} *= *[^\0-\x1f]{,3000}", line) for line in lines):
        raise ValueError(f"{path} is damaged: its header has lines that are not of the form Key = value.")
    names = [line.partition(b"=")[0].strip() for line in lines]
    axes = lines[names.index(b"NDims")].partition(b"=")[2].strip() if b"NDims" in names else b""
    if len(set(names)) < len(names) or axes not in (b"2", b"3", b"4"):
        raise ValueError(f"{path} is damaged: its header says a thing twice, or has no NDims of 2 to 4.")


def _check_png(path: Path) -> None:
    """Refuse a PNG with a chunk longer than the file: libpng makes room for what it says."""
    size, place = path.stat().st_size, 8
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            place += 12 + int.from_bytes(file.read(4), "big")  # its length, its name, its content, a checksum
    if place != size:
        raise ValueError(f"{path} is damaged: its last part is longer than the file.")


def check_listing(path: Path, files: int) -> None:
    """Refuse an archive that lists too many files: the whole list is read before the first of them."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 98))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        return  # no archive, as zipfile will say
    count, size = struct.unpack("<HI", tail[at + 10 : at + 16])
    if at >= 76 and tail[at - 20 : at].startswith(b"PK\6\7"):  # Zip64: larger numbers stand before
        count, size = struct.unpack("<QQ", tail[at - 44 : at - 28])
    if count > files or size > 512 * files:
        raise TooLargeError(f"{path} lists {count} files in {size} bytes; at most {files} files are allowed.")


def mapped(path: Path) -> mmap.mmap:
    """The bytes of a file that is not empty, without room for them."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _head(path: Path, *ends: bytes) -> bytes:
    """A text header: all up to the first of the marks and the line it is in; ValueError where there is none."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = [place for place in (head.find(end) for end in ends) if place >= 0]
    if not found:
        raise ValueError(f"{path} is damaged: its header has no end.")
    end = head.find(b"\n", min(found) + 1)
    return head[: end if end >= 0 else len(head)]


VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())  # their length has four bytes
PIXELS, ITEM, DELIMITERS = (0x7FE0, 0x0010), (0xFFFE, 0xE000), ((0xFFFE, 0xE00D), (0xFFFE, 0xE0DD))
FRAMES = (0x28, 0x08)
SIZES = ((0x28, 0x02), FRAMES, (0x28, 0x10), (0x28, 0x11), (0x28, 0x100))  # channels, frames, rows, columns, bits
UNDEFINED = 0xFFFFFFFF
IMPLICIT, BIG, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def check_dicom(path: Path, name: Path) -> None:
    """Refuse a DICOM file with an element longer than the file: readers make room for what it says. Errors speak of
    ``name``."""
    with mapped(path) as data:
        if data[128:132] != b"DICM":
            raise ValueError(f"{name} is no DICOM file: it has no DICM at its 129th byte.")
        try:
            syntax, place = None, 132
            while data[place : place + 2] == b"\x02\x00":  # the first group is always explicit, little-endian
                tag, start, length, _ = _element(data, place, True, "<")
                place = start + length
                if tag == (2, 0x10):
                    syntax = data[start:place].rstrip(b"\0 ")
                if place > len(data):
                    raise ValueError("an element is longer than the file")
            if syntax == DEFLATED:
                raise ValueError("it is deflated; save it in another transfer syntax")
            plane = _walk(data, place, syntax != IMPLICIT, ">" if syntax == BIG else "<")
            for stream in re.finditer(rb"\xff\x4f\xff\x51.{4}", data, re.S):  # JPEG 2000: room is made for what it says
                width, height = struct.unpack_from(">II", data, stream.end())
                if width * height > plane:
                    raise ValueError(f"its compressed pixels are {width} x {height}, more than its header says")
        except (ValueError, struct.error) as error:
            raise ValueError(f"{name} is damaged: {error}.") from None


def _walk(data: mmap.mmap, place: int, explicit: bool, order: str) -> int:
    """Go through all elements, those in sequences, too; returns the pixels of a plane."""
    item = struct.pack(f"{order}HH", *ITEM)
    in_pixels, unknown = False, 0  # ``unknown``: how deep in a sequence of unknown kind, which is implicit inside
    ends: list[float] = []  # of the sequences and items around ``place``; infinite where a delimiter ends them
    sizes = dict.fromkeys(SIZES, 1)
    pixels = None
    while place < len(data):
        while ends and ends[-1] <= place:
            ends.pop()
        tag, start, length, kind = _element(data, place, explicit and not unknown, order)
        if length == UNDEFINED:
            in_pixels, place = tag == PIXELS or in_pixels, start
            unknown += kind == b"UN" or (unknown > 0 and tag != ITEM)
            ends.append(math.inf)
        elif start + length > len(data):
            raise ValueError(f"its element {tag[0]:04x},{tag[1]:04x} is longer than the file")
        else:
            if tag in DELIMITERS and ends and ends[-1] == math.inf:  # a delimiter in a value ends nothing around it
                ends.pop()
            if tag == DELIMITERS[1]:
                in_pixels, unknown = False, max(0, unknown - 1)
            if not ends and tag in SIZES:
                sizes[tag] = max(sizes[tag], _number(data[start : start + length], tag, order))
            if not ends and tag == PIXELS:
                pixels = length if pixels is None else min(pixels, length)
            sequence = kind == b"SQ" or (length >= 8 and tag != PIXELS and data[start : start + 4] == item)
            nested = not in_pixels and (tag == ITEM or sequence)
            place = start if nested else start + length
            if nested:
                ends.append(start + length)
        if len(ends) > DICOM_DEPTH:
            raise ValueError(f"its sequences are more than {DICOM_DEPTH // 2} deep")
    if pixels is not None and pixels < math.prod(sizes.values()) // 8:
        raise ValueError(f"it holds {pixels} of {math.prod(sizes.values()) // 8} bytes of pixels")
    return sizes[0x28, 0x10] * sizes[0x28, 0x11]


def _number(value: bytes, tag: tuple[int, int], order: str) -> int:
    """The first number of an element: text in that of frames, else two bytes."""
    if tag == FRAMES:
        text = value.split(b"\\")[0].strip(b" \0")
        return int(text) if text.isdigit() else 1
    return struct.unpack_from(f"{order}H", value)[0]


def _element(data: mmap.mmap, place: int, explicit: bool, order: str) -> tuple[tuple[int, int], int, int, bytes]:
    """An element's tag, where its value starts, how long it is, and its kind, where it says that."""
    tag = struct.unpack_from(f"{order}HH", data, place)
    if tag == ITEM or tag in DELIMITERS or not explicit:
        return tag, place + 8, struct.unpack_from(f"{order}I", data, place + 4)[0], b""
    kind = data[place + 4 : place + 6]
    if kind not in VRS:
        raise ValueError(f"its element {tag[0]:04x},{tag[1]:04x} is of no known kind")
    if kind in LONG:
        return tag, place + 12, struct.unpack_from(f"{order}I", data, place + 8)[0], kind
    return tag, place + 8, struct.unpack_from(f"{order}H", data, place + 6)[0], kind
