"""What comes from outside as a file: streamed to the disk, to be read by `bifseg.server.uploads.reading`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from bifseg.errors import FileError, InvalidInput
from bifseg.io import formats
from bifseg.server.uploads.scratch import scratch
from bifseg.storage.full_disk import on_disk

PIECE = 1 << 20  # bytes gathered before they are written


def suffix_of(name: str) -> str:
    """The ending of a file's name, which says its format; InvalidInput for one that nobody reads."""
    endings = formats.upload_endings()
    ending = formats.ending_of(name, endings)
    if ending is None:
        raise InvalidInput(f"The file name ends in {Path(name).suffix[:20]!r}; it must end in {', '.join(endings)}.")
    return ending


async def pour(chunks: AsyncIterable[bytes], file: BinaryIO) -> int:
    """Write a body into a file as it comes: its size, which the guard bounds. InvalidInput where it broke off."""
    size, waiting = 0, bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            waiting += chunk
            if len(waiting) >= PIECE:
                await run_in_threadpool(file.write, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        raise InvalidInput("The upload broke off before its end.") from None
    await run_in_threadpool(file.write, bytes(waiting))
    return size


@asynccontextmanager
async def received(chunks: AsyncIterable[bytes], folder: Path, suffix: str) -> AsyncIterator[Path]:
    """Stream a body into a temporary file of a store's ``folder``: its path, until the end of the block.

    Raises InvalidInput for a body that is empty or broke off; nothing is left then.
    """
    path = await run_in_threadpool(scratch, folder, suffix)
    try:
        with on_disk(), path.open("xb") as file:
            if not await pour(chunks, file):
                raise InvalidInput("The upload is empty; send the file as the body of the request.")
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def called(path: Path, name: str) -> Iterator[None]:
    """Errors about a path of this machine speak of ``name`` instead."""
    try:
        yield
    except FileError as error:
        raise (error.of(name) if error.file == str(path) else error) from None
