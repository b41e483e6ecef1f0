"""Who works on a session: a claim says so for a while, and a number that grows with every claim keeps others out.

One process computes on a session at a time. One that lost its claim, since it was too slow, cannot write: its number
(a fence) is no longer the last. What a process held that is no more is free at once, so no claim has to survive a power
cut, and the disk is not waited for.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bifseg.errors import Busy, NotFound
from bifseg.storage.database import Database
from bifseg.storage.processes import Processes


class Claims:
    """The claims in a store's database."""

    def __init__(self, database: Database, processes: Processes) -> None:
        self._database, self._processes = database, processes

    def claim(self, id: str, owner: str, seconds: float) -> int:
        """Claim a session for so long: a number that grows with every claim; Busy where another holds it.

        ``owner``: a process's name, "/", and who in it. Raises NotFound where there is no such session.
        """
        with self._database.transaction(lasting=False) as connection:
            return self.claim_in(connection, id, owner, seconds)

    def claim_in(self, connection: sqlite3.Connection, id: str, owner: str, seconds: float) -> int:
        """As `claim`, within a transaction."""
        if not connection.execute("SELECT 1 FROM sessions WHERE id = ?", (id,)).fetchone():
            raise NotFound(f"There is no session {id[:80]!r}.")
        if self.held(connection, id, but=owner):
            raise _busy(id)
        last = connection.execute("SELECT fence FROM claims WHERE session = ?", (id,)).fetchone()
        fence, until = (last["fence"] if last else 0) + 1, time.time() + seconds
        connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", (id, owner, until, fence))
        return fence

    @contextmanager
    def claimed(self, id: str, owner: str, seconds: float) -> Iterator[int]:
        """A session claimed, as by `claim`, until the end of the block."""
        fence = self.claim(id, owner, seconds)
        try:
            yield fence
        finally:
            self.release(id, fence)

    def renew(self, id: str, fence: int, seconds: float) -> None:
        """Keep a claim for longer; Busy where others have it by now."""
        with self._database.transaction(lasting=False) as connection:
            self.check(connection, id, fence)
            connection.execute("UPDATE claims SET expires = ? WHERE session = ?", (time.time() + seconds, id))

    def release(self, id: str, fence: int) -> None:
        """Let others claim a session; nothing happens where they have."""
        with self._database.transaction(lasting=False) as connection:
            connection.execute("UPDATE claims SET expires = 0 WHERE session = ? AND fence = ?", (id, fence))

    def check(self, connection: sqlite3.Connection, id: str, fence: int) -> None:
        """Busy, within a transaction, where a claim is not the last one of its session."""
        last = connection.execute("SELECT fence FROM claims WHERE session = ?", (id,)).fetchone()
        if last is None or last["fence"] != fence:
            raise _busy(id)

    def held(self, connection: sqlite3.Connection, id: str, but: str | None = None) -> bool:
        """Whether somebody ``but`` this owner holds a session and is alive."""
        claim = connection.execute("SELECT * FROM claims WHERE session = ?", (id,)).fetchone()
        return (
            claim is not None
            and claim["owner"] != but
            and claim["expires"] > time.time()
            and self._processes.alive(claim["owner"].partition("/")[0])
        )


def _busy(id: str) -> Busy:
    return Busy(f"Another process works on the session {id}; try again in a moment.")
