"""Pictures, PNG, JPEG and BMP: whole or refused, upright as viewers show them; masks as PNG that one can see."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import BifsegError, CannotWrite, DamagedFile, UnsupportedFile
from bifseg.imaging.image import Image
from bifseg.io.formats import ReadOptions
from bifseg.io.untrusted import mapped
from bifseg.io.voxels import Content, check_room, unpacking

EXIF = 0x0112  # the tag of the orientation
PNG, JPEG, BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM"
JPEG_SCANS = 100  # each scan of a progressive JPEG costs the time of a whole picture
COLOURS = (  # of labels, in a PNG: distinct on black, for 1, 2, 3...; after the last they begin anew
    (255, 214, 10), (64, 156, 255), (255, 105, 97), (50, 215, 75), (191, 90, 242), (255, 159, 10), (100, 210, 255),
    (255, 55, 95), (172, 142, 104), (215, 215, 215),
)  # fmt: skip
# How a picture (x, y) as it is stored becomes upright: whether its axes change places, then which run backwards.
TURNS = {
    1: (False, 1, 1), 2: (False, -1, 1), 3: (False, -1, -1), 4: (False, 1, -1),
    5: (True, 1, 1), 6: (True, -1, 1), 7: (True, -1, -1), 8: (True, 1, -1),
}  # fmt: skip


def is_png(start: bytes) -> bool:
    """Whether a file that starts so is a PNG."""
    return start.startswith(PNG)


def is_jpeg(start: bytes) -> bool:
    """Whether a file that starts so is a JPEG."""
    return start.startswith(JPEG)


def is_bmp(start: bytes) -> bool:
    """Whether a file that starts so is a BMP."""
    return start.startswith(BMP) and start[6:10] == bytes(4)


def read_picture(path: Path, options: ReadOptions) -> Content:
    """The pixels of a picture (x, y), colours as channels, alpha left out. Nothing tells how large a pixel is.

    Raises InvalidInput for one that is damaged or ends too early, or is none.
    """
    with path.open("rb") as file:
        start = file.read(64)
    whole = {PNG[:2]: _check_png, JPEG[:2]: _check_jpeg, BMP: _check_bmp}.get(start[:2])
    if whole is None:
        raise DamagedFile(path, "is none of the pictures that are read, PNG, JPEG and BMP, or its start is damaged.")
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = _opened(file, start)
            if (count := getattr(picture, "n_frames", 1)) > 1:
                raise UnsupportedFile(path, f"holds {count} pictures, as an animation does; save one of them.")
            deep = start.startswith(PNG) and start[24] == 16 and start[25] != 0
            channels = {0: 1, 4: 2, 2: 3, 6: 4}.get(start[25], 3) if deep else len(picture.getbands())
            check_room(
                path, picture.size, channels * (2 if deep or picture.mode.startswith("I") else 1), options.allowed
            )
            whole(path)
            array = _deep(path, picture.size, channels) if deep else _pixels(picture, start, labels=options.labels)
            orientation = picture.getexif().get(EXIF, 1)
        except (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, zlib.error, EOFError) as error:
            if isinstance(error, BifsegError):
                raise
            reason = "the end of the image is missing" if "truncated" in str(error) else "its data cannot be unpacked"
            raise DamagedFile(path, f"is truncated or damaged: {reason}.") from error
    orientation = orientation if orientation in TURNS else 1
    array = upright(array.swapaxes(0, 1), orientation)
    array.flags.writeable = False
    source = {"exif": orientation} if orientation != 1 else {}
    return Content(array, planar=True, channels=array.shape[2] if array.ndim == 3 else 1, source=source)


def check_plane(path: Path, image: Image) -> None:
    """Refuse to write a volume."""
    if image.shape[2] > 1:
        raise CannotWrite(path, f"PNG holds one plane, and the image has {image.shape[2]}.")


def write_png(path: Path, image: Image, names: Sequence[str] | None = None) -> None:
    """Write one plane, uint8, uint16, uint8 in colours, or floats in [0, 1] as 0 to 255; labels with a colour each.

    A picture that was turned upright is turned back, and says so to those who look at it.
    """
    from PIL import Image as Pillow

    orientation = image.source.get("exif", 1)
    array = _writable(path, laid(image.voxels[:, :, 0], orientation))
    picture = Pillow.fromarray(np.ascontiguousarray(array.swapaxes(0, 1)))
    if names is not None and array.dtype == np.uint8 and array.ndim == 2:
        picture.putpalette([0, 0, 0, *(c for k in range(255) for c in COLOURS[k % len(COLOURS)])])
    about = {}
    if orientation != 1:
        about["exif"] = Pillow.Exif()
        about["exif"][EXIF] = orientation
    picture.save(path, "PNG", compress_level=4, **about)


def _writable(path: Path, array: np.ndarray) -> np.ndarray:
    if array.ndim == 3 and array.dtype != np.uint8:
        raise CannotWrite(path, "PNG is written with colours of 8 bits, and the image's have 16; write .nrrd or .mha.")
    if array.dtype.kind == "f":
        if array.min() < 0 or array.max() > 1:
            raise CannotWrite(path, "floats in a PNG must lie in [0, 1] (to become 0 to 255).")
        return np.rint(array * 255).astype(np.uint8)
    if array.dtype not in (np.uint8, np.uint16):
        raise CannotWrite(path, f"PNG holds uint8, uint16 or floats in [0, 1], not {array.dtype}.")
    return array


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """A picture (x, y, ...) as it is stored, turned as its EXIF orientation says."""
    exchanged, x, y = TURNS[orientation]
    array = array.swapaxes(0, 1) if exchanged else array
    return array[::x, ::y]


def laid(array: np.ndarray, orientation: int) -> np.ndarray:
    """What `upright` undoes."""
    exchanged, x, y = TURNS[orientation]
    array = array[::x, ::y]
    return array.swapaxes(0, 1) if exchanged else array


def _opened(file: Any, start: bytes) -> Any:
    """A picture of Pillow's, by the one of its readers that belongs to the content."""
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin

    if start.startswith(PNG):
        return PngImagePlugin.PngImageFile(file)
    return (JpegImagePlugin.JpegImageFile if start.startswith(JPEG) else BmpImagePlugin.BmpImageFile)(file)


def _pixels(picture: Any, start: bytes, *, labels: bool) -> np.ndarray:
    """(rows, columns) or (rows, columns, 3)."""
    few = start[24] if start.startswith(PNG) and start[25] == 0 and start[24] in (2, 4) else 0
    if picture.mode == "P" and not labels:
        return np.array(picture.convert("RGB"))
    if picture.mode in ("LA", "La"):
        return np.array(picture.getchannel(0))
    if picture.mode == "1":
        return np.array(picture).astype(np.uint8)
    if picture.mode not in ("L", "P", "I;16", "I;16B"):
        return np.array(picture.convert("RGB"))
    array = np.array(picture)
    return array // (85 if few == 2 else 17) if few else array  # Pillow spreads 2 and 4 bits over 8


def _deep(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """The pixels of a PNG of several channels of 16 bits, of which Pillow keeps 8: proven whole, then read by ITK."""
    from bifseg.io.itk import sitk

    if channels == 2:  # which SimpleITK has no name for
        raise UnsupportedFile(path, "is a PNG of 2 channels of 16 bits; save it with 8, or in grey.")
    try:
        itk = sitk().ReadImage(str(path), imageIO="PNGImageIO")
    except RuntimeError as error:
        raise OSError("its data cannot be unpacked") from error
    array = sitk().GetArrayFromImage(itk)
    if array.shape != (size[1], size[0], channels) or array.dtype != np.uint16:
        raise UnsupportedFile(path, f"is a PNG of {channels} channels of 16 bits; save it with 8, or in grey.")
    return array[..., 0] if channels == 2 else array[..., :3]


def _check_png(path: Path) -> None:
    """Refuse a PNG whose parts do not add up to the file, or whose pixels unpack to another number of bytes."""
    size, place, data, ended = path.stat().st_size, 8, [], False
    with mapped(path) as content:
        while place + 12 <= size and not ended:
            length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
            if place + 12 + length > size:
                break
            if kind == b"IDAT":
                data.append((place + 8, length))
            ended, place = kind == b"IEND", place + 12 + length
        if not ended:
            raise DamagedFile(path, "is truncated or damaged: its last part is longer than the file.")
        width, height = int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
        bits = content[24] * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(content[25], 0)
        if content[12:16] != b"IHDR" or not (width and height and bits):
            raise DamagedFile(path, "is damaged: its header is none of a PNG.")
        expected = sum(h * (1 + (w * bits + 7) // 8) for w, h in _passes(width, height, content[28]) if w and h)
        if expected > 1100 * sum(length for _, length in data):
            raise DamagedFile(path, f"is truncated: {sum(length for _, length in data)} bytes cannot hold its pixels.")
        try:
            size = sum(map(len, unpacking(_Joined(content, data), "zlib")))
        except (zlib.error, EOFError) as error:
            raise DamagedFile(path, "is truncated or damaged: its pixels cannot be unpacked.") from error
    if size < expected:
        raise DamagedFile(path, f"is truncated: its pixels unpack to {size} of {expected} bytes.")


def _passes(width: int, height: int, interlaced: int) -> list[tuple[int, int]]:
    """The pictures, wide and high, that a PNG is made of: seven where it is interlaced."""
    if not interlaced:
        return [(width, height)]
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    return [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in steps]


class _Joined:
    """Parts of a content, read as one."""

    def __init__(self, content: Any, parts: list[tuple[int, int]]) -> None:
        self._pieces = (
            content[at : min(at + (1 << 20), start + length)]
            for start, length in parts
            for at in range(start, start + length, 1 << 20)
        )

    def read(self, size: int, /) -> bytes:
        return next(self._pieces, b"")


def _check_jpeg(path: Path) -> None:
    """Refuse a JPEG without its end, or with very many scans."""
    with mapped(path) as data:
        # In the entropy-coded data after the last "start of scan", FF D9 can only be the end of the image.
        whole, scans, place = data.find(b"\xff\xd9", max(0, data.rfind(b"\xff\xda"))) >= 0, 0, 0
        while scans <= 10 * JPEG_SCANS and (place := data.find(b"\xff\xda", place) + 1):
            scans += 1
    if not whole:
        raise DamagedFile(path, "is truncated: the end of the image is missing.")
    if scans > JPEG_SCANS:
        raise UnsupportedFile(path, f"is a JPEG of {scans} scans; at most {JPEG_SCANS} are allowed.")


def _check_bmp(path: Path) -> None:
    """Refuse a BMP that holds fewer bytes than its rows need, or rows that leave pixels out."""
    with path.open("rb") as file:
        head = file.read(54).ljust(54, b"\0")
    core = int.from_bytes(head[14:18], "little") == 12
    fields = (head[18:20], head[20:22], head[24:26]) if core else (head[18:22], head[22:26], head[28:30])
    width, height, bits = (int.from_bytes(field, "little", signed=True) for field in fields)
    offset = int.from_bytes(head[10:14], "little")
    if not core and int.from_bytes(head[30:34], "little") not in (0, 3, 6):
        raise DamagedFile(path, "is a packed BMP; save it as PNG.")
    if width <= 0 or height == 0 or bits not in (1, 4, 8, 16, 24, 32) or offset < 26:
        raise DamagedFile(path, "is damaged: its header is none of a BMP.")
    expected, size = offset + (width * bits + 31) // 32 * 4 * abs(height), path.stat().st_size
    if size < expected:
        raise DamagedFile(path, f"is truncated: the end of the image is missing; it has {size} of {expected} bytes.")
