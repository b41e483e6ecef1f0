"""The pixels of a DICOM file: the numbers that are stored for each of its frames, unpacked and proven whole."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bifseg.errors import BifsegError, DamagedFile, UnsupportedFile
from bifseg.io.dicom_file import DAMAGE, NATIVE, RLE, DicomFile
from bifseg.io.itk import sitk
from bifseg.io.untrusted import mapped
from bifseg.io.voxels import stored

JPEG2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
JPEG = tuple(f"1.2.840.10008.1.2.4.{k}" for k in (50, 51, 57, 70, 80, 81))


def planes_of(file: DicomFile) -> Iterator[np.ndarray]:
    """The numbers stored for each frame, in turn, (rows, columns) or (rows, columns, 3)."""
    file.check_pixels()
    try:
        if file.coloured:
            yield from _colours(file)
        elif file.syntax in NATIVE and not file.exchanged:
            columns, rows = file.size
            each = columns * rows * file.dtype.itemsize
            for k in range(file.count):
                plane = stored(file.path, file.at + k * each, each).view(file.dtype).reshape(rows, columns)
                yield _meant(file, plane.astype(file.dtype.newbyteorder("="), copy=False))
        elif file.syntax == RLE or file.exchanged:
            yield from (_meant(file, plane) for plane in _by_pydicom(file))
        else:
            yield from (_meant(file, _unpacked(file, data)) for data in _packed(file))
    except DAMAGE as error:
        if isinstance(error, BifsegError):
            raise
        raise DamagedFile(file.name, "is truncated or damaged: its pixels cannot be unpacked.") from error


def _meant(file: DicomFile, plane: np.ndarray) -> np.ndarray:
    """Without what lies in the bits above and below those that are stored, which once were overlays."""
    all_, packed = plane.dtype.itemsize * 8, file.syntax in (*JPEG, *JPEG2000)
    if file.floating or file.bits == all_:
        return plane
    high = file.bits - 1 if packed else file.high  # what is packed has no bits below
    return plane << (all_ - 1 - high) >> (all_ - file.bits)


def _packed(file: DicomFile) -> Iterator[bytes]:
    """The packed bytes of each frame, each checked for its size and its end."""
    from pydicom.encaps import generate_frames
    from pydicom.uid import UID

    if file.syntax not in (*JPEG, *JPEG2000):
        raise UnsupportedFile(
            file.name, f"is compressed in a way that is not read, {UID(file.syntax).name}; save it uncompressed."
        )
    with mapped(file.path) as data:
        whole = data[file.at :] if file.length == 0xFFFFFFFF else data[file.at : file.at + file.length]
    number = 0
    for frame in generate_frames(whole, number_of_frames=file.count):
        number += 1
        _check_stream(file, frame)
        yield frame
    if number != file.count:
        raise DamagedFile(file.name, f"is truncated: it holds {number} of {file.count} frames.")


def _check_stream(file: DicomFile, frame: bytes) -> None:
    """Refuse a packed frame without its end, or of another size than the header's, for room is made for it."""
    if frame.rfind(b"\xff\xd9", max(0, len(frame) - 8)) < 0:  # a little padding may follow
        raise DamagedFile(file.name, "is truncated: the end of its compressed pixels is missing.")
    size = _j2k_size(frame) if file.syntax in JPEG2000 else _jpeg_size(frame)
    if size != file.size:
        said = "nothing of their size" if size is None else f"that they are {size[0]} x {size[1]}"
        more = size is not None and size[0] * size[1] > file.size[0] * file.size[1]
        raise DamagedFile(
            file.name,
            f"is damaged: its compressed pixels say {said}, {'more' if more else 'other'} than its header says.",
        )


def _unpacked(file: DicomFile, frame: bytes) -> np.ndarray:
    """One packed frame, by ITK, which sees nothing of the file but this."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    bare = Dataset()
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = UID(file.syntax)
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.7")
    bare.SOPInstanceUID = bare.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
    bare.Rows, bare.Columns, bare.SamplesPerPixel = file.size[1], file.size[0], file.samples
    bare.PhotometricInterpretation = file.header.PhotometricInterpretation if file.samples > 1 else "MONOCHROME2"
    if file.samples > 1:
        bare.PlanarConfiguration = file.integer("PlanarConfiguration", 0)
    bare.BitsAllocated, bare.BitsStored = file.dtype.itemsize * 8, file.bits
    bare.HighBit, bare.PixelRepresentation = file.bits - 1, file.integer("PixelRepresentation", 0)
    bare.PixelData = encapsulate([frame])
    bare["PixelData"].is_undefined_length = True
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.dcm")
        bare.save_as(path, enforce_file_format=True)
        array = sitk().GetArrayFromImage(sitk().ReadImage(str(path), imageIO="GDCMImageIO"))
    shape = file.size[::-1] if file.samples == 1 else (*file.size[::-1], file.samples)
    array = array.reshape(shape) if array.size == np.prod(shape) else array
    if array.shape != shape or array.dtype.itemsize > file.dtype.itemsize:
        raise DamagedFile(file.name, "is damaged: its compressed pixels are not of the size that its header says.")
    return array.astype(file.dtype.newbyteorder("="), copy=False)


def _by_pydicom(file: DicomFile) -> np.ndarray:
    """All frames, unpacked by pydicom: (frames, rows, columns[, channels])."""
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut

    with mapped(file.path) as data, warnings.catch_warnings():  # of a file it makes room for what a length says
        warnings.simplefilter("ignore")
        content = dcmread(data, force=True)
        array = content.pixel_array
        if content.PhotometricInterpretation == "PALETTE COLOR":
            array = apply_color_lut(array, content)
            array = (array >> 8).astype(np.uint8) if array.dtype.itemsize > 1 else array
    return array if file.count > 1 else array[None]


def _colours(file: DicomFile) -> Iterator[np.ndarray]:
    packed = list(_packed(file)) if file.syntax in (*JPEG, *JPEG2000) else []  # each of them whole
    try:
        array = _by_pydicom(file)
    except RuntimeError:  # it has nobody to unpack them
        if not packed or file.samples == 1:
            raise
        array = np.stack([_unpacked(file, frame) for frame in packed])
    if array.shape != (file.count, *file.size[::-1], 3):
        raise UnsupportedFile(file.name, f"holds {array.shape} numbers; give one channel, or RGB colours.")
    yield from array


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
