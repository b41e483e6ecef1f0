"""Replies that lie on the disk until they are read: a user has so many of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from bifseg.server import views
from bifseg.server.access.turns import Turns
from bifseg.server.service import Service


class FileReply(StreamingResponse):
    """A file without a name, as a download called ``name``; ``ended`` is called once, when nobody reads it any more."""

    def __init__(self, file: BinaryIO, name: str, media_type: str) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(views.pieces(file), media_type=media_type, headers=headers)
        self._file = file
        self.ended: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
            self.ended()


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
