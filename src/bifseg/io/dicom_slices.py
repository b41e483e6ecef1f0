"""One DICOM file: what its header says of each of its frames, and the numbers that are stored for them."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bifseg.errors import BifsegError, DamagedFile, UnsupportedFile
from bifseg.io.itk import sitk
from bifseg.io.untrusted import mapped
from bifseg.io.voxels import stored

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", BIG)
JPEG2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
JPEG = tuple(f"1.2.840.10008.1.2.4.{k}" for k in (50, 51, 57, 70, 80, 81))
PIXELS = {0x7FE00010: "", 0x7FE00008: "f4", 0x7FE00009: "f8"}
KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "Modality",
    "InstanceNumber", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelSpacing",
    "ImagerPixelSpacing", "SliceThickness", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    "GridFrameOffsetVector", "DoseGridScaling", "SpecificCharacterSet",
)  # fmt: skip
DAMAGE = (  # what pydicom and ITK may raise of a damaged file
    OSError, LookupError, AttributeError, EOFError, TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError,
    struct.error,
)  # fmt: skip
TYPES = {(8, 0): "u1", (8, 1): "i1", (16, 0): "u2", (16, 1): "i2", (32, 0): "u4", (32, 1): "i4"}


class NoImage(UnsupportedFile):
    """A file that is DICOM, and no image: a report, a plan, a directory."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane of a file. ``position``: mm, LPS; ``orientation``: of its rows and columns, (6,); ``spacing``: mm along
    x and y; each None where the file does not tell."""

    file: Slice
    index: int
    position: np.ndarray | None
    orientation: np.ndarray | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class Slice:
    """A DICOM file, its header read and its pixels not. ``name``: what errors call it."""

    path: Path
    name: str
    header: Any
    syntax: str
    at: int  # where the value of its pixels begins
    length: int  # bytes of it; 2^32 - 1 where they are packed
    floating: str

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
    def frames(self) -> list[Frame]:
        """Its planes as they are stored; InvalidInput where several do not say where each lies."""
        try:
            return list(_frames(self))
        except (TypeError, AttributeError, IndexError, KeyError, OverflowError) as error:
            raise DamagedFile(self.name, "is damaged: its header holds values that are none.") from error

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
            wanted = self.count * self.size[0] * self.size[1] * self.samples * self.dtype.itemsize
            if self.header.get("PhotometricInterpretation") == "YBR_FULL_422":
                wanted = wanted * 2 // 3
            found = min(self.length, max(0, size - self.at))
            if found < wanted:
                raise DamagedFile(self.name, f"is truncated: it holds {found} of {wanted} bytes of pixels.")
        elif self.length != 0xFFFFFFFF and self.at + self.length > size:
            raise DamagedFile(self.name, "is truncated: its pixels reach beyond its end.")

    def pixels(self) -> Iterator[np.ndarray]:
        """The numbers stored for each frame, in turn, (rows, columns) or (rows, columns, 3)."""
        self.check_pixels()
        try:
            if self.samples > 1 or self.header.get("PhotometricInterpretation") == "PALETTE COLOR":
                yield from self._colours()
            elif self.syntax in NATIVE:
                columns, rows = self.size
                each = columns * rows * self.dtype.itemsize
                for k in range(self.count):
                    plane = stored(self.path, self.at + k * each, each).view(self.dtype).reshape(rows, columns)
                    yield self._meant(plane.astype(self.dtype.newbyteorder("="), copy=False))
            elif self.syntax == RLE:
                yield from map(self._meant, self._by_pydicom())
            else:
                yield from (self._meant(self._unpacked(data)) for data in self._packed())
        except DAMAGE as error:
            if isinstance(error, BifsegError):
                raise
            raise DamagedFile(self.name, "is truncated or damaged: its pixels cannot be unpacked.") from error

    def _meant(self, plane: np.ndarray) -> np.ndarray:
        """Without what lies in the bits above those that are stored, which once were overlays."""
        spare = plane.dtype.itemsize * 8 - self.bits
        if self.floating or not spare or self.integer("HighBit", self.bits - 1) != self.bits - 1:
            return plane
        return plane << spare >> spare

    def _packed(self) -> Iterator[bytes]:
        """The packed bytes of each frame, each checked for its size and its end."""
        from pydicom.encaps import generate_frames

        if self.syntax not in (*JPEG, *JPEG2000):
            raise UnsupportedFile(
                self.name, f"is compressed in a way that is not read, {self.syntax}; save it uncompressed."
            )
        with mapped(self.path) as data:
            whole = data[self.at :] if self.length == 0xFFFFFFFF else data[self.at : self.at + self.length]
        number = 0
        for frame in generate_frames(whole, number_of_frames=self.count):
            number += 1
            self._check_stream(frame)
            yield frame
        if number != self.count:
            raise DamagedFile(self.name, f"is truncated: it holds {number} of {self.count} frames.")

    def _check_stream(self, frame: bytes) -> None:
        """Refuse a packed frame without its end, or of another size than the header's, for room is made for it."""
        if frame.rfind(b"\xff\xd9", max(0, len(frame) - 8)) < 0:  # a little padding may follow
            raise DamagedFile(self.name, "is truncated: the end of its compressed pixels is missing.")
        size = _j2k_size(frame) if self.syntax in JPEG2000 else _jpeg_size(frame)
        if size != self.size:
            said = "nothing of their size" if size is None else f"that they are {size[0]} x {size[1]}"
            more = size is not None and size[0] * size[1] > self.size[0] * self.size[1]
            raise DamagedFile(
                self.name,
                f"is damaged: its compressed pixels say {said}, {'more' if more else 'other'} than its header says.",
            )

    def _unpacked(self, frame: bytes) -> np.ndarray:
        """One packed frame, by ITK, which sees nothing of the file but this."""
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.encaps import encapsulate

        bare = Dataset()
        bare.file_meta = FileMetaDataset()
        bare.file_meta.TransferSyntaxUID = self.syntax
        bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
        bare.Rows, bare.Columns, bare.SamplesPerPixel = self.size[1], self.size[0], self.samples
        bare.PhotometricInterpretation = self.header.PhotometricInterpretation if self.samples > 1 else "MONOCHROME2"
        if self.samples > 1:
            bare.PlanarConfiguration = self.integer("PlanarConfiguration", 0)
        bare.BitsAllocated, bare.BitsStored = self.dtype.itemsize * 8, self.bits
        bare.HighBit, bare.PixelRepresentation = self.bits - 1, self.integer("PixelRepresentation", 0)
        bare.PixelData = encapsulate([frame])
        bare["PixelData"].is_undefined_length = True
        with TemporaryDirectory() as folder:
            path = Path(folder, "a.dcm")
            bare.save_as(path, enforce_file_format=True)
            array = sitk().GetArrayFromImage(sitk().ReadImage(str(path), imageIO="GDCMImageIO"))
        shape = self.size[::-1] if self.samples == 1 else (*self.size[::-1], self.samples)
        array = array.reshape(shape) if array.size == np.prod(shape) else array
        if array.shape != shape or array.dtype.itemsize > self.dtype.itemsize:
            raise DamagedFile(self.name, "is damaged: its compressed pixels are not of the size that its header says.")
        return array.astype(self.dtype.newbyteorder("="), copy=False)

    def _by_pydicom(self) -> np.ndarray:
        """All frames, unpacked by pydicom: (frames, rows, columns[, channels])."""
        from pydicom import dcmread
        from pydicom.pixels import apply_color_lut

        with mapped(self.path) as data, warnings.catch_warnings():  # of a file it makes room for what a length says
            warnings.simplefilter("ignore")
            content = dcmread(data, force=True)
            array = content.pixel_array
            if content.PhotometricInterpretation == "PALETTE COLOR":
                array = (apply_color_lut(array, content) >> 8).astype(np.uint8)
        return array if self.count > 1 else array[None]

    def _colours(self) -> Iterator[np.ndarray]:
        packed = list(self._packed()) if self.syntax in (*JPEG, *JPEG2000) else []  # each of them whole
        try:
            array = self._by_pydicom()
        except RuntimeError:  # it has nobody to unpack them
            if not packed or self.samples == 1:
                raise
            array = np.stack([self._unpacked(frame) for frame in packed])
        if array.shape != (self.count, *self.size[::-1], 3):
            raise UnsupportedFile(self.name, f"holds {array.shape} numbers; give one channel, or RGB colours.")
        yield from array


def read_slice(path: Path, name: str) -> Slice:
    """A DICOM file by its header, with or without the DICM that most begin with.

    Raises NoImage for DICOM that is no image, InvalidInput for what is damaged.
    """
    from pydicom import dcmread
    from pydicom.datadict import tag_for_keyword
    from pydicom.errors import BytesLengthException, InvalidDicomError

    with mapped(path) as data, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if DEFLATED.encode() in data[:2048]:
            raise DamagedFile(name, "is damaged: it is deflated; save it in another transfer syntax.")
        try:
            header = dcmread(
                data, stop_before_pixels=True, force=True, specific_tags=[tag_for_keyword(word) for word in KEYWORDS]
            )
            meta = header.file_meta if hasattr(header, "file_meta") else {}
            syntax = str(meta.get("TransferSyntaxUID") or "")
            implicit, little = header.original_encoding
            at, length, floating = _pixel_element(data, data.tell(), little=little is not False)
            for _ in header:
                pass  # that a value can be made of each is known now
            kind = str(header.get("SOPClassUID") or (meta.get("MediaStorageSOPClassUID") if meta else "") or "")
        except RecursionError:
            raise DamagedFile(name, "is damaged: its sequences are too deep.") from None
        except (InvalidDicomError, BytesLengthException, *DAMAGE) as error:
            raise DamagedFile(name, "is truncated or damaged: it is no DICOM file that can be read.") from error
    if at is None or "Rows" not in header:
        if _is_image_class(kind) or not kind:
            raise DamagedFile(name, "is truncated or damaged: its pixels are missing.")
        raise NoImage(name, "is DICOM, but no image.")
    if not syntax:
        syntax = NATIVE[0] if implicit else NATIVE[1] if little is not False else BIG
    return Slice(path, name, header, syntax, at, length, floating)


def is_bare_dicom(start: bytes) -> bool:
    """Whether a file may be DICOM without preamble: it begins with an element of the groups 2 or 8, of few bytes."""
    if len(start) < 8:
        return False
    group, _ = struct.unpack_from("<HH", start)
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    length = struct.unpack_from("<H", start, 6)[0] if explicit else struct.unpack_from("<I", start, 4)[0]
    return group in (2, 8) and length < 1024


def _pixel_element(data: Any, at: int, *, little: bool) -> tuple[int | None, int, str]:
    """Where the value of the pixels begins, its length, and the type of such as are floating."""
    order = "<" if little else ">"
    start = data[at : at + 12]
    if len(start) < 8:
        return None, 0, ""
    tag = int.from_bytes(start[:2], "little" if little else "big") << 16 | struct.unpack_from(f"{order}H", start, 2)[0]
    if tag not in PIXELS:
        return None, 0, ""
    if start[4:6] not in (b"OB", b"OW", b"OF", b"OD", b"UN"):  # some files are implicit and say that they are not
        return at + 8, struct.unpack_from(f"{order}I", start, 4)[0], PIXELS[tag]
    return at + 12, struct.unpack_from(f"{order}I", start, 8)[0], PIXELS[tag]


def _is_image_class(uid: str) -> bool:
    from pydicom.uid import UID

    return "Image Storage" in UID(uid).name or UID(uid).name in ("RT Dose Storage", "Segmentation Storage")


def _frames(file: Slice) -> Iterator[Frame]:
    header = file.header
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if file.count > 1 and groups and len(groups) != file.count:
        raise DamagedFile(file.name, f"is damaged: it describes {len(groups)} of its {file.count} frames.")
    offsets = header.get("GridFrameOffsetVector")
    for k in range(file.count):
        own = groups[k] if groups else None

        def said(sequence: str, keyword: str, own: Any = own) -> Any:
            for group in (own, shared):
                items = group.get(sequence) if group is not None else None
                if items and items[0].get(keyword) not in (None, ""):
                    return items[0].get(keyword)
            return header.get(keyword)

        position = numbers_of(file, said("PlanePositionSequence", "ImagePositionPatient"), 3)
        orientation = numbers_of(file, said("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
        if file.count > 1 and not groups:
            if offsets is None or position is None or orientation is None or len(offsets) != file.count:
                raise UnsupportedFile(
                    file.name,
                    f"has {file.count} frames and does not say where each lies, as a film; give one frame of it.",
                )
            normal = np.cross(orientation[:3], orientation[3:])
            position = position + (_number(file, offsets[k], 0.0) - _number(file, offsets[0], 0.0)) * normal
        spacing = numbers_of(file, said("PixelMeasuresSequence", "PixelSpacing"), 2)
        thickness = said("PixelMeasuresSequence", "SpacingBetweenSlices") or said(
            "PixelMeasuresSequence", "SliceThickness"
        )
        slope = said("PixelValueTransformationSequence", "RescaleSlope")
        intercept = said("PixelValueTransformationSequence", "RescaleIntercept")
        if header.get("Modality") == "RTDOSE":
            slope, intercept = header.get("DoseGridScaling"), 0
        values = [_number(file, value, default) for value, default in ((slope, 1.0), (intercept, 0.0))]
        yield Frame(
            file, k, position, orientation, None if spacing is None else (float(spacing[1]), float(spacing[0])),
            abs(_number(file, thickness, 0.0)) or None, *values,
        )  # fmt: skip


def numbers_of(file: Slice, value: Any, count: int) -> np.ndarray | None:
    if value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0):
        return None
    try:
        numbers = np.array([float(v) for v in value])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DamagedFile(file.name, f"is damaged: its header holds {str(value)[:60]!r} where {count} numbers belong.")
    return numbers


def _number(file: Slice, value: Any, default: float) -> float:
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise DamagedFile(file.name, f"is damaged: its header holds {str(value)[:60]!r} where a number belongs.")
    return number


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Columns and rows that a JPEG or JPEG-LS says it has."""
    place = 2
    while place + 9 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in (0xF7, *range(0xC0, 0xD0)) and marker not in (0xC4, 0xC8, 0xCC):
            rows, columns = struct.unpack_from(">HH", frame, place + 5)
            return columns, rows
        else:
            place += 2 + struct.unpack_from(">H", frame, place + 2)[0]
    return None


def _j2k_size(frame: bytes) -> tuple[int, int] | None:
    """Columns and rows that a JPEG 2000 says it has, by its first marker after the start."""
    at = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or len(frame) < at + 24:
        return None
    right, lower, left, upper = struct.unpack_from(">IIII", frame, at + 8)
    return right - left, lower - upper
