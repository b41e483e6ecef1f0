"""A folder that keeps images, sessions and every interaction with them.

An interaction is in the store before anyone is told that it happened: its arrays as blobs, flushed to the disk, then
one row of the journal in a SQLite transaction (WAL, synchronous). So a process may be killed at any moment; what was
acknowledged is there, and what was not never was. Many processes may work on one store; see
`bifseg.storage.session_claims`.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bifseg.errors import Busy, NotFound
from bifseg.method.parameters import Parameters, chosen
from bifseg.session.state import Segment, State
from bifseg.storage import snapshot
from bifseg.storage.images import Images
from bifseg.storage.journal import Entry, History, check_current, repeated
from bifseg.storage.processes import Processes
from bifseg.storage.rows import SessionRow, loaded
from bifseg.storage.session_claims import Claims

CACHED = 64 << 20  # bytes of segments kept in memory, by each process
TOLD = 16  # times as many bytes in memory as JSON has, of dicts that are empty
SEGMENTS = 20_000  # that the states of histories kept in memory name, 0.8 kB each


class Store(Images):
    """Sessions and their journals, on the `Images` of a folder.

    Parameters
    ----------
    folder, quota, share
        As of `bifseg.storage.contents.Contents`.
    prefix
        What session ids begin with.
    """

    def __init__(self, folder: Path, *, quota: int | None = None, share: int | None = None, prefix: str = "") -> None:
        super().__init__(folder, quota, share)
        self.prefix = prefix
        self.processes = Processes(self.folder / "processes")
        self.claims = Claims(self._database, self.processes)
        self.claim, self.claimed, self.renew, self.release = (
            self.claims.claim, self.claims.claimed, self.claims.renew, self.claims.release,
        )  # fmt: skip
        self._segments: OrderedDict[str, tuple[Segment, int]] = OrderedDict()  # and how many bytes each takes
        self._histories: OrderedDict[str, History] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Give back connections and locks."""
        self._database.close()
        self.processes.close()

    # ---- sessions

    def create(
        self, image: str, owner: str, *, fill: Callable[[sqlite3.Connection, str], None] | None = None, **options: Any
    ) -> str:
        """Begin a session on an image of this owner's: its id. ``options``, and errors: as of `session_row`.

        ``fill`` writes what the session begins with, within the transaction that makes it.
        """
        self.image_row(image, owner)
        return self.begin(self.session_row(image, owner, **options), fill)

    def session_row(
        self, image: str, owner: str, *, title: str = "", model: str = "default", parameters: str | Mapping = "fast",
        seed: int = 0, client: str = "api", id: str | None = None,
    ) -> SessionRow:  # fmt: skip
        """What is known of a session that is about to `begin`; ``id``: of `new_id`. ValueError for parameters that
        cannot be."""
        if isinstance(parameters, str) or "preset" in parameters:
            for dimension in (2, 3):
                chosen(parameters, dimension)
        else:
            parameters = Parameters().but(**parameters).as_dict()
        told, now = parameters if isinstance(parameters, str) else dict(parameters), time.time()
        return SessionRow(id or self.new_id(), owner, image, title, model, told, seed, client, now, now)

    def begin(self, row: SessionRow, fill: Callable[[sqlite3.Connection, str], None] | None = None) -> str:
        """Begin a session of `session_row` on an image that is kept, as `create` does: its id."""
        self.image_row(row.image, row.owner)
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    row.id, row.owner, row.image, row.title, row.model, json.dumps(row.parameters), row.seed,
                    row.client, row.created, row.touched,
                ),
            )  # fmt: skip
            if fill is not None:
                fill(connection, row.id)
        return row.id

    def new_id(self) -> str:
        """An id that no session has, or ever had."""
        return f"{self.prefix}{secrets.token_hex(10)}"

    def session(self, id: str, owner: str | None = None) -> SessionRow:
        """What is known of a session; NotFound where there is none, or it is not this owner's."""
        rows = self.read("SELECT * FROM sessions WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)", (id, owner))
        if not rows:
            raise NotFound(f"There is no session {id[:80]!r}.")
        return SessionRow.of(rows[0])

    def sessions(self, owner: str | None = None) -> list[SessionRow]:
        """All sessions, or those of one owner, the last used first."""
        sql = "SELECT * FROM sessions WHERE ?1 IS NULL OR owner = ?1 ORDER BY touched DESC"
        return [SessionRow.of(row) for row in self.read(sql, (owner,))]

    def delete(self, id: str, owner: str | None = None, expected: Collection[str] | None = None) -> None:
        """Forget a session, and every blob that only it used. Busy while a process works on it; Stale where
        it is at none of the ``expected`` versions."""
        self.session(id, owner)
        with self.forgetting() as (connection, gone):
            if self.claims.held(connection, id):
                raise Busy(f"The session {id} is being worked on; try again in a moment.")
            if expected is not None:
                check_current(self.history(id), expected, "")  # no other writes before this is committed
            gone += self.drop_session(connection, id)

    # ---- the journal

    def entries(self, id: str, after: int = 0, count: int = -1) -> list[Entry]:
        """A session's interactions, in their order; ``count``: so many of them at most."""
        sql = "SELECT * FROM entries WHERE session = ? AND number > ? ORDER BY number LIMIT ?"
        rows = self.read(sql, (id, after, count))
        return [
            Entry(
                row["number"], row["kind"], json.loads(row["request"]), loaded(row["state"]),
                json.loads(row["summary"]), row["key"], row["created"],
            )
            for row in rows
        ]  # fmt: skip

    def history(self, id: str, since: History | None = None) -> History:
        """What a session can undo and redo; ``since``: what was known of it before, to read only what came after;
        where it is None, what this process knows."""
        if since is not None:
            return self._followed(id, since)
        with self._lock:
            since = self._histories.pop(id, None) or History()
        history = self._followed(id, since)  # a journal only grows
        with self._lock:
            self._histories[id] = history
            while sum(known.size for known in self._histories.values()) > SEGMENTS and len(self._histories) > 1:
                self._histories.popitem(last=False)
        return history

    def _followed(self, id: str, since: History) -> History:
        sql = "SELECT number, kind, state FROM entries WHERE session = ? AND number > ? ORDER BY number"
        return since.after(
            (row["number"], row["kind"], loaded(row["state"])) for row in self.read(sql, (id, since.number))
        )

    def last_number(self, id: str) -> int:
        """The number of a session's last interaction, 0 before the first; NotFound where there is no such session."""
        self.session(id)
        return self.read("SELECT max(number) AS last FROM entries WHERE session = ?", (id,))[0]["last"] or 0

    def find(self, id: str, key: str) -> Entry | None:
        """The interaction that carried this key: whoever sends one twice gets the first answer."""
        rows = self.read("SELECT number FROM entries WHERE session = ? AND key = ?", (id, key))
        return self.entries(id, after=rows[0]["number"] - 1)[0] if rows else None

    def append(
        self,
        id: str,
        fence: int,
        kind: str,
        request: Mapping,
        *,
        state: Mapping | None,
        summary: Mapping,
        blobs: Sequence[str] = (),
        key: str | None = None,
    ) -> int:
        """Write an interaction into the journal: its number. It is durable when this returns.

        ``fence``: what `claim` gave; Busy where another process has claimed the session since. ``blobs``: all
        that the entry refers to; InvalidInput where one is missing.
        """
        with self.transaction() as connection:
            return self._append(connection, id, fence, kind, request, state, summary, blobs, key)

    def _append(
        self, connection: sqlite3.Connection, id: str, fence: int, kind: str, request: Mapping, state: Mapping | None,
        summary: Mapping, blobs: Sequence[str] = (), key: str | None = None,
    ) -> int:  # fmt: skip
        now = time.time()
        self.claims.check(connection, id, fence)
        (number,) = connection.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM entries WHERE session = ?", (id,)
        ).fetchone()
        for sha in blobs:
            self.record(connection, sha)
            connection.execute("INSERT OR IGNORE INTO refs VALUES (?, ?)", (id, sha))
        connection.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                id, number, kind, json.dumps(request), None if state is None else json.dumps(state),
                json.dumps(summary), key, now,
            ),
        )  # fmt: skip
        connection.execute("UPDATE sessions SET touched = ? WHERE id = ?", (now, id))
        return number

    def move(
        self, id: str, owner: str, kind: str, key: str | None = None, expected: Collection[str] | None = None
    ) -> dict:
        """Undo or redo, which only the journal needs to know: where it led. Busy where others hold the session,
        Stale where it is at none of the ``expected`` versions."""
        start = time.perf_counter()
        with self.transaction() as connection:  # a single one: who moves waits for nothing else, and nobody for them
            fence = self.claims.claim_in(connection, id, owner, 0)  # over when this is; but who was slower lost theirs
            history = self.history(id)
            if key is not None and (entry := self.find(id, key)):
                return repeated(history, entry, kind, {})
            check_current(history, expected, "")
            if not (history.can_undo if kind == "undo" else history.can_redo):
                return {**history.summary(), "kind": kind, "changed": False}
            cost = {"seconds": round(time.perf_counter() - start, 4)}
            number = self._append(connection, id, fence, kind, {}, state=None, summary=cost, key=key)
        return {**history.after([(number, kind, None)]).summary(), **cost, "kind": kind, "changed": True}

    # ---- states

    def segment(self, sha: str) -> Segment:
        """A stored segment; those used last stay in memory."""
        with self._lock:
            if sha in self._segments:
                self._segments.move_to_end(sha)
                return self._segments[sha][0]
        content = self.blob(sha)
        segment = snapshot.unpack(content)
        size = segment.nbytes + TOLD * snapshot.header_bytes(content)
        with self._lock:
            self._segments[sha] = segment, size
            while len(self._segments) > 1 and sum(taken for _, taken in self._segments.values()) > CACHED:
                self._segments.popitem(last=False)
        return segment

    def load(self, state: Mapping) -> State:
        """A journal's state with its segments."""
        return State(
            {name: self.segment(about["segment"]) for name, about in state["objects"].items()}, state["current"]
        )

    def state(self, id: str) -> State:
        """All objects of a session as they stand."""
        return self.load(self.history(id).state)

    def drop_session(self, connection: sqlite3.Connection, id: str) -> list[str]:
        """Forget a session and what only it used, within a transaction of `forgetting`: the contents' names."""
        blobs = [row["blob"] for row in connection.execute("SELECT blob FROM refs WHERE session = ?", (id,))]
        connection.execute("DELETE FROM sessions WHERE id = ?", (id,))
        return self.drop_unused(connection, blobs)
