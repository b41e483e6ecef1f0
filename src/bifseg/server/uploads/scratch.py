"""Names for temporary files in a store's folder: under its limits and its protection, and swept with it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from bifseg.storage.full_disk import on_disk

LEFT = 3600.0  # seconds after which a temporary file has nobody who reads or writes it


def scratch(folder: Path, suffix: str) -> Path:
    """A name of our own for a temporary file or folder in a store's folder; what killed processes left there goes."""
    folder = folder / "temporary"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker, or it is none of ours
            if old.stat().st_mtime < time.time() - LEFT:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    return folder / f"{secrets.token_hex(8)}{suffix}"


@contextmanager
def unnamed(folder: Path) -> Iterator[BinaryIO]:
    """A temporary file in a store's folder that nobody can open; closed where the block fails, else left to whoever has
    it. StorageFull where the disk is full."""
    with ExitStack() as stack, on_disk():
        yield cast("BinaryIO", stack.enter_context(tempfile.TemporaryFile(dir=folder)))
        stack.pop_all()
