"""What comes from outside as a file: streamed to the disk then read as an image or refused."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from bifseg import dicom, io
from bifseg.declared import ONE_FILE, TooLargeError
from bifseg.image import Image
from bifseg.server.settings import Limits

SUFFIXES = ONE_FILE
PIECE = 1 << 20  # bytes gathered before they are written
LEFT = 3600.0  # seconds after which a temporary file has nobody who reads or writes it


def suffix_of(name: str) -> str:
    """The ending of a file's name, which says its format; ValueError for one that nobody reads."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    if suffix is None:
        raise ValueError(f"The file name ends in {Path(name).suffix[:20]!r}; it must end in {', '.join(SUFFIXES)}.")
    return suffix


def scratch(folder: Path, suffix: str) -> Path:
    """A name of our own for a temporary file in a store's folder; what killed processes left there goes."""
    folder = folder / "temporary"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        with contextlib.suppress(OSError):  # another process was quicker, or it is none of ours
            if old.stat().st_mtime < time.time() - LEFT:
                old.unlink()
    return folder / f"{secrets.token_hex(8)}{suffix}"


async def pour(chunks: AsyncIterable[bytes], file: BinaryIO) -> int:
    """Write a body into a file as it comes: its size, which the guard bounds. ValueError where it broke off."""
    size, waiting = 0, bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            waiting += chunk
            if len(waiting) >= PIECE:
                await run_in_threadpool(file.write, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        raise ValueError("The upload broke off before its end.") from None
    await run_in_threadpool(file.write, bytes(waiting))
    return size


async def receive(chunks: AsyncIterable[bytes], folder: Path, name: str) -> Path:
    """Stream a body into a temporary file of a store's ``folder``: its path; the caller deletes it.

    ``name``: how the client calls the file; only its ending is used. Raises ValueError for an ending that is not known,
    and for a body that is empty or broke off; nothing is left then.
    """
    path = await run_in_threadpool(scratch, folder, suffix_of(name))
    try:
        with path.open("xb") as file:
            if not await pour(chunks, file):
                raise ValueError("The upload is empty; send the file as the body of the request.")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def image_from_upload(
    path: Path, limits: Limits, *, name: str = "The upload", series: str | None = None
) -> tuple[Image, bytes | None]:
    """The image in a file that nobody has looked at yet, and the headers of its DICOM series, where it is one.

    ``path``: a file, or a folder of DICOM slices. ``name``: what errors call it. Raises ValueError and TooLargeError as
    `bifseg.io.read_upload`.
    """
    with called(path, name):
        image = io.read_upload(path, voxels=limits.voxels, bytes=limits.array_bytes, series=series)
        is_dicom = path.is_dir() or path.suffix.lower() in (".zip", ".dcm")
        return image, dicom.headers_of(path, series=series) if is_dicom else None


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Errors about a path of this machine speak of ``name`` instead."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        kind = next(kind for kind in (TooLargeError, FileNotFoundError, ValueError) if isinstance(error, kind))
        raise kind(str(error).replace(str(path), name)) from None
