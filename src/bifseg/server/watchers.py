"""Who watches a session hears at once that it changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watchers:
    """The watchers of all sessions of this process; to be used in its event loop alone."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self.closed = False

    @contextmanager
    def of(self, session: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever the session changed, and when the server ends; its watcher clears it."""
        event = asyncio.Event()
        watchers = self._watchers.setdefault(session, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers and self._watchers.get(session) is watchers:
                del self._watchers[session]

    def tell(self, session: str) -> None:
        """Say that a session changed."""
        for event in self._watchers.get(session, ()):
            event.set()

    def close(self) -> None:
        """The server ends: nobody watches any longer."""
        self.closed = True
        for watchers in self._watchers.values():
            for event in watchers:
                event.set()
