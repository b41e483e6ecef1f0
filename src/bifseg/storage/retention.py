"""What a store forgets by itself: sessions unused for too long, images nobody works on, contents nothing refers to."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass

from bifseg.errors import InvalidInput
from bifseg.storage.contents import batches
from bifseg.storage.store import Store

DAY = 86400.0
GRACE = 3600.0  # seconds that a content may wait for the interaction which refers to it

LEASED = "EXISTS (SELECT 1 FROM client_leases WHERE max(touched, heard) >= :cutoff AND instr(facts, {}))"
IDLE = f"""SELECT id FROM sessions LEFT JOIN claims ON claims.session = id
  WHERE sessions.touched < :cutoff AND coalesce(expires, 0) <= :now AND NOT {LEASED.format("sessions.id")}"""
LEFT = f"SELECT key FROM images WHERE created < :cutoff AND NOT {LEASED.format('images.key')}"
UNUSED = """SELECT sha FROM blobs WHERE created < ? AND NOT EXISTS (SELECT 1 FROM refs WHERE blob = sha)
  AND NOT EXISTS (SELECT 1 FROM images WHERE blob = sha OR dicom = sha)"""


@dataclass(frozen=True)
class Swept:
    """How many were deleted, and by how many bytes the store became smaller."""

    sessions: int = 0
    images: int = 0
    blobs: int = 0
    bytes: int = 0


def sweep(store: Store, keep_days: float | None = None, now: float | None = None) -> Swept:
    """Delete what has served its time; safe beside processes that work on the store.

    ``keep_days``: sessions not touched, and images that no session of their owner uses, for so long go; None: none
    do. A session that is claimed, or that a client holds, stays. Contents that nothing refers to go after an hour,
    and so does what killed processes left half written. ``now``: seconds, as `time.time`. InvalidInput for a negative
    age.
    """
    if keep_days is not None and not keep_days >= 0:
        raise InvalidInput(f"Sessions cannot be kept for {keep_days} days; give 0 or more.")
    now = time.time() if now is None else now
    before, sessions, images = store.used(), 0, 0
    if keep_days is not None:
        times = {"cutoff": now - keep_days * DAY, "now": now}
        sessions = sum(_forget(store, row["id"], times) for row in store.read(IDLE, times))
        images = sum(store.drop_image(row["key"], times["cutoff"]) for row in store.read(LEFT, times))
    blobs = _drop_orphans(store, now)
    store.blobs.sweep(now - GRACE)
    store.processes.sweep()
    return Swept(sessions, images, blobs, max(0, before - store.used()))


def usage(store: Store) -> dict:
    """What the store holds, and may hold, in bytes and numbers, ready for JSON; ``quota``: None where there is none."""
    counts = {
        table: store.read(f"SELECT count(*) FROM {table}")[0][0] for table in ("sessions", "entries", "images", "blobs")
    }
    return {"bytes": store.used(), "quota": store.quota, "free": shutil.disk_usage(store.folder).free, **counts}


def _forget(store: Store, id: str, times: dict) -> bool:
    """Delete a session, unless it was touched or claimed since it was found to be idle."""
    with store.forgetting() as (connection, gone):
        if not connection.execute(f"{IDLE} AND sessions.id = :id", {**times, "id": id}).fetchone():
            return False
        gone += store.drop_session(connection, id)
    return True


def _drop_orphans(store: Store, now: float) -> int:
    """Delete contents that nothing refers to, whether the database knows them or not: how many."""
    dropped = 0
    for batch in batches([row["sha"] for row in store.read(UNUSED, (now - GRACE,))]):
        with store.forgetting() as (connection, gone):
            gone += store.drop_unused(connection, batch)
            dropped += len(gone)
    for batch in batches([sha for sha in store.blobs if store.blobs.age(sha, now) > GRACE]):
        with store.transaction() as connection:  # so that none of them becomes known meanwhile
            for sha in batch:
                if not connection.execute("SELECT 1 FROM blobs WHERE sha = ?", (sha,)).fetchone():
                    store.blobs.delete(sha)
                    dropped += 1
    return dropped
