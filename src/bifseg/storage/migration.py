"""A store of an older version becomes one of today's, in one transaction."""

from __future__ import annotations

import sqlite3

from bifseg.storage.rows import key_of

TOGETHER = 1.0  # seconds between the two notes that one upload leaves in a store of version 1


def from_1(connection: sqlite3.Connection) -> None:
    """Version 1 (bifseg 0.1) kept one set of DICOM headers for all who had the same voxels: the last that came.

    From now on they belong to the user whose upload they came with, and their image is an image of its own. Whose they
    were was not written down: they stay with the only user of an image, unless they came after that user's last
    upload, and of several with the one whose last upload wrote them, by the times of both. Where that is nobody, or
    not one alone, nobody keeps them: a mask without a name is better than one with another patient's.
    """
    connection.execute("ALTER TABLE tokens ADD COLUMN admin INTEGER NOT NULL DEFAULT 0")
    for image in connection.execute("SELECT * FROM images WHERE dicom IS NOT NULL").fetchall():
        owner = _sender(connection, image)
        if owner is not None:
            _part(connection, image, owner)
        connection.execute("UPDATE images SET dicom = NULL WHERE key = ?", (image["key"],))
    connection.execute(
        "DELETE FROM images WHERE key NOT IN (SELECT image FROM owners) AND key NOT IN (SELECT image FROM sessions)"
    )


def _sender(connection: sqlite3.Connection, image: sqlite3.Row) -> str | None:
    """The user whose headers an image has; None where that cannot be known."""
    written = connection.execute("SELECT created FROM blobs WHERE sha = ?", (image["dicom"],)).fetchone()
    if written is None:
        return None
    times = dict(connection.execute("SELECT owner, created FROM owners WHERE image = ?", (image["key"],)).fetchall())
    users = {row[0] for row in connection.execute("SELECT owner FROM sessions WHERE image = ?", (image["key"],))}
    if len(users | times.keys()) == 1:
        (owner,) = users | times.keys()
        return owner if owner in times and written["created"] <= times[owner] + TOGETHER else None
    near = [owner for owner, time in times.items() if abs(written["created"] - time) <= TOGETHER]
    return near[0] if len(near) == 1 else None


def _part(connection: sqlite3.Connection, image: sqlite3.Row, owner: str) -> None:
    """Give an image with its headers to one user, with all that this user has on it."""
    old, new = image["key"], key_of(image["geometry"], image["blob"], image["dicom"])
    connection.execute(
        "INSERT OR IGNORE INTO images SELECT ?, blob, geometry, bytes, created, dicom FROM images WHERE key = ?",
        (new, old),
    )
    for table in ("owners", "sessions", "datastore"):
        connection.execute(f"UPDATE {table} SET image = ?1 WHERE image = ?2 AND owner = ?3", (new, old, owner))
    connection.execute("UPDATE client_leases SET facts = replace(facts, ?2, ?1) WHERE user = ?3", (new, old, owner))
