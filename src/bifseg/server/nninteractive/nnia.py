"""NNIA, the array format of the nnInteractive protocol: a header, then chunks compressed by blosc2.

``"NNIA", version u8, codec u8, axes u8, length of the dtype's name u8, name, shape int64 each, chunks u32``, then for
each chunk ``raw length u64, compressed length u64, blosc2 chunk``; little-endian, C order.

The reader trusts nothing: every length is compared with the body and with a limit before memory is reserved, and a
chunk reaches blosc2 only where its own header says what ours says, with the codecs and filters that clients use: blosc2
has more, looks for plug-ins by name, and can leave memory as it found it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from math import prod
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput, TooLarge
from bifseg.io.archive import RATIO, SLACK

MAGIC, VERSION = b"NNIA", 1
CODECS = (1, 2)  # ZSTD, LZ4
DTYPES = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
        "float16", "float32", "float64",
    )
}  # fmt: skip
AXES = 4
CHUNK = 1 << 30  # bytes; blosc2 counts in 32 bits
PART = 1 << 26  # bytes of the chunks that are sent
CHUNK_HEADER = 32


@cache
def blosc() -> Any:
    """The library, imported when it is first needed, for that takes as long as half of a server's start."""
    import blosc2

    blosc2.set_releasegil(True)  # else the event loop stands still while it works
    return blosc2


def pack(array: np.ndarray) -> bytes:
    """An array as bytes; InvalidInput for a type that the format has not."""
    return b"".join(packed(array, array.dtype))


def packed(array: np.ndarray, dtype: np.dtype) -> Iterator[bytes]:
    """An array's values as numbers of a type, piece by piece: little more of it lies in memory at a time."""
    if dtype.name not in DTYPES:
        raise InvalidInput(f"An array of {dtype.name} cannot be sent; known are {', '.join(DTYPES)}.")
    kind, name, flat = DTYPES[dtype.name], dtype.name.encode(), np.ascontiguousarray(array).reshape(-1)
    step = PART // kind.itemsize
    yield struct.pack(f"<4sBBBB{len(name)}s", MAGIC, VERSION, CODECS[0], array.ndim, len(name), name)
    yield struct.pack(f"<{array.ndim}qI", *array.shape, -(-flat.size // step))
    for start in range(0, flat.size, step):
        part = flat[start : start + step].astype(kind, copy=False).data.cast("B")
        chunk = blosc().compress2(
            part, typesize=kind.itemsize, codec=blosc().Codec.ZSTD, clevel=1, nthreads=1,
            filters=[blosc().Filter.NOFILTER],
        )  # fmt: skip
        yield struct.pack("<QQ", part.nbytes, len(chunk))
        yield chunk


def most(voxels: int, sent: int) -> int:
    """Bytes that a mask may unpack to: a byte a voxel, or as much more as no real mask becomes larger."""
    return min(8 * voxels, max(voxels, SLACK + RATIO * sent))


def unpack(buffer: bytes | memoryview, limit: int) -> np.ndarray:
    """The array in a buffer, of at most ``limit`` bytes: ValueError for anything else, TooLarge beyond them."""
    view = memoryview(buffer)
    magic, version, codec, axes, length = _read(view, 0, "<4sBBBB")
    if magic != MAGIC:
        raise InvalidInput("The body is no NNIA array: it does not begin with NNIA.")
    if version != VERSION:
        raise InvalidInput(f"The array has the version {version} of NNIA; this server reads version {VERSION}.")
    if codec not in CODECS:
        raise InvalidInput(f"The array has the codec {codec}; 1 is ZSTD, 2 is LZ4.")
    if not 1 <= axes <= AXES:
        raise InvalidInput(f"The array has {axes} axes; 1 to {AXES} are possible.")
    (name,) = _read(view, 8, f"<{length}s")
    dtype = DTYPES.get(name.decode("ascii", "replace"))
    if dtype is None:
        raise InvalidInput(f"The array's type {name[:16]!r} is unknown; known are {', '.join(DTYPES)}.")
    *shape, chunks = _read(view, 8 + length, f"<{axes}qI")
    if min(shape) < 1:
        raise InvalidInput(f"The array has the shape {tuple(shape)}; every axis needs one element or more.")
    size = prod(shape) * dtype.itemsize
    if size > limit:
        raise TooLarge(f"The array {tuple(shape)} of {dtype.name}", f"has {size} bytes; at most {limit} are taken.")
    parts = _chunks(view[12 + length + 8 * axes :], chunks, size, dtype.itemsize)
    array = np.zeros(prod(shape), dtype)  # pages are reserved as they are written
    raw, at = array.view(np.uint8), 0
    for part, count in parts:
        try:
            blosc().decompress2(part, dst=raw[at : at + count], nthreads=1)
        except (RuntimeError, ValueError, TypeError):
            raise InvalidInput("The array is damaged: a chunk of it cannot be decompressed.") from None
        at += count
    if dtype.kind == "b" and raw.max() > 1:
        raise InvalidInput("The array is damaged: a bool in it is neither 0 nor 1.")
    return array.reshape(shape)


def _chunks(view: memoryview, chunks: int, size: int, itemsize: int) -> list[tuple[memoryview, int]]:
    """All chunks with their raw lengths, which add up to ``size``: checked before the first is decompressed."""
    parts, at, total = [], 0, 0
    for _ in range(chunks):
        raw, packed = _read(view, at, "<QQ")
        part = view[at + 16 : at + 16 + packed]
        if len(part) < packed:
            raise InvalidInput(f"The array is cut off: a chunk has {len(part)} of {packed} bytes.")
        if not 1 <= raw <= CHUNK or raw % itemsize:
            raise InvalidInput(
                f"A chunk of the array has {raw} bytes; it needs 1 to {CHUNK}, a multiple of {itemsize}."
            )
        _check_chunk(part, raw)
        parts.append((part, raw))
        at, total = at + 16 + packed, total + raw
        if total > size:
            break
    if total != size or at != len(view):
        raise InvalidInput(f"The array's chunks do not add up to its {size} bytes, or more follows them.")
    return parts


def _check_chunk(part: memoryview, raw: int) -> None:
    """Refuse a blosc2 chunk that is not what its frame says, or asks for more than a client of the protocol does."""
    if len(part) < CHUNK_HEADER:
        raise InvalidInput("The array is damaged: a chunk is shorter than its header.")
    version, _, flags, typesize, nbytes, blocksize, cbytes = struct.unpack_from("<BBBBiii", part)
    filters, codec, flags2, special = bytes(part[16:22]), part[22], part[30], part[31]
    if (
        (nbytes, cbytes) != (raw, len(part))
        or version != 5  # the stable format
        or flags & 0b1101 != 0b0101  # the header of 32 bytes; no delta to another chunk
        or flags >> 5 not in (0, 1, 4)  # blosclz (named where a chunk is only copied), LZ4, ZSTD
        or not 1 <= blocksize <= nbytes
        or not typesize
        or max(filters) > 2  # none, shuffle, bit shuffle
        or codec > 5
        or flags2
        or special not in (0x00, 0x10, 0x20, 0x30)  # data; all of one value; never "as the memory is", never lazy
    ):
        raise InvalidInput("The array is damaged: a chunk's header does not fit it, or asks for what clients never do.")


def _read(view: memoryview, at: int, form: str) -> tuple:
    try:
        return struct.unpack_from(form, view, at)
    except struct.error:
        raise InvalidInput("The array is cut off: it ends within its header.") from None
