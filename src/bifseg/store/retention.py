"""What a store forgets by itself: sessions unused for too long, images nobody works on, contents nothing refers to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bifseg.store.store import Store

DAY = 86400.0
GRACE = 3600.0  # seconds that a content may wait for the interaction which refers to it
BATCH = 64  # deletions in one transaction: nobody waits long for the sweep

IDLE = """SELECT id FROM sessions LEFT JOIN claims ON claims.session = id
  WHERE touched < :cutoff AND coalesce(expires, 0) <= :now AND NOT EXISTS (
    SELECT 1 FROM client_leases WHERE max(client_leases.touched, heard) >= :cutoff AND instr(facts, sessions.id))"""
LEFT = """created < :cutoff
  AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.image = owners.image AND sessions.owner = owners.owner)
  AND NOT EXISTS (
    SELECT 1 FROM client_leases WHERE max(touched, heard) >= :cutoff AND instr(facts, owners.image))"""
UNOWNED = """SELECT key, blob, dicom FROM images WHERE NOT EXISTS (SELECT 1 FROM owners WHERE image = key)
  AND NOT EXISTS (SELECT 1 FROM sessions WHERE image = key)"""
UNUSED = """SELECT sha FROM blobs WHERE created < ? AND NOT EXISTS (SELECT 1 FROM refs WHERE blob = sha)
  AND NOT EXISTS (SELECT 1 FROM images WHERE blob = sha OR dicom = sha)"""


@dataclass(frozen=True)
class Swept:
    """How many were deleted, and the bytes that blobs took less."""

    sessions: int = 0
    images: int = 0
    blobs: int = 0
    bytes: int = 0


def sweep(store: Store, keep_days: float | None = None, now: float | None = None) -> Swept:
    """Delete what has served its time; safe beside processes that work on the store.

    ``keep_days``: sessions not touched, and images that no session of their owner uses, for so long go; None: none
    do. A session that is claimed or held by a client stays. Contents that nothing refers to go after an hour, with
    what killed processes left half written. ``now``: seconds, as `time.time`. Raises ValueError for a negative age.
    """
    if keep_days is not None and not keep_days >= 0:
        raise ValueError(f"Sessions cannot be kept for {keep_days} days; give 0 or more.")
    now = time.time() if now is None else now
    before, sessions, images = store.used(), 0, 0
    if keep_days is not None:
        times = {"cutoff": now - keep_days * DAY, "now": now}
        for row in store.read(IDLE, times):
            sessions += _forget_session(store, row["id"], times)
        images = _forget_images(store, times)
    blobs = _drop_orphans(store, now - GRACE)
    return Swept(sessions, images, blobs, max(0, before - store.used()))


def usage(store: Store) -> dict:
    """What the store holds and may hold, in bytes and numbers, ready for JSON; ``quota``: None without one."""
    counts = {
        table: store.read(f"SELECT count(*) FROM {table}")[0][0] for table in ("sessions", "entries", "images", "blobs")
    }
    return {"bytes": store.used(), "quota": store.quota, "free": shutil.disk_usage(store.folder).free, **counts}


def _forget_session(store: Store, id: str, times: dict) -> bool:
    """Delete a session, unless it was touched or claimed since it was found to be idle."""
    with store.transaction() as connection:
        if not connection.execute(f"{IDLE} AND id = :id", {**times, "id": id}).fetchone():
            return False
        blobs = [row["blob"] for row in connection.execute("SELECT blob FROM refs WHERE session = ?", (id,))]
        connection.execute("DELETE FROM sessions WHERE id = ?", (id,))
        store.drop_unused(connection, blobs)
    return True


def _forget_images(store: Store, times: dict) -> int:
    with store.transaction() as connection:
        connection.execute(f"DELETE FROM owners WHERE {LEFT}", times)
        connection.execute(
            "DELETE FROM datastore WHERE NOT EXISTS (SELECT 1 FROM owners WHERE owners.image = datastore.image "
            "AND owners.owner = datastore.owner)"
        )
        unowned = connection.execute(UNOWNED).fetchall()
        for row in unowned:
            connection.execute("DELETE FROM images WHERE key = ?", (row["key"],))
            store.drop_unused(connection, filter(None, (row["blob"], row["dicom"])))
    return len(unowned)


def _drop_orphans(store: Store, before: float) -> int:
    """Delete contents that nothing refers to, known to the database or not: how many."""
    rows = [row["sha"] for row in store.read(UNUSED, (before,))]
    files = [sha for sha in store.blobs if _older(store.blobs.path(sha), before)]
    dropped = 0
    for batch in _batches(rows):
        with store.transaction() as connection:
            again = [sha for sha in batch if connection.execute(f"{UNUSED} AND sha = ?", (before, sha)).fetchone()]
            dropped += store.drop_unused(connection, again)
    for batch in _batches(files):
        with store.transaction() as connection:  # none can be recorded meanwhile
            for sha in batch:
                known = connection.execute("SELECT 1 FROM blobs WHERE sha = ?", (sha,)).fetchone()
                if not known and _older(store.blobs.path(sha), before):
                    store.blobs.delete(sha)
                    dropped += 1
    for draft in store.blobs.folder.glob(".*.part"):
        if _older(draft, before):
            draft.unlink(missing_ok=True)
    return dropped


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


def _batches(names: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, BATCH)):
        yield batch
