"""What a store's folder keeps by content: blobs and arrays, who refers to them, and how much room they take."""

from __future__ import annotations

import io
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bifseg.errors import InvalidInput, StorageFull
from bifseg.io.arrays import array_of
from bifseg.prompts.interaction import Box
from bifseg.storage.blobs import Blobs
from bifseg.storage.database import Database
from bifseg.storage.full_disk import FULL

LOCAL = "local"  # the user of a server that asks nobody who they are
RESERVE = 16 << 20  # bytes of the disk that contents leave free, so that sessions can still be deleted
RECALLED = 10.0  # seconds for which it is taken as known what a user keeps


BATCH = 64  # deletions in one transaction: nobody waits long for them


def batches(names: Sequence[str]) -> list[Sequence[str]]:
    """The same names, few at a time."""
    return [names[k : k + BATCH] for k in range(0, len(names), BATCH)]


class Contents:
    """Files named by their hash, and the rows that refer to them.

    Parameters
    ----------
    folder
        Made where it is missing.
    quota
        Bytes that all contents may take; None: as the disk allows.
    share
        Bytes of them that may be one user's; None: all.
    """

    def __init__(self, folder: Path, quota: int | None = None, share: int | None = None) -> None:
        self.folder, self.quota, self.share = Path(folder), quota, share
        self._taken: dict[str, tuple[float, int]] = {}  # owner: (when, bytes)
        self._coming: Counter[str] = Counter()  # bytes that are on their way, by owner
        self._counting = threading.Lock()
        self.beside: Callable[[str], int] = lambda owner: 0  # bytes of what others keep of a user's in this folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)  # what is in it is about patients
        self.blobs = Blobs(self.folder / "blobs")
        self._database = Database(self.folder / "store.sqlite")
        self.transaction, self.read = self._database.transaction, self._database.read

    # ---- contents

    def add_blob(self, content: bytes) -> str:
        """Keep bytes: their name. StorageFull where there is no room."""
        self.check_room(len(content))
        sha = self.blobs.put(content)
        with self.transaction() as connection:
            self.record(connection, sha)
        return sha

    def blob(self, sha: str) -> bytes:
        """The bytes of this name; NotFound where there are none."""
        return self.blobs.get(sha)

    def add_array(self, array: np.ndarray) -> str:
        """Keep an array of numbers as an .npy file: its name."""
        file = io.BytesIO()
        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
        return self.add_blob(file.getvalue())

    def array(self, sha: str) -> np.ndarray:
        """The array of this name; NotFound where there is none, InvalidInput where it is no array."""
        return array_of(self.blob(sha))

    def refer(self, array: np.ndarray, box: Box) -> dict:
        """Keep an array of a box's shape: what interactions call it, see `bifseg.storage.durable`."""
        return {"blob": self.add_array(array), "box": str(box)}

    def refer_pieces(self, pieces: Iterable[bytes], box: Box) -> dict:
        """As `refer`, of a uint8 array that comes piece by piece in C order, and never lies in memory as a whole."""
        self.check_room(prod(box.shape))

        def fill(file: BinaryIO) -> None:
            header = {"descr": "|u1", "fortran_order": False, "shape": box.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for piece in pieces:
                file.write(piece)

        sha = self.blobs.write(fill)
        with self.transaction() as connection:
            self.record(connection, sha)
        return {"blob": sha, "box": str(box)}

    # ---- room

    def used(self) -> int:
        """Bytes that blobs take."""
        return self.read("SELECT coalesce(sum(bytes), 0) FROM blobs")[0][0]

    def check_room(self, needed: int) -> None:
        """StorageFull where so many bytes more would exceed the quota, or leave the journal no room on the disk."""
        if shutil.disk_usage(self.folder).free < needed + RESERVE:
            raise StorageFull(FULL)
        if self.quota is not None and self.used() + needed > self.quota:
            raise StorageFull(
                f"The store may take {self.quota / 2**30:.3g} GiB, and this does not fit; delete sessions or images."
            )

    def taken(self, owner: str) -> int:
        """Bytes of a user's images with their headers, sessions and journals, each counted whole, whoever else has the
        same, and what is beside."""
        images = "SELECT coalesce(sum(bytes), 0) FROM images JOIN owners ON image = key WHERE owner = ?"
        headers = (
            "SELECT coalesce(sum(blobs.bytes), 0) FROM images JOIN owners ON image = key JOIN blobs ON sha = dicom "
            "WHERE owner = ?"
        )
        sessions = (
            "SELECT coalesce(sum(blobs.bytes), 0) FROM sessions JOIN refs ON refs.session = sessions.id "
            "JOIN blobs ON blobs.sha = refs.blob WHERE sessions.owner = ?"
        )
        journals = (
            "SELECT coalesce(sum(length(request) + coalesce(length(state), 0)), 0) FROM sessions "
            "JOIN entries ON session = id WHERE owner = ?"
        )
        return sum(self.read(sql, (owner,))[0][0] for sql in (images, headers, sessions, journals)) + self.beside(owner)

    def check_share(self, owner: str, needed: int) -> None:
        """StorageFull where so many bytes more would exceed the user's share."""
        if self.share is None or owner == LOCAL:
            return
        when, taken = self._fitting(owner, needed)
        self._taken[owner] = when, taken + needed  # until it is looked at again, as if it were kept

    @contextmanager
    def coming(self, owner: str) -> Iterator[Callable[[int], None]]:
        """What comes for a user and is not kept yet: a function that counts further bytes of it, before they are
        written. StorageFull where all that is on its way does not fit."""
        own = 0

        def count(size: int) -> None:
            nonlocal own
            with self._counting:
                self._coming[owner] += size
                own += size
                coming = self._coming[owner]
            if shutil.disk_usage(self.folder).free < size + RESERVE:
                raise StorageFull(FULL)
            if self.share is not None and owner != LOCAL:
                self._taken[owner] = self._fitting(owner, coming)

        try:
            yield count
        finally:
            with self._counting:
                self._coming[owner] -= own
                if not self._coming[owner]:
                    del self._coming[owner]

    def _fitting(self, owner: str, needed: int) -> tuple[float, int]:
        """When it was counted what a user keeps, and how much; StorageFull where so many bytes more do not fit."""
        share = self.share or 0
        when, taken = self._taken.get(owner, (0.0, 0))
        if taken + needed > share or time.monotonic() > when + RECALLED:
            when, taken = time.monotonic(), self.taken(owner)
        if taken + needed > share:
            raise StorageFull(
                f"You may keep {share / 2**30:.3g} GiB here, and this does not fit; delete sessions or images."
            )
        return when, taken

    def recount(self, owner: str) -> None:
        """Look again at what a user keeps: another process added to it."""
        self._taken.pop(owner, None)

    @contextmanager
    def forgetting(self) -> Iterator[tuple[sqlite3.Connection, list[str]]]:
        """A transaction that deletes; files of the contents that it adds to the list go when it is committed.

        Whoever is killed in between leaves files that nothing refers to, which the sweep takes: never a session that
        lacks one.
        """
        gone: list[str] = []
        start = time.time()
        with self.transaction() as connection:
            yield connection, gone
        for batch in batches(gone):
            with self.transaction() as connection:  # so that none of them becomes known again meanwhile
                for sha in batch:
                    known = connection.execute("SELECT 1 FROM blobs WHERE sha = ?", (sha,)).fetchone()
                    if not known and self.blobs.age(sha, start) >= 0:  # one written since then is on its way to be
                        self.blobs.delete(sha)

    def drop_unused(self, connection: sqlite3.Connection, blobs: Iterable[str]) -> list[str]:
        """Forget those of the contents that nothing refers to, within a transaction of `forgetting`: their names."""
        dropped = []
        for sha in blobs:
            used = connection.execute(
                "SELECT 1 FROM refs WHERE blob = ?1 UNION ALL SELECT 1 FROM images WHERE blob = ?1 OR dicom = ?1",
                (sha,),
            ).fetchone()
            if not used:
                connection.execute("DELETE FROM blobs WHERE sha = ?", (sha,))
                dropped.append(sha)
        return dropped

    def withdraw(self, blobs: Collection[str]) -> None:
        """Delete contents that were brought for an interaction which was refused, where nothing else refers to them."""
        if blobs:
            with self.forgetting() as (connection, gone):
                gone += self.drop_unused(connection, blobs)

    def record(self, connection: sqlite3.Connection, sha: str) -> None:
        """A blob's row; InvalidInput where its file is gone (deleted with the last session that used it)."""
        path = self.blobs.path(sha)
        if not path.is_file():
            raise InvalidInput(f"The store no longer holds the array {sha[:12]}; send it again.")
        connection.execute(
            "INSERT INTO blobs VALUES (?, ?, ?) ON CONFLICT (sha) DO UPDATE SET created = excluded.created",
            (sha, path.stat().st_size, time.time()),
        )
