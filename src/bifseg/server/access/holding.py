"""Refusals that come a while later: what is refused at once is asked again at once, and costs as much each time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from starlette.types import Receive

from bifseg.server.access.ratelimit import RateLimit
from bifseg.server.settings import Limits

HELD = 1.0  # seconds until somebody hears that they ask too often
MANY = 32  # held of one address, for each of which further ones are held as long again: so many a second are answered
READ = 1 << 16  # bytes of a body that are read, to hear whether its sender is still there


class Holding:
    """Holds what comes too often from an address; whoever hangs up is held no longer."""

    def __init__(self, limits: Limits) -> None:
        self._tries = RateLimit(limits.requests_per_second, limits.requests_in_burst)
        self._held: Counter[str] = Counter()

    async def hold(self, address: str, receive: Receive, *, counted: bool = False) -> None:
        """Hold a request, unless its address may still be answered at once; ``counted``: it was found to come too
        often already."""
        if not counted and not self._tries.wait(address):
            return
        seconds = HELD * (1 + self._held[address] // MANY)
        self._held[address] += 1
        try:
            with contextlib.suppress(asyncio.TimeoutError):  # not the builtin before Python 3.11
                await asyncio.wait_for(_gone(receive), seconds)
        finally:
            self._held[address] -= 1
            if not self._held[address]:
                del self._held[address]


async def _gone(receive: Receive) -> None:
    """Wait until the client hangs up; of one that sends much, for ever."""
    size = 0
    while size <= READ:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
    await asyncio.Event().wait()
