"""Files named by the SHA-256 of their content: written once, never changed, the same content never twice."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

from bifseg.errors import NotFound, StorageFull
from bifseg.storage.full_disk import FULL


class Blobs:
    """A folder of blobs, ``ab/abcdef...``; safe for any number of threads and processes.

    ``drafts``: where files lie until they have their names; on the same disk. ``naming`` is told each name before
    there is a file of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = self.drafts = folder
        self.naming: Callable[[str], object] = lambda sha: None
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> str:
        """Keep these bytes: their name. StorageFull where the disk is full; nothing is left then."""
        # Also where they are there already: young again, no sweep takes them before they are referred to; and nobody
        # learns by the time it takes whether another has them.
        return self.write(lambda file: file.write(content))

    def write(self, fill: Callable[[BinaryIO], object]) -> str:
        """Keep what ``fill`` writes into a file, however large: its name."""
        draft = self.drafts / f".{secrets.token_hex(8)}.part"
        try:
            with _no_space(), draft.open("xb") as file:
                fill(file)
                file.flush()
                with ThreadPoolExecutor(1) as beside:  # to be hashed while the disk is waited for
                    digest = beside.submit(_digest_of, draft)
                    os.fsync(file.fileno())
                sha = digest.result()
            target = self.path(sha)
            with _no_space():
                self.naming(sha)
                target.parent.mkdir(exist_ok=True)
                draft.replace(target)
                for folder in (target.parent, self.folder):
                    _sync(folder)
        finally:
            draft.unlink(missing_ok=True)
        return sha

    def get(self, sha: str) -> bytes:
        """The bytes of this name; NotFound where there are none."""
        try:
            return self.path(sha).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"The store holds no blob {sha}.") from None

    def path(self, sha: str) -> Path:
        """Where the blob of this name is, or would be; NotFound for what cannot be a name."""
        if not re.fullmatch("[0-9a-f]{64}", sha):
            raise NotFound("A blob is named by 64 hexadecimal digits, the SHA-256 of its content.")
        return self.folder / sha[:2] / sha

    def __contains__(self, sha: str) -> bool:
        return self.path(sha).is_file()

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self.folder.glob("??/*"))

    def delete(self, sha: str) -> None:
        self.path(sha).unlink(missing_ok=True)

    def age(self, sha: str, now: float) -> float:
        """Seconds since the blob was written; 0 where it is gone."""
        with contextlib.suppress(FileNotFoundError):
            return now - self.path(sha).stat().st_mtime
        return 0.0

    def sweep(self, before: float) -> None:
        """Delete drafts begun before a time: their processes were killed."""
        for draft in self.folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if draft.stat().st_mtime < before:
                    draft.unlink()

    def intact(self, sha: str) -> bool:
        """Whether the file is there and still has the content that named it."""
        try:
            return _digest_of(self.path(sha)) == sha
        except FileNotFoundError:
            return False


def name_of(fill: Callable[[BinaryIO], object]) -> str:
    """What `Blobs.write` will call what ``fill`` writes, of which nothing is kept."""
    digest = hashlib.sha256()
    fill(cast("BinaryIO", SimpleNamespace(write=digest.update)))
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()  # hashlib.file_digest needs Python 3.11
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut; Windows opens no folder, and needs no such call."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, None):  # None: NumPy, which says only how much was written
            raise StorageFull(FULL) from None
        raise
