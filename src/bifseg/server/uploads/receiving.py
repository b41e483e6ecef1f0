"""What comes from outside as a file: streamed to the disk, to be read by `bifseg.server.uploads.reading`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from bifseg.errors import InvalidInput
from bifseg.io import formats
from bifseg.server.uploads.scratch import scratch
from bifseg.storage import Store
from bifseg.storage.full_disk import on_disk

PIECE = 1 << 20  # bytes gathered before they are written


def suffix_of(name: str) -> str:
    """The ending of a file's name, which says its format; InvalidInput for one that nobody reads."""
    endings = formats.upload_endings()
    ending = formats.ending_of(name, endings)
    if ending is None:
        raise InvalidInput(f"The file name ends in {Path(name).suffix[:20]!r}; it must end in {', '.join(endings)}.")
    return ending


async def pour(chunks: AsyncIterable[bytes], file: BinaryIO, count: Callable[[int], None]) -> int:
    """Write a body into a file as it comes: its size, which the guard bounds. ``count`` is told how much comes next.

    InvalidInput where it broke off.
    """
    size, waiting = 0, bytearray()

    def write(content: bytes) -> None:
        count(len(content))
        file.write(content)

    try:
        async for chunk in chunks:
            size += len(chunk)
            waiting += chunk
            if len(waiting) >= PIECE:
                await run_in_threadpool(write, bytes(waiting))
                waiting.clear()
    except ClientDisconnect:
        raise InvalidInput("The upload broke off before its end.") from None
    await run_in_threadpool(write, bytes(waiting))
    return size


@asynccontextmanager
async def received(chunks: AsyncIterable[bytes], store: Store, owner: str, suffix: str) -> AsyncIterator[Path]:
    """Stream a body into a temporary file of a store: its path, until the end of the block, in its owner's share.

    Raises InvalidInput for a body that is empty or broke off, StorageFull; nothing is left then.
    """
    path = await run_in_threadpool(scratch, store.folder, suffix)
    with store.coming(owner) as count:
        try:
            with on_disk(), path.open("xb") as file:
                if not await pour(chunks, file, count):
                    raise InvalidInput("The upload is empty; send the file as the body of the request.")
            yield path
        finally:
            path.unlink(missing_ok=True)
