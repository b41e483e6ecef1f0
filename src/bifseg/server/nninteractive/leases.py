"""What the server knows of each client of the nnInteractive protocol: kept in the store, so that it outlives it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from bifseg.server.settings import LOCAL, Limits
from bifseg.storage import Store


class LeaseGoneError(LookupError):
    """The lease has run out, was given back, or never was this user's."""


class CapacityError(RuntimeError):
    """As many clients as the server takes are there already."""


@dataclass(frozen=True)
class Lease:
    """``facts``: what the client said, as JSON: "image" and "session" (keys of the store), "dtype" of its buffer."""

    token: str
    user: str
    idle: float  # seconds since the client last did something
    facts: Mapping


class Leases:
    """The leases in a store.

    A client that does nothing for ``limits.idle_seconds``, or is not heard of for ``limits.liveness_seconds``, loses
    its own. A server that starts takes the clients there were for alive: they could not be heard.
    """

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        with store.transaction() as connection:
            cutoff = time.time() - limits.idle_seconds
            connection.execute("DELETE FROM client_leases WHERE heard < ?", (cutoff,))
        self.hear_all()

    def hear_all(self) -> None:
        """Take all clients for alive: until now, when the server begins to answer, they could not be heard."""
        with self._store.transaction() as connection:
            connection.execute("UPDATE client_leases SET heard = ?", (time.time(),))

    def claim(self, user: str) -> str:
        """A new lease: its token. CapacityError where there are too many."""
        token, now = secrets.token_urlsafe(32), time.time()
        with self._store.transaction() as connection:
            self._drop_dead(connection, now)
            (held,) = connection.execute("SELECT count(*) FROM client_leases").fetchone()
            if held >= self._limits.leases:
                raise CapacityError(f"{held} clients are connected, as many as this server takes; try again later.")
            sql = "SELECT count(*) FROM client_leases WHERE user = ?"
            (own,) = connection.execute(sql, (user,)).fetchone()
            if own >= self._limits.leases_per_user and user != LOCAL:
                raise CapacityError(f"{own} of your clients are connected, as many as one user may have; close one.")
            connection.execute(
                "INSERT INTO client_leases VALUES (?, ?, ?, ?, ?, '{}')", (_digest(token), user, now, now, now)
            )
        return token

    def hear(self, token: str, user: str, *, act: bool) -> Lease:
        """The lease of a client that just spoke, and with ``act`` did something. LeaseGoneError where it has none."""
        now, key = time.time(), _digest(token)
        with self._store.transaction() as connection:
            self._drop_dead(connection, now)
            row = connection.execute(
                "UPDATE client_leases SET heard = ?1, touched = CASE WHEN ?2 THEN ?1 ELSE touched END "
                "WHERE token_hash = ?3 AND user = ?4 RETURNING touched, facts", (now, act, key, user),
            ).fetchone()  # fmt: skip
        if row is None:
            raise LeaseGoneError("This lease has run out, or is unknown here; connect again.")
        return Lease(token, user, now - row["touched"], json.loads(row["facts"]))

    def note(self, lease: Lease, **facts: object) -> Lease:
        """Remember what a client said; what is None is forgotten."""
        facts = {name: value for name, value in {**lease.facts, **facts}.items() if value is not None}
        with self._store.transaction() as connection:
            sql = "UPDATE client_leases SET facts = ? WHERE token_hash = ?"
            connection.execute(sql, (json.dumps(facts), _digest(lease.token)))
        return Lease(lease.token, lease.user, lease.idle, facts)

    def turn(self, token: str) -> asyncio.Lock:
        """Held while a client's user does something: one thing after the other."""
        return self._turns.setdefault(token, asyncio.Lock())

    def release(self, token: str, user: str) -> bool:
        """Give a lease back; False where there was none."""
        with self._store.transaction() as connection:
            sql = "DELETE FROM client_leases WHERE token_hash = ? AND user = ?"
            return connection.execute(sql, (_digest(token), user)).rowcount > 0

    def sessions(self, but: Lease) -> set[str]:
        """Sessions that other clients are working on."""
        sql = "SELECT facts FROM client_leases WHERE token_hash != ?"
        return {json.loads(row["facts"]).get("session") for row in self._store.read(sql, (_digest(but.token),))} - {
            None
        }

    def _drop_dead(self, connection: sqlite3.Connection, now: float) -> None:
        idle, silent = now - self._limits.idle_seconds, now - self._limits.liveness_seconds
        connection.execute("DELETE FROM client_leases WHERE touched < ? OR heard < ?", (idle, silent))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
