"""One DICOM file: its header, and where in it the pixels lie."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import DamagedFile, UnsupportedFile
from bifseg.io.untrusted import mapped

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
DIRECTORY = "1.2.840.10008.1.3.10"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG)
PIXELS = {0x7FE00010: "", 0x7FE00008: "f4", 0x7FE00009: "f8"}
KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality",
    "InstanceNumber", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelSpacing",
    "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "GridFrameOffsetVector", "DoseGridScaling", "SpecificCharacterSet", "ModalityLUTSequence", "ImageType",
    "PixelAspectRatio",
)  # fmt: skip
DAMAGE = (  # what pydicom and ITK may raise of a damaged file
    OSError, LookupError, AttributeError, EOFError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError,
    struct.error,
)  # fmt: skip
TYPES = {(8, 0): "u1", (8, 1): "i1", (16, 0): "u2", (16, 1): "i2", (32, 0): "u4", (32, 1): "i4"}


LONG = (
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
)  # their length: 4 bytes
SHORT = (
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
    b"ST", b"TM", b"UI", b"UL", b"US",
)  # fmt: skip


class NoImage(UnsupportedFile):
    """A file that is DICOM, and no image: a report, a plan, a directory."""


@dataclass(frozen=True, eq=False)
class DicomFile:
    """A DICOM file, its header read and its pixels not. ``name``: what errors call it."""

    path: Path
    name: str
    header: Any
    syntax: str
    end: int  # of the header: where the element of its pixels begins
    at: int  # where the value of its pixels begins
    length: int  # bytes of it; 2^32 - 1 where they are packed
    floating: str  # number type of pixels that are no integers
    exchanged: bool  # whether each two bytes of the pixels have changed places, though pixels have one

    @property
    def uid(self) -> str:
        return str(self.header.get("SOPInstanceUID", ""))

    @property
    def series(self) -> str:
        return str(self.header.get("SeriesInstanceUID", ""))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.integer("Columns"), self.integer("Rows")

    @cached_property
    def count(self) -> int:
        """How many frames it has."""
        return max(1, self.integer("NumberOfFrames", 1))

    @cached_property
    def samples(self) -> int:
        """How many numbers a pixel has."""
        return self.integer("SamplesPerPixel", 1)

    @cached_property
    def dtype(self) -> np.dtype:
        """Of the numbers as they are stored."""
        if self.floating:
            return np.dtype((">" if self.syntax == BIG else "<") + self.floating)
        bits, sign = self.integer("BitsAllocated"), self.integer("PixelRepresentation", 0)
        if (bits, sign) not in TYPES:
            raise UnsupportedFile(
                self.name, f"has pixels of {bits} bits, which are not read; possible are 8, 16 and 32."
            )
        return np.dtype((">" if self.syntax == BIG else "<") + TYPES[bits, sign])

    @cached_property
    def bits(self) -> int:
        """How many of them mean something."""
        return min(self.integer("BitsStored", self.dtype.itemsize * 8), self.dtype.itemsize * 8)

    @cached_property
    def high(self) -> int:
        """The highest of the bits that mean something; they lie at the lower end of a number but in old files."""
        high = self.integer("HighBit", self.bits - 1)
        return high if self.bits <= high + 1 <= self.dtype.itemsize * 8 else self.bits - 1

    @property
    def coloured(self) -> bool:
        """Whether its pixels are colours, or stand for some."""
        return self.samples > 1 or self.photometric == "PALETTE COLOR"

    @property
    def photometric(self) -> str:
        """What a pixel's numbers mean."""
        return str(self.header.get("PhotometricInterpretation") or "")

    def integer(self, keyword: str, default: int | None = None) -> int:
        """A number of the header; InvalidInput where it is missing and there is no ``default``."""
        try:
            value = self.header.get(keyword)
            if value is None or value == "":
                value = default
            number = int(value)
            if number < 0 or (number == 0 and keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")):
                raise ValueError
        except (TypeError, ValueError):
            raise DamagedFile(self.name, f"is damaged: its header lacks {keyword}.") from None
        return number

    def check_pixels(self) -> None:
        """Refuse a file whose pixels are not all there."""
        size = self.path.stat().st_size
        if self.syntax in NATIVE:
            expected = self.count * self.size[0] * self.size[1] * self.samples * self.dtype.itemsize
            if self.photometric == "YBR_FULL_422":
                expected = expected * 2 // 3
            held = min(self.length, max(0, size - self.at))
            if held < expected:
                raise DamagedFile(self.name, f"is truncated: it holds {held} of {expected} bytes of pixels.")
        elif self.length != 0xFFFFFFFF and self.at + self.length > size:
            raise DamagedFile(self.name, "is truncated: its pixels reach beyond its end.")


def read_file(path: Path, name: str) -> DicomFile:
    """A DICOM file by its header, with or without the DICM that most begin with.

    Raises NoImage for DICOM that is no image, InvalidInput for what is damaged.
    """
    from pydicom import dcmread
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with mapped(path) as data, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if DEFLATED.encode() in data[:2048]:
            raise UnsupportedFile(
                name, "is deflated as a whole, which is not read; save it in another transfer syntax."
            )
        try:
            header = dcmread(data, stop_before_pixels=True, force=True, specific_tags=list(KEYWORDS))
            meta: Any = getattr(header, "file_meta", {})
            syntax = str(meta.get("TransferSyntaxUID") or "")
            implicit, little = header.original_encoding
            end = data.tell()
            at, length, tag, kind = _pixel_element(data, end, little=little is not False)
            for _ in header:
                pass  # that a value can be made of each is known now
            sop_class = str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
        except RecursionError:
            raise DamagedFile(name, "is damaged: its sequences are too deep.") from None
        except (InvalidDicomError, BytesLengthException, *DAMAGE) as error:
            raise DamagedFile(name, "is truncated or damaged: it is no DICOM file that can be read.") from error
    if at is None or "Rows" not in header:
        if _is_image_class(sop_class) or not sop_class:
            raise DamagedFile(name, "is truncated or damaged: its pixels are missing.")
        if sop_class == DIRECTORY:
            raise NoImage(
                name, "is a DICOMDIR, a table of contents; give the folder that holds the slices of one series."
            )
        raise NoImage(name, "is DICOM, but no image. It may be a report or a plan.")
    if not syntax:
        syntax = NATIVE[0] if implicit else NATIVE[1] if little is not False else BIG
    exchanged = syntax == BIG and kind == b"OW" and header.get("BitsAllocated") == 8
    return DicomFile(path, name, header, syntax, end, at, length, PIXELS[tag], exchanged)


def is_dicom(start: bytes) -> bool:
    """Whether a file that starts so is DICOM, with or without the DICM that most have."""
    return start[128:132] == b"DICM" or is_bare_dicom(start)


def is_bare_dicom(start: bytes) -> bool:
    """Whether a file begins with elements of DICOM, the first of group 2 or 8, and has no preamble before them."""
    at, previous = 0, 0
    while at + 8 <= len(start):
        group, element = struct.unpack_from("<HH", start, at)
        kind, tag = start[at + 4 : at + 6], group << 16 | element
        if tag <= previous or (not previous and group not in (2, 8)):
            return False
        if kind in SHORT:
            head, length = 8, struct.unpack_from("<H", start, at + 6)[0]
        elif kind in LONG:
            head, length = 12, int.from_bytes(start[at + 8 : at + 12], "little")
        else:  # the transfer syntax without types
            head, length = 8, struct.unpack_from("<I", start, at + 4)[0]
        if not previous and length >= 1024:
            return False
        at, previous = at + head + length, tag
    return previous > 0


def _pixel_element(data: Any, at: int, *, little: bool) -> tuple[int | None, int, int, bytes]:
    """Where the value of the pixels begins, its length, its tag, and its type; None where there is none."""
    order = "<" if little else ">"
    start = data[at : at + 12]
    if len(start) < 8:
        return None, 0, 0, b""
    group, element = struct.unpack_from(f"{order}HH", start)
    tag, kind = group << 16 | element, start[4:6]
    if tag not in PIXELS:
        return None, 0, 0, b""
    if kind not in (b"OB", b"OW", b"OF", b"OD", b"UN"):  # some files are implicit and say that they are not
        return at + 8, struct.unpack_from(f"{order}I", start, 4)[0], tag, b""
    return at + 12, struct.unpack_from(f"{order}I", start, 8)[0], tag, kind


def _is_image_class(uid: str) -> bool:
    from pydicom.uid import UID

    return "Image Storage" in UID(uid).name or UID(uid).name in ("RT Dose Storage", "Segmentation Storage")
