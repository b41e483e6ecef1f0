"""A refusal that arrives: who is still sending a body that is too large is heard out, within bounds, and then told.

A connection that is closed while bytes wait to be read is reset, and the client may lose the answer.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import Message, Receive, Send

MOST = 32 << 20  # bytes of a refused body that are read and thrown away
PATIENCE = 2.0  # seconds for them


def lingering(receive: Receive, send: Send, length: str) -> tuple[Receive, Send]:
    """``receive`` and ``send`` of an ASGI request; before a 413 is sent, the rest of the body is read.

    ``length``: what the request says of its body. Of one that does not say, or too much, nothing more is read.
    """
    whole = not (length.isascii() and length.isdigit() and int(length[:18]) <= MOST)

    async def heard() -> Message:
        nonlocal whole
        message = await receive()
        whole = whole or message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def rest() -> None:
        size = 0
        while not whole and size < MOST:
            size += len((await heard()).get("body", b""))

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 413:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(rest(), PATIENCE)
        await send(message)

    return heard, told
