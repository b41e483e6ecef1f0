"""Zips of strangers: what their table of contents says is checked before anything of them is unpacked."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bifseg.errors import DamagedFile, TooLarge

HEADER = 30  # bytes of a member's own header, before its name
UTF8 = 0x800  # the flag of a name in UTF-8
RATIO, SLACK = 100, 256 << 20  # pictures in a zip do not become so much larger, beyond so many bytes


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip; whatever is wrong with it, there and in the block, is a DamagedFile."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DamagedFile(path, "cannot be unpacked: it is damaged.") from error  # it points before its beginning
    except (zipfile.BadZipFile, zlib.error, EOFError, IndexError, RuntimeError) as error:
        raise DamagedFile(path, f"cannot be unpacked: {str(error).rstrip('.')}.") from error


def check_apart(archive: zipfile.ZipFile) -> None:
    """BadZipFile where two members share bytes, so that one would be unpacked many times, or lie in the table."""
    end = 0
    for member in sorted(archive.infolist(), key=lambda member: member.header_offset):
        if member.header_offset < 0:
            raise zipfile.BadZipFile("its table of contents leads nowhere")
        if member.header_offset < end:
            raise zipfile.BadZipFile("its members overlap")
        end = member.header_offset + HEADER + _length(member) + member.compress_size
    if end > archive.start_dir:
        raise zipfile.BadZipFile("its members overlap")


def _length(member: zipfile.ZipInfo) -> int:
    """Bytes of a member's name, as the archive holds it: in UTF-8 where it says so, else in the code page of old."""
    return len(member.orig_filename.encode("utf-8" if member.flag_bits & UTF8 else "cp437"))


def check_growth(archive: zipfile.ZipFile, packed: int) -> int:
    """The bytes that an archive of ``packed`` bytes unpacks to; TooLarge where no zip of pictures does."""
    size = sum(member.file_size for member in archive.infolist())
    if size > SLACK + RATIO * packed:
        raise TooLarge(
            "The archive",
            f"unpacks from {packed / 2**20:.3g} MiB to {size / 2**20:.4g} MiB, which no zip of pictures does.",
        )
    return size
