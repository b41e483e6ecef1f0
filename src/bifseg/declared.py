"""What a file says of itself before anything in it is unpacked: enough to refuse one that wants too much."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

HEAD = 1 << 16  # bytes in which a text header must end
ONE_FILE = (".nii.gz", ".nii", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".zip")


class TooLargeError(ValueError):
    """The file holds, or says that it holds, more than is allowed."""


def check_single(path: Path) -> None:
    """Refuse a file that is made of others, by its format or by what its header says: they could lead anywhere."""
    name = path.name.lower()
    if not name.endswith(ONE_FILE):
        raise ValueError(f"{path} is of a kind that cannot be uploaded; possible are {', '.join(ONE_FILE)}.")
    if name.endswith(".nrrd"):
        fields = [line.partition(b":")[0] for line in _head(path, b"\n\n", b"\r\n\r\n").lower().splitlines()]
        if {field.replace(b" ", b"") for field in fields} & {b"datafile"}:
            raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one NRRD.")
    elif name.endswith(".mha"):
        head = _head(path, b"ElementDataFile")
        value = head[head.find(b"ElementDataFile") :].partition(b"=")[2].split(b"\n")[0].strip()
        if value.upper() != b"LOCAL":
            raise ValueError(f"{path} keeps its voxels in another file; save header and voxels as one MHA.")
    elif name.endswith(".png"):
        _check_png(path)


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


def _check_png(path: Path) -> None:
    """Refuse a PNG with a chunk longer than the file: libpng makes room for what it says."""
    size, place = path.stat().st_size, 8
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            place += 12 + int.from_bytes(file.read(4), "big")  # its length, its name, its content, a checksum
    if place != size:
        raise ValueError(f"{path} is damaged: its last part is longer than the file.")


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
UNDEFINED = 0xFFFFFFFF
IMPLICIT, BIG, DEFLATED = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"


def is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def check_dicom(path: Path, name: Path) -> None:
    """Refuse a DICOM file with an element longer than the file: readers make room for what it says. Errors speak of
    ``name``."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
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
            _walk(data, place, syntax != IMPLICIT, ">" if syntax == BIG else "<")
        except (ValueError, struct.error) as error:
            raise ValueError(f"{name} is damaged: {error}.") from None


def _walk(data: mmap.mmap, place: int, explicit: bool, order: str) -> None:
    """Go through all elements, those in sequences, too."""
    item = struct.pack(f"{order}HH", *ITEM)
    in_pixels, unknown = False, 0  # ``unknown``: how deep in a sequence of unknown kind, which is implicit inside
    while place < len(data):
        tag, start, length, kind = _element(data, place, explicit and not unknown, order)
        if length == UNDEFINED:
            in_pixels, place = tag == PIXELS or in_pixels, start
            unknown += kind == b"UN" or (unknown > 0 and tag != ITEM)
            continue
        if start + length > len(data):
            raise ValueError(f"its element {tag[0]:04x},{tag[1]:04x} is longer than the file")
        if tag == DELIMITERS[1]:
            in_pixels, unknown = False, max(0, unknown - 1)
        sequence = kind == b"SQ" or (length >= 8 and tag != PIXELS and data[start : start + 4] == item)
        nested = not in_pixels and (tag == ITEM or sequence)
        place = start if nested else start + length


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
