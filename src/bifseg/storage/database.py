"""The store's SQLite database: its tables, and transactions that many threads and processes may take at once."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bifseg.errors import Busy, InvalidInput, StorageFull
from bifseg.storage import migration
from bifseg.storage.full_disk import FULL

VERSION = 2
PATIENCE = 30  # seconds that one waits for others
PAGES = 1 << 16  # bytes without which SQLite can write nothing
SCHEMA = """
CREATE TABLE blobs (sha TEXT PRIMARY KEY, bytes INTEGER NOT NULL, created REAL NOT NULL);
CREATE TABLE images (
  key TEXT PRIMARY KEY, blob TEXT NOT NULL, geometry TEXT NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL,
  dicom TEXT);
CREATE TABLE owners (
  image TEXT NOT NULL REFERENCES images ON DELETE CASCADE, owner TEXT NOT NULL, created REAL NOT NULL,
  PRIMARY KEY (image, owner));
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, image TEXT NOT NULL REFERENCES images, title TEXT NOT NULL,
  model TEXT NOT NULL, parameters TEXT NOT NULL, seed INTEGER NOT NULL, client TEXT NOT NULL,
  created REAL NOT NULL, touched REAL NOT NULL);
CREATE INDEX sessions_by_owner ON sessions (owner, touched);
CREATE TABLE entries (
  session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, number INTEGER NOT NULL, kind TEXT NOT NULL,
  request TEXT NOT NULL, state TEXT, summary TEXT NOT NULL, key TEXT, created REAL NOT NULL,
  PRIMARY KEY (session, number)) WITHOUT ROWID;
CREATE UNIQUE INDEX entries_by_key ON entries (session, key) WHERE key IS NOT NULL;
CREATE TABLE refs (
  session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE, blob TEXT NOT NULL REFERENCES blobs,
  PRIMARY KEY (session, blob)) WITHOUT ROWID;
CREATE INDEX refs_by_blob ON refs (blob);
CREATE TABLE claims (
  session TEXT PRIMARY KEY REFERENCES sessions ON DELETE CASCADE, owner TEXT NOT NULL, expires REAL NOT NULL,
  fence INTEGER NOT NULL);
CREATE TABLE tokens (
  id TEXT PRIMARY KEY, user TEXT NOT NULL, hash TEXT NOT NULL, created REAL NOT NULL, expires REAL, revoked REAL,
  last_used REAL, admin INTEGER NOT NULL DEFAULT 0);
CREATE TABLE client_leases (
  token_hash TEXT PRIMARY KEY, user TEXT NOT NULL, created REAL NOT NULL, touched REAL NOT NULL, heard REAL NOT NULL,
  facts TEXT NOT NULL);
CREATE TABLE datastore (
  owner TEXT NOT NULL, name TEXT NOT NULL, image TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
  PRIMARY KEY (owner, name));
"""


class Database:
    """Connections to one file, lent to whoever reads or writes; WAL, so that readers never wait for a writer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._free: list[sqlite3.Connection] = []
        self._lock, self._writing = threading.Lock(), threading.Lock()
        if self.read("PRAGMA user_version")[0][0] == VERSION:  # as always but once: nobody is waited for
            return
        with self.transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
            elif version == 1:
                migration.from_1(connection)
            elif version != VERSION:
                raise InvalidInput(
                    f"{path} is a store of version {version}; this bifseg reads versions 1 to {VERSION}."
                )
            if version != VERSION:
                connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def transaction(self, lasting: bool = True) -> Iterator[sqlite3.Connection]:
        """All or nothing, and durable when it returns. Busy where others write for too long; StorageFull.

        ``lasting``: whether it survives a power cut, for which the disk is waited for; all survive their process.
        """
        # Threads of one process wait here, and go on at once; SQLite would have them look again now and then.
        with self._turn(), self._connection() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def read(self, sql: str, arguments: Sequence | Mapping = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._connection() as connection:
            return connection.execute(sql, arguments).fetchall()

    def close(self) -> None:
        with self._lock:
            while self._free:
                self._free.pop().close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writing.acquire(timeout=PATIENCE):
            raise _busy()
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._free.pop() if self._free else None
        try:
            connection = connection or self._open()
            yield connection
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise _busy() from None
            if "full" in str(error) or shutil.disk_usage(self.path.parent).free < PAGES:  # then also "disk I/O error"
                raise StorageFull(FULL) from None
            raise OSError(f"The store {self.path} cannot be used: {error}.") from None
        except sqlite3.DatabaseError as error:
            raise InvalidInput(f"{self.path} is damaged or no store: {error}.") from None
        finally:
            if connection is not None:
                with self._lock:
                    self._free.append(connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        try:
            _write_ahead(connection)
            for pragma in ("foreign_keys = ON", "temp_store = MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection


def _busy() -> Busy:
    return Busy("The store is busy; try again in a moment.")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the journal's mode; where others open the new file at the same moment, SQLite does not wait for them."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.01)
