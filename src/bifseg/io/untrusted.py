"""What a file says of itself before anything in it is unpacked: enough to refuse one that wants too much."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from bifseg.errors import TooLarge, UnsupportedFile
from bifseg.io import formats


def check_single(path: Path) -> None:
    """Refuse a file whose name does not end as those that may be uploaded."""
    endings = formats.upload_endings()
    if not path.name.lower().endswith(endings):
        raise UnsupportedFile(path, f"is of a kind that cannot be uploaded; possible are {', '.join(endings)}.")


def check_extent(path: Path, shape: tuple[int, ...], voxel: int, voxels: int, limit: int) -> None:
    """Refuse more voxels or bytes than are allowed; ``voxel``: bytes of one."""
    count = 1
    for n in shape:
        count *= int(n)
    if count > voxels or count * voxel > limit:
        extent = " x ".join(map(str, shape))
        raise TooLarge(
            path,
            f"says it has {extent} voxels of {voxel} bytes; "
            f"at most {voxels / 1e6:.4g} million voxels and {limit / 2**30:.3g} GiB are allowed.",
        )


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
        raise TooLarge(path, f"lists {count} files in {size} bytes; at most {files} files are allowed.")


def mapped(path: Path) -> Any:
    """The bytes of a file that is not empty, without room for them: an `mmap.mmap`, which pydicom's types lack."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
