"""Replies that lie on the disk until they are read: a user has so many of them at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import BinaryIO

from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from bifseg.server import views
from bifseg.server.access.turns import Turns
from bifseg.server.service import Service
from bifseg.server.uploads.scratch import unnamed

KEPT = 8 << 20  # bytes of an array that may be answered from memory: a user may leave many such answers unread


class FileReply(StreamingResponse):
    """A file without a name, from its beginning on, with what stands ``before`` and ``after`` it; ``ended`` is called
    once, when nobody reads it any more."""

    def __init__(
        self, file: BinaryIO, media_type: str, headers: Mapping[str, str] | None = None, *, before: bytes = b"",
        after: bytes = b"",
    ) -> None:  # fmt: skip
        size = len(before) + file.seek(0, os.SEEK_END) + len(after)
        file.seek(0)
        super().__init__(
            _around(before, file, after),
            media_type=media_type,
            headers={"Content-Length": str(size), **(headers or {})},
        )
        self._file = file
        self.ended: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self.ended()


def called(name: str) -> dict[str, str]:
    """What says the name that a reply is saved under."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def file_reply(lane: Turns, service: Service, user: str, make: Callable[[], FileReply]) -> FileReply:
    """What ``make`` makes when it is the user's turn in a lane; who reads slowly gets no further ones meanwhile."""
    await service.sending.begin(user)
    try:
        reply = await lane.run(user, make)
    except BaseException:
        service.sending.end(user)
        raise
    reply.ended = partial(service.sending.end, user)
    return reply


async def array_reply(
    lane: Turns, service: Service, user: str, size: int, media_type: str,
    write: Callable[[BinaryIO], Mapping[str, str]],
) -> Response:  # fmt: skip
    """What ``write`` writes, an array of ``size`` bytes or a few less, and with the headers that it returns: from
    memory, or of a larger one from the disk."""
    if size <= KEPT:

        def pack() -> Response:
            file = io.BytesIO()
            headers = write(file)
            return Response(file.getvalue(), media_type=media_type, headers=headers)

        return await lane.run(user, pack)

    def pour() -> FileReply:
        with unnamed(service.store.folder) as file:
            headers = write(file)
            return FileReply(file, media_type, headers)

    return await file_reply(lane, service, user, pour)


def _around(before: bytes, file: BinaryIO, after: bytes) -> Iterator[bytes]:
    yield before
    yield from views.pieces(file)
    yield after
