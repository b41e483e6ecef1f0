"""Turns: work in threads, little of it at a time, shared by user: nobody's work is behind all that another wants."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

from bifseg.errors import Overloaded

Result = TypeVar("Result")


class Turns:
    """``at_once`` pieces of work at a time, ``own`` of them one user's, of whom ``waiting`` more may wait.

    Users take turns in the order in which they came, whatever one of them has waiting. For one event loop. None of
    its threads gives way to other processes: it would do so with the interpreter's lock, and all others would wait.
    """

    def __init__(self, at_once: int, own: int, waiting: int) -> None:
        self._free, self._own, self._most = at_once, own, waiting
        self._running: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[asyncio.Future]] = OrderedDict()  # whose turn it is comes first
        self._threads = ThreadPoolExecutor(at_once)  # not those that serve what is quick

    @asynccontextmanager
    async def turn(self, user: str) -> AsyncIterator[None]:
        """Until the end of the block it is this user's turn. Overloaded where too many of theirs wait."""
        await self.begin(user)
        try:
            yield
        finally:
            self.end(user)

    async def run(self, user: str, work: Callable[..., Result], *arguments: object, **options: object) -> Result:
        """What ``work`` returns, done in a thread when it is this user's turn."""
        async with self.turn(user):
            return await _to_its_end(self._threads.submit(partial(work, *arguments, **options)))

    async def pieces(self, user: str, pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
        """What an iterable yields, each piece made when it is this user's turn: who reads slowly holds up nobody."""
        iterator = iter(pieces)
        while (piece := await self.run(user, next, iterator, None)) is not None:
            yield piece

    async def begin(self, user: str) -> None:
        """Wait until it is this user's turn, which lasts until `end`. Overloaded where too many of theirs wait."""
        if self._free and self._running.get(user, 0) < self._own and user not in self._waiting:
            self._take(user)
            return
        line = self._waiting.setdefault(user, deque())
        if len(line) >= self._most:
            raise Overloaded(f"{self._most} of your requests of this kind are waiting already; wait for one.")
        own = asyncio.get_running_loop().create_future()
        line.append(own)
        try:
            await own
        except asyncio.CancelledError:
            if own.done() and not own.cancelled():  # it was their turn just now
                self._end(user)
            elif own in line:
                line.remove(own)
                self._forget(user)
            raise

    def end(self, user: str, after: float = 0.0) -> None:
        """End a user's turn, now or after so many seconds, in which others have theirs."""
        if after > 0:
            asyncio.get_running_loop().call_later(after, self._end, user)
        else:
            self._end(user)

    def _take(self, user: str) -> None:
        self._free -= 1
        self._running[user] = self._running.get(user, 0) + 1

    def _end(self, user: str) -> None:
        self._free += 1
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        while self._free and (following := self._following()) is not None:
            future = self._waiting[following].popleft()
            self._waiting.move_to_end(following)
            self._forget(following)
            if not future.done():
                self._take(following)
                future.set_result(None)

    def _following(self) -> str | None:
        return next((user for user in self._waiting if self._running.get(user, 0) < self._own), None)

    def _forget(self, user: str) -> None:
        if not self._waiting.get(user, True):
            del self._waiting[user]


async def _to_its_end(work: Future[Result]) -> Result:
    """What work in a thread returns; who is cancelled waits for its end all the same, for it is theirs until then."""
    done = asyncio.wrap_future(work)
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait([done])
        raise
