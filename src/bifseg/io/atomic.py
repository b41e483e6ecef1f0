"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from bifseg.errors import CannotWrite, FileError


def put_in_place(draft: Path, path: Path) -> None:
    """Make a finished draft the file at ``path``: a link is followed, and who may read an old file may read the new."""
    target = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError, NotImplementedError):
        draft.chmod(stat.S_IMODE(target.stat().st_mode))
    if target.parent != Path(os.path.realpath(draft.parent)):  # perhaps on another disk
        beside = target.with_name(f".{secrets.token_hex(8)}.part")
        try:
            shutil.copy2(draft, beside)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
        draft.unlink()
    else:
        draft.replace(target)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file's content in one step; on failure the old content stays and nothing is left beside it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(temporary, path)
    except OSError as error:
        raise CannotWrite(path, f"{error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write JSON for people: indented, ending with a newline; atomic."""
    write_atomically(path, json.dumps(content, indent=2).encode() + b"\n")


def write_together(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write several files or none: each under another name beside its place; old files stay until all are there."""
    token = secrets.token_hex(4)
    drafts = {path: path.with_name(f".{token}-{path.name}") for path in writers}
    try:
        for path, write in writers.items():
            _draft(write, drafts[path], path)
        for path, draft in drafts.items():
            put_in_place(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _draft(write: Callable[[Path], object], draft: Path, path: Path) -> None:
    """Write a draft; errors speak of the path that the user knows."""
    try:
        write(draft)
    except FileError as error:
        raise (error.of(path) if error.file == str(draft) else error) from error
    except OSError as error:
        raise CannotWrite(path, f"{error.strerror or error}.") from error
