"""Zips of strangers: what their table of contents says is checked before anything of them is unpacked."""

from __future__ import annotations

import errno
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from bifseg.errors import DamagedFile, TooLarge
from bifseg.io.untrusted import check_listing

HEADER = 30  # bytes of a member's own header, before its name
UTF8 = 0x800  # the flag of a name in UTF-8
ZIP_BYTES = 4 << 30
ZIP_FILES = 20_000
RATIO, SLACK = 100, 256 << 20  # pictures in a zip do not become so much larger, beyond so many bytes


def is_zip(start: bytes) -> bool:
    """Whether a file that starts so is a zip."""
    return start.startswith(b"PK")


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


def unzip(path: Path, folder: Path, limit: int | None = None) -> dict[str, str]:
    """Unpack into one flat folder under names of our own: no name in the archive can lead elsewhere.

    Returns what each of these files was called. Raises InvalidInput for damage and for members that overlap,
    TooLarge for more than ``limit`` bytes, before any are written.
    """
    limit = ZIP_BYTES if limit is None else limit
    check_listing(path, ZIP_FILES)
    names = {}
    with opened(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        size = sum(member.file_size for member in members)
        if len(members) > ZIP_FILES or size > limit:
            raise TooLarge(
                path,
                f"unpacks to {len(members)} files of {size / 2**30:.2g} GiB in all; "
                f"at most {ZIP_FILES} files and {limit / 2**30:.3g} GiB are allowed.",
            )
        check_apart(archive)
        for number, member in enumerate(members):
            # zipfile never yields more than the declared size, so the sum above is a bound.
            file = folder / f"{number:05}.dcm"
            with archive.open(member) as source, file.open("wb") as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
            names[file.name] = PurePath(member.filename).name or file.name
    return names
