"""The images of a store: kept once however often they come, and looked at while they are still on their way."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bifseg.errors import Busy, NotFound
from bifseg.imaging.colours import joined
from bifseg.imaging.image import Image
from bifseg.io.arrays import mapped_array
from bifseg.storage.blobs import name_of
from bifseg.storage.contents import Contents
from bifseg.storage.rows import ImageRow, geometry_of, key_of

OWNED = (  # of others who have the same image nothing is told, not even since when
    "SELECT key, blob, geometry, bytes, owners.created AS created, dicom FROM images JOIN owners ON image = key"
)
Shown = tuple[str, ImageRow, Image]  # whose it is, what is known of it, and itself


class Images(Contents):
    """Images on the `Contents` of a folder, and whose they are."""

    def __init__(self, folder: Path, quota: int | None = None, share: int | None = None) -> None:
        super().__init__(folder, quota, share)
        self._shown: dict[str, Shown] = {}  # those that are on their way, by key; in this process alone

    def add_image(self, image: Image, owner: str, dicom: bytes | None = None) -> str:
        """Keep an image for a user, once however often it comes: its key. ``dicom``: the headers of its series.

        The same voxels with other headers, or with none, are another image: whose name a file carries is never a
        matter of who else has these pixels. Raises InvalidInput for an image that is constant or not finite,
        StorageFull where there is no room.
        """
        image, size = self._checked(image, owner, dicom)
        array = joined(image.array, image.colours)

        def fill(file: BinaryIO) -> None:
            np.lib.format.write_array(file, array, allow_pickle=False)

        blob = self.blobs.write(fill)
        geometry = geometry_of(image)
        headers = None if dicom is None else self.blobs.put(dicom)
        key, now = key_of(geometry, blob, headers), time.time()
        with self.transaction() as connection:
            if blob not in self.blobs:  # deleted meanwhile with the last session that used it; nobody does so now
                self.blobs.write(fill)
            if dicom is not None and headers is not None and headers not in self.blobs:
                self.blobs.put(dicom)
            for sha in filter(None, (blob, headers)):
                self.record(connection, sha)
            connection.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?)",
                (key, blob, geometry, size, now, headers),
            )
            connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", (key, owner, now))
        self.recount(owner)
        self._shown.pop(key, None)
        return key

    def show_image(self, image: Image, owner: str, dicom: bytes | None = None) -> ImageRow:
        """Let a user look at an image that is about to be kept, which takes as long as the disk does: what will be
        known of it. ``image_to_see`` has it from then on, until `add_image` has kept it. Errors as of that."""
        image, size = self._checked(image, owner, dicom)
        array = joined(image.array, image.colours)
        blob = name_of(lambda file: np.lib.format.write_array(file, array, allow_pickle=False))
        headers = None if dicom is None else name_of(lambda file: file.write(dicom))
        geometry = geometry_of(image)
        key = key_of(geometry, blob, headers)
        row = ImageRow.of(
            {"key": key, "blob": blob, "geometry": geometry, "bytes": size, "created": time.time(), "dicom": headers}
        )
        self._shown[key] = owner, row, image
        return row

    def _checked(self, image: Image, owner: str, dicom: bytes | None) -> tuple[Image, int]:
        """An image as it is kept, and how many bytes it takes; an error where it cannot be."""
        image.check_scan()
        if image.array.dtype == np.float16:  # which nothing computes with
            image = replace(image, array=image.array.astype(np.float32))
        size = image.array.nbytes if image.colours is None else 4 * image.array.nbytes
        self.check_room(size + len(dicom or b""))
        self.check_share(owner, size + len(dicom or b""))
        return image, size

    def image_row(self, key: str, owner: str | None = None) -> ImageRow:
        """What is known of an image, ``created``: since when this owner has it; NotFound where it is not theirs."""
        if owner is None:
            rows = self.read("SELECT * FROM images WHERE key = ?", (key,))
        else:
            rows = self.read(f"{OWNED} WHERE key = ? AND owner = ?", (key, owner))
        if not rows:
            raise NotFound(f"There is no image {key[:80]!r}; upload it first.")
        return ImageRow.of(rows[0])

    def images(self, owner: str) -> list[ImageRow]:
        """A user's images, the newest first."""
        sql = f"{OWNED} WHERE owner = ? ORDER BY owners.created DESC"
        return [ImageRow.of(row) for row in self.read(sql, (owner,))]

    def image(self, key: str) -> Image:
        """An image with its voxels mapped from the disk: processes share them, and none reads what it does not use."""
        row = self.image_row(key)
        return row.frame(mapped_array(self.blobs.path(row.blob)))

    def image_to_see(self, key: str, owner: str) -> tuple[ImageRow, Image]:
        """As `image_row` and `image`, also of one that is on its way: to be looked at, not to begin a session on."""
        shown = self._shown.get(key)
        if shown is not None and shown[0] == owner:
            return shown[1:]
        return self.image_row(key, owner), self.image(key)

    def forget_image(self, key: str, owner: str) -> None:
        """A user no longer needs an image; Busy while sessions of theirs use it."""
        self.image_row(key, owner)
        with self.forgetting() as (connection, gone):
            if connection.execute("SELECT 1 FROM sessions WHERE image = ? AND owner = ?", (key, owner)).fetchone():
                raise Busy("The image is used by sessions; delete those first.")
            connection.execute("DELETE FROM owners WHERE image = ? AND owner = ?", (key, owner))
            gone += self._drop_image(connection, key)

    def drop_image(self, key: str, before: float) -> bool:
        """Delete an image that no session uses and nobody has added since a time; False where it stays."""
        with self.forgetting() as (connection, gone):
            connection.execute(
                "DELETE FROM owners WHERE image = ?1 AND created < ?2 AND owner NOT IN "
                "(SELECT owner FROM sessions WHERE image = ?1)", (key, before),
            )  # fmt: skip
            gone += self._drop_image(connection, key)
            return not connection.execute("SELECT 1 FROM images WHERE key = ?", (key,)).fetchone()

    def _drop_image(self, connection: sqlite3.Connection, key: str) -> list[str]:
        """Forget an image that has neither owner nor session: the names of its contents."""
        row = connection.execute(
            "SELECT blob, dicom FROM images WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM owners WHERE image = ?1) "
            "AND NOT EXISTS (SELECT 1 FROM sessions WHERE image = ?1)",
            (key,),
        ).fetchone()
        if row is None:
            return []
        connection.execute("DELETE FROM images WHERE key = ?", (key,))
        return self.drop_unused(connection, filter(None, row))
