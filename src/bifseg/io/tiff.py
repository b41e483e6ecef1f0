"""TIFF: one picture or one stack, its pixels upright, its spacing where ImageJ, OME or the resolution tell it."""

from __future__ import annotations

import logging
import lzma
import re
import struct
import xml.etree.ElementTree as xml
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import BifsegError, DamagedFile, MissingExtra, UnsupportedFile
from bifseg.io.formats import ReadOptions
from bifseg.io.pictures import TURNS, upright
from bifseg.io.voxels import Content, check_room

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
NEEDED = 'TIFF needs tifffile, which is not installed: pip install "bifseg[tiff]"'
PLAIN = (1, 8, 32946, 32773, 50013)  # compressions that tifffile unpacks by itself: none, deflate, PackBits
PAGES = 65_536  # that one file may have
MEANINGS = (0, 1, 2, 3)  # of a pixel's numbers: grey, white or black being 0; red, green and blue; an index of colours
PACKED = 5  # LZW, which Pillow unpacks
MILLIMETRES = {
    "m": 1e3, "dm": 100.0, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "\u03bcm": 1e-3, "micron": 1e-3,
    "microns": 1e-3, "micrometer": 1e-3, "millimeter": 1.0, "centimeter": 10.0, "nm": 1e-6, "nanometer": 1e-6,
    "å": 1e-7, "pm": 1e-9, "inch": 25.4, "in": 25.4,
}  # fmt: skip
DAMAGE = (  # what reading a damaged file may raise
    OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError, EOFError, AttributeError, ArithmeticError,
    AssertionError, SyntaxError, xml.ParseError, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
WORDS = {"T": "times", "C": "channels", "H": "channels", "R": "resolutions", "I": "images", "Q": "other images"}


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF."""
    return start.startswith(MAGIC)


def read_tiff(path: Path, options: ReadOptions) -> Content:
    """The pixels of a TIFF: a plane, or a stack of planes of one kind.

    Raises InvalidInput for several channels, times or kinds of planes, of which one is asked for; for what is damaged;
    and for compressions other than deflate, LZW and PackBits. ImportError where tifffile is missing.
    """
    try:
        import tifffile
    except ImportError:
        raise MissingExtra(NEEDED) from None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what it then raises
    try:
        check_pages(path)
        with tifffile.TiffFile(path) as file:
            return _read(file, path, options)
    except (tifffile.TiffFileError, *DAMAGE) as error:
        if isinstance(error, BifsegError):
            raise
        raise DamagedFile(path, "is truncated or damaged: it is no TIFF that can be read.") from error


def check_pages(path: Path) -> None:
    """Refuse a TIFF whose pages lead beyond its end, in a circle, or are more than any stack has."""
    size = path.stat().st_size
    seen: set[int] = set()
    with path.open("rb") as file:
        start = file.read(16)
        order = "<" if start.startswith(b"II") else ">"
        big = start[2:4] in (b"+\0", b"\0+")
        count, each, link = ("Q", 20, "Q") if big else ("H", 12, "I")
        (at,) = struct.unpack_from(order + link, start, 8 if big else 4)
        while at:
            if at in seen or len(seen) == PAGES:
                raise DamagedFile(path, "is damaged: its pages lead in a circle, or are too many.")
            seen.add(at)
            file.seek(at)
            head = file.read(struct.calcsize(order + count))
            entries = struct.unpack(order + count, head)[0] if len(head) == struct.calcsize(order + count) else size
            if at + len(head) + entries * each + struct.calcsize(order + link) > size:
                raise DamagedFile(path, "is truncated: it says that pages lie beyond its end.")
            file.seek(entries * each, 1)
            (at,) = struct.unpack(order + link, file.read(struct.calcsize(order + link)))


def _read(file: Any, path: Path, options: ReadOptions) -> Content:
    series = [one for one in file.series if one.kind not in ("thumbnail",)] if file.is_ome else list(file.series)
    if not series:
        raise DamagedFile(path, "is damaged: it is a TIFF without pictures.")
    shapes = {(one.shape, one.axes) for one in series}
    if len(series) > 1:
        sizes = ", ".join(sorted(" x ".join(map(str, shape)) for shape, _ in shapes))
        raise UnsupportedFile(path, f"holds {len(series)} pictures, {sizes}; save one of them as a file of its own.")
    (one,) = series
    axes, shape = one.axes, one.shape
    unnamed = [axis for axis, n in zip(axes, shape, strict=True) if n > 1 and axis in "PQIZ"]
    if len(unnamed) == 1:  # pages of which nothing else is said are a stack of planes
        axes = axes.replace(unnamed[0], "Z")
    first = one.keyframe
    many = [axis for axis, n in zip(axes, shape, strict=True) if n > 1 and axis not in "ZYXS"]
    if many:
        counts = " and ".join(
            f"{n} {WORDS.get(axis, 'other images')}" for axis, n in zip(axes, shape, strict=True) if axis in many
        )
        raise UnsupportedFile(path, f"holds {counts}; save one of them as a file of its own.")
    pages = [page for page in one.pages if page is not None]
    planes = int(np.prod(shape, dtype=object)) // (first.imagewidth * first.imagelength * first.samplesperpixel)
    samples = first.samplesperpixel
    check_room(
        path, (first.imagewidth, first.imagelength, max(1, planes)), samples * first.dtype.itemsize, options.allowed
    )
    if first.dtype.kind not in "buif":
        raise UnsupportedFile(path, f"holds {first.dtype}; give a TIFF of real numbers.")
    orientation = int(first.tags[274].value) if 274 in first.tags else 1
    if any((int(page.tags[274].value) if 274 in getattr(page, "tags", {}) else 1) != orientation for page in pages
           if hasattr(page, "tags")):  # fmt: skip
        raise UnsupportedFile(path, "holds planes that are turned differently; save them alike.")
    if first.photometric not in MEANINGS:
        raise UnsupportedFile(
            path, f"holds colours as {first.photometric.name}; save it in red, green and blue, or in grey."
        )
    array = _pixels(file, one, path, first)
    array = array.reshape(-1, *_plane(first))
    if samples > 1 and first.planarconfig == 2:
        array = np.moveaxis(array, 1, -1)
    if first.photometric == 3 and not options.labels:
        array = _coloured(array, first)
        samples = 3
    if samples in (2, 4) and 338 in first.tags:  # the last is alpha
        samples, array = samples - 1, array[..., : samples - 1]
        array, samples = (array[..., 0], 1) if samples == 1 else (array, samples)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    stacked = array.swapaxes(1, 2)  # planes, x, y
    array = np.moveaxis(stacked, 0, 2)  # x, y, planes
    orientation = orientation if orientation in TURNS else 1
    array = upright(array, orientation)
    spacing = _spacing(file, one, path)
    if spacing is not None and TURNS[orientation][0]:
        spacing = (spacing[1], spacing[0], spacing[2])
    flat = array.shape[2] == 1
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    array.flags.writeable = False
    return Content(
        array[:, :, 0] if flat else array, planar=flat, channels=samples, spacing=spacing,
        source={"exif": orientation} if flat and orientation != 1 else {},
    )  # fmt: skip


def _plane(page: Any) -> tuple[int, ...]:
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    if samples == 1:
        return height, width
    return (samples, height, width) if page.planarconfig == 2 else (height, width, samples)


def _pixels(file: Any, series: Any, path: Path, first: Any) -> np.ndarray:
    """All planes, each proven to be there as a whole."""
    if first.compression not in (*PLAIN, PACKED) or first.predictor not in (1, 2):
        raise UnsupportedFile(path, "is compressed in a way that is not read; save it uncompressed, or with deflate.")
    size, counted = path.stat().st_size, 0
    for page in series.pages:
        if page is None:
            raise DamagedFile(path, "is damaged: planes of it are missing.")
        offsets, counts = page.dataoffsets, page.databytecounts
        if not offsets or any(o <= 0 or n <= 0 or o + n > size for o, n in zip(offsets, counts, strict=True)):
            raise DamagedFile(path, "is truncated: it says that pixels lie beyond its end.")
        counted += sum(counts)
    if first.compression == 1 and not first.is_tiled:
        plane = int(np.prod(_plane(first), dtype=object)) * first.bitspersample // 8
        if counted < plane * (len(series.pages) if counted < plane * _planes(series, first) else 1):
            raise DamagedFile(path, f"is truncated: it holds {counted} bytes of pixels.")
    if first.compression == PACKED:
        return _by_pillow(path, series, first)
    return series.asarray()


def _planes(series: Any, first: Any) -> int:
    return max(1, int(np.prod(series.shape, dtype=object)) // int(np.prod(_plane(first), dtype=object)))


def _by_pillow(path: Path, series: Any, first: Any) -> np.ndarray:
    from PIL import TiffImagePlugin

    planes = []
    with path.open("rb") as file:
        picture = TiffImagePlugin.TiffImageFile(file)
        for page in series.pages:
            picture.seek(page.index)
            plane = np.array(picture)
            if plane.dtype.itemsize != first.dtype.itemsize or plane.shape != _plane(first):
                raise UnsupportedFile(path, "is packed by LZW, of a kind that is not read; save it uncompressed.")
            planes.append(plane.view(first.dtype) if plane.dtype.kind != "b" else plane)
    return np.stack(planes)


def _coloured(array: np.ndarray, page: Any) -> np.ndarray:
    """Indices as the colours that they stand for, uint8."""
    table = np.asarray(page.colormap)  # (3, entries), 16 bits
    return (table[:, array] >> 8).astype(np.uint8).transpose(1, 2, 3, 0)


def _spacing(file: Any, series: Any, path: Path) -> tuple[float, float, float] | None:
    """Millimetres along x, y and from plane to plane; None where the file does not tell all that it has axes for."""
    stacked = len(series.pages) > 1 or int(np.prod(series.shape[:-2], dtype=object)) > 1
    if file.is_ome:
        pitches = _ome(file.ome_metadata)
    else:
        about = file.imagej_metadata or {} if file.is_imagej else {}
        unit = _text(about.get("unit", "")).lower() if about else None
        scale = MILLIMETRES.get(unit) if unit is not None else None
        page = series.keyframe
        if scale is None and unit is None:  # dots per inch are printers'; a scale in centimetres is taken for one
            scale = {3: 10.0}.get(int(page.tags[296].value)) if 296 in page.tags else None
        x, y = (_pitch(page, tag) for tag in (282, 283))
        z = float(about.get("spacing", 0)) or None
        pitches = None if scale is None else tuple(None if n is None else n * scale for n in (x, y, z))
    x, y, z = pitches or (None, None, None)
    if x is None or y is None or (stacked and z is None):
        return None
    return (abs(x), abs(y), abs(z) if stacked and z is not None else 1.0)


def _pitch(page: Any, tag: int) -> float | None:
    if tag not in page.tags:
        return None
    above, below = page.tags[tag].value
    return below / above if above and below else None


def _text(value: Any) -> str:
    """ImageJ writes µ in its own way."""
    return re.sub(r"\\u00b5", "µ", str(value), flags=re.IGNORECASE)


def _ome(text: str) -> tuple[float | None, ...] | None:
    if "<!" in text.replace("<!--", ""):
        return None  # declarations have no place there
    for element in xml.fromstring(text).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            return tuple(_physical(element, axis) for axis in "XYZ")
    return None


def _physical(element: Any, axis: str) -> float | None:
    size = element.get(f"PhysicalSize{axis}")
    scale = MILLIMETRES.get(element.get(f"PhysicalSize{axis}Unit", "µm").lower())
    return None if size is None or scale is None else float(size) * scale
