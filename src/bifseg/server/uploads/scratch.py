"""Names for temporary files in a store's folder: under its limits and its protection, and swept with it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from pathlib import Path

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
