"""Voxels out of a file: exactly the bytes that its header promises, or a sentence; never what lay in memory before."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bifseg.errors import DamagedFile, UnsupportedFile
from bifseg.imaging.image import Image
from bifseg.io.untrusted import check_extent

PIECE = 1 << 20  # bytes read, and unpacked, at once
FED = 1 << 16  # packed bytes at once: what is left of them is copied at the end of each of joined streams
DENSEST = {"gzip": 1100, "zlib": 1100}  # bytes that deflate makes of one, at most
MAGIC = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
UNPACKED = "is truncated or damaged: its compressed data cannot be unpacked."
WINDOW = {"gzip": 31, "zlib": 15}  # what zlib calls the two


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds, as its reader understood it. ``array``: (x, y, z), or fewer or more axes, then the channels.

    ``channels``: how many numbers a voxel has; where there are several they are the array's last axis. ``spacing``:
    mm, None where the file does not tell; ``headers``: of a DICOM series, where they were asked for; else as in
    `bifseg.imaging.image.Image`.
    """

    array: np.ndarray
    spacing: Sequence[float] | None = None
    origin: Sequence[float] = (0.0, 0.0, 0.0)
    direction: np.ndarray = field(default_factory=lambda: np.eye(3))
    planar: bool = False
    calibrated: bool | None = None
    channels: int = 1
    source: Mapping[str, Any] = field(default_factory=dict)
    headers: bytes | None = None


def stored(path: Path, offset: int, count: int) -> np.ndarray:
    """The bytes of a file from ``offset`` on, uint8 (count,); InvalidInput where there are fewer."""
    check_whole(path, max(0, path.stat().st_size - offset), count)
    with path.open("rb") as file:
        file.seek(offset)
        data = np.fromfile(file, np.uint8, count)
    check_whole(path, len(data), count)
    return data


def unpacked(path: Path, offset: int, count: int, kind: str, *, before: int = 0, surplus: int = 0) -> np.ndarray:
    """What a stream of a ``kind`` (gzip, zlib, bzip2) unpacks to, without its first bytes: uint8 (count,).

    ``offset``: where it begins in the file. ``before``: unpacked bytes that are left out; ``surplus``: those that may
    follow. Raises InvalidInput for a damaged stream, one without its end, and one of another length.
    """
    packed = max(0, path.stat().st_size - offset)
    if kind in DENSEST and count > DENSEST[kind] * packed:  # before there is room made for them
        raise DamagedFile(path, f"is truncated: {packed} bytes cannot hold {count} bytes of voxels.")
    data, place = np.empty(count, np.uint8), -before
    view = data.data
    with path.open("rb") as file:
        file.seek(offset)
        try:
            for piece in unpacking(file, kind):
                start = max(0, place)
                part = memoryview(piece)[max(0, -place) :][: max(0, count - start)]
                view[start : start + len(part)] = part
                place += len(piece)
                if place > count + surplus:
                    raise DamagedFile(path, "unpacks to more than its header says; it may be damaged, or a trap.")
        except (zlib.error, OSError, EOFError) as error:
            raise DamagedFile(path, UNPACKED) from error
    check_whole(path, max(0, place), count)
    return data


def unpacking(file: Readable, kind: str) -> Iterator[bytes]:
    """What a stream unpacks to, in pieces, up to its end, where its checksum is compared; joined streams are one.

    Raises zlib.error or OSError for damage, EOFError where it has no end.
    """
    machine, rest = _machine(kind), b""
    while True:
        if not getattr(machine, "needs_input", True):
            pass  # it has more to say without being fed
        elif len(rest) < 3:
            rest += file.read(FED)
        if machine.eof:
            if kind == "zlib" or not rest.startswith(MAGIC[kind]):
                return
            machine = _machine(kind)
        piece = machine.decompress(rest, PIECE)
        if not piece and not rest and not machine.eof:
            raise EOFError
        rest = machine.unused_data if machine.eof else getattr(machine, "unconsumed_tail", b"")
        if piece:
            yield piece


def as_array(data: np.ndarray, dtype: np.dtype, shape: Sequence[int]) -> np.ndarray:
    """Bytes as an array whose first axis runs fastest, in this machine's byte order, read-only."""
    array = data.view(dtype).reshape(tuple(shape)[::-1]).T
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.flags.writeable = False
    return array


def written_axes(image: Image) -> int:
    """Two or three axes, which a file of an image has: a plane that stands obliquely in space stays a thin volume."""
    flat = image.planar and np.allclose(image.direction[2], (0, 0, 1)) and image.origin[2] == 0
    return 2 if flat else 3


def planes(array: np.ndarray) -> Iterator[bytes]:
    """The bytes of an array (x, y, z), its first axis running fastest, plane by plane; of (x, y, z, 3), the colours."""
    array = np.moveaxis(array, 3, 0) if array.ndim == 4 else array
    return (plane.tobytes("F") for plane in np.moveaxis(array, -1, 0))


def check_room(path: Path, shape: Sequence[int], itemsize: int, allowed: tuple[int, int] | None) -> None:
    """Refuse a stranger's file that says it holds more than ``allowed``, voxels and bytes; None: whatever there is."""
    if allowed:
        check_extent(path, tuple(shape), itemsize, *allowed)


def check_whole(path: Path, size: int, expected: int) -> None:
    """Refuse a file with fewer bytes of voxels than it says."""
    if size < expected:
        raise DamagedFile(path, f"is truncated: it holds {size} of {expected} bytes of voxels.")


def place_of(path: Path, columns: np.ndarray, what: str) -> tuple[tuple[float, ...], np.ndarray]:
    """Spacing and direction that the axes (3, n) of a voxel have in space, LPS mm; InvalidInput for shear.

    ``what``: what the file calls them. An axis of no length stays one; where a single one of three is missing, which
    has but one voxel in files that leave it out, it stands upright on the others.
    """
    columns = np.asarray(columns, float)
    if not np.isfinite(columns).all():
        raise UnsupportedFile(path, f"is not usable: its {what} holds numbers that are not finite.")
    spacing = np.linalg.norm(columns, axis=0)
    direction = columns / np.where(spacing > 0, spacing, 1)
    used = direction[:, spacing > 0]
    if not np.allclose(used.T @ used, np.eye(used.shape[1]), atol=1e-3):
        raise UnsupportedFile(path, f"is sheared: the axes of its {what} are not at right angles; resample it first.")
    return tuple(float(s) for s in spacing), direction


def _machine(kind: str) -> Any:
    return bz2.BZ2Decompressor() if kind == "bzip2" else zlib.decompressobj(WINDOW[kind])
