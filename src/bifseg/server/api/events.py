"""What happens to a session, as server-sent events, for who has it on the screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from bifseg.errors import NotFound
from bifseg.server.api.bodies.answers import ChangedEvent
from bifseg.server.api.request import PREFIX, ROUTER, Owned, Served
from bifseg.server.api.streams import STILL_HERE, documented, event, streamed

router = APIRouter(prefix=PREFIX, tags=["sessions"], **ROUTER)
LOOK = 5.0  # seconds after which it is looked whether another process changed the session


@router.get(
    "/sessions/{id}/events", response_class=StreamingResponse, responses={200: {"content": documented(ChangedEvent)}}
)
async def events(session: Owned, service: Served, request: Request) -> StreamingResponse:
    """A stream with an event ``changed`` at first and whenever the session changed, whoever did it: the number of its
    last interaction. It ends when the session is deleted, the token revoked or the server stopped."""

    async def told() -> AsyncIterator[str]:
        last = None
        with service.watchers.of(session.id) as changed:
            while not service.watchers.closed and await request.state.still():
                changed.clear()
                try:
                    number = await run_in_threadpool(service.store.last_number, session.id)
                except NotFound:
                    return
                if number == last:
                    yield STILL_HERE
                else:
                    last = number
                    yield event("changed", {"number": number})
                with contextlib.suppress(asyncio.TimeoutError):  # not the builtin before Python 3.11
                    await asyncio.wait_for(changed.wait(), LOOK)

    return streamed(told())
