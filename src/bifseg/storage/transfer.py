"""A session as one file: its journal, its image and all that they refer to, for another store or for the record.

A zip of ``manifest.json`` and ``blobs/<sha256>``, version 1. Whoever sent a file, nothing in it is believed: all is
checked before anything of it can be seen, and where something is wrong nothing of it stays.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from bifseg.errors import DamagedFile, InvalidInput, NotFound
from bifseg.imaging.colours import parted
from bifseg.imaging.image import Image
from bifseg.io.archive import check_apart
from bifseg.io.atomic import write_together
from bifseg.io.nifti import check_source
from bifseg.method.parameters import RULES
from bifseg.prompts.interaction import Box
from bifseg.session.state import Segment
from bifseg.storage import manifest as manifests
from bifseg.storage import snapshot
from bifseg.storage.full_disk import on_disk
from bifseg.storage.journal import History
from bifseg.storage.manifest import Manifest
from bifseg.storage.rows import geometry_of
from bifseg.storage.store import Store

MANIFEST = "manifest.json"
MANIFEST_BYTES = 64 << 20
TABLE_BYTES = 8 << 20  # of a zip's table of contents, which zipfile reads whole before anything can be checked
SMALL_BYTES = 64 << 20  # and six per voxel: more has nothing but an image


def export(store: Store, id: str, path: str | Path) -> None:
    """Write a session into a file, whole or not at all. NotFound where there is none."""
    content, blobs = manifests.write(store, id)

    def write(draft: Path) -> None:
        with (
            on_disk(),
            zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as archive,
        ):
            archive.writestr(MANIFEST, content)
            for sha in blobs:
                if sha not in store.blobs:
                    raise NotFound(f"The session {id} was deleted, or the store lacks its content {sha[:12]}.")
                archive.write(store.blobs.path(sha), f"blobs/{sha}")

    write_together({Path(path): write})


def import_(
    store: Store, path: str | Path, owner: str, *, voxels: int | None = None, limit: int | None = None,
    check: Callable[[Manifest], None] | None = None, check_segment: Callable[[Segment], None] | None = None,
) -> str:  # fmt: skip
    """Add an exported session to a store, as this owner's: its new id.

    ``voxels``: that its image may have; ``limit``: bytes that the file may unpack to; ``check`` refuses a
    manifest that is not to be taken, before anything else of the file is read, and ``check_segment`` an object. Raises
    InvalidInput for a file that is damaged, was tampered with, is of another version, or too large; StorageFull.
    """
    path = Path(path)
    try:
        with _Bounded(path) as file, zipfile.ZipFile(file) as archive, ExitStack() as undo:
            id = _Import(store, archive, limit, undo, check_segment).add(owner, voxels, check)
            undo.pop_all()
            return id
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RecursionError, ValueError) as error:
        raise DamagedFile(path, f"is no exported session that is whole: {str(error).rstrip('.')}.") from None


def verify(store: Store) -> Iterator[str]:
    """What is wrong with a store, sentence by sentence: contents changed or missing, journals that do not follow."""
    known = "SELECT sha FROM blobs WHERE ?1 IN ('', sha) UNION SELECT blob FROM images WHERE ?1 IN ('', blob)"
    for row in store.read(known, ("",)):
        # one that was deleted meanwhile is no longer known
        if not store.blobs.intact(row["sha"]) and store.read(known, (row["sha"],)):
            yield f"The blob {row['sha']} is missing or was changed."
    for session in store.sessions():
        refs = {ref["blob"] for ref in store.read("SELECT blob FROM refs WHERE session = ?", (session.id,))}
        try:
            states = store.history(session.id, History()).states  # as it is written now
        except ValueError as error:
            yield f"The session {session.id}: {error}"
            continue
        referred = {about["segment"] for state in states for about in state["objects"].values()}
        if refs or store.read("SELECT 1 FROM sessions WHERE id = ?", (session.id,)):
            for sha in sorted(referred - refs):
                yield f"The session {session.id} refers to the segment {sha}, which is not its own."


class _Bounded(io.FileIO):
    """A file of which nobody reads much at once, nor before its beginning."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > TABLE_BYTES:
            raise zipfile.BadZipFile("its table of contents is too large")
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset < 0:
            raise zipfile.BadZipFile("its table of contents leads nowhere")
        return super().seek(offset, whence)


class _Import:
    """One file on its way into a store; ``undo`` takes back what has been done of it."""

    def __init__(
        self, store: Store, archive: zipfile.ZipFile, limit: int | None, undo: ExitStack,
        check_segment: Callable[[Segment], None] | None,
    ) -> None:  # fmt: skip
        self._check_segment = check_segment or (lambda _: None)
        self._store, self._archive, self._undo = store, archive, undo
        self._members = {member.filename: member for member in archive.infolist()}
        check_apart(archive)
        size = sum(member.file_size for member in archive.infolist())
        if limit is not None and size > limit:
            raise InvalidInput(f"it unpacks to {size / 2**30:.3g} GiB; at most {limit / 2**30:.3g} are allowed")
        self._size = size
        store.check_room(size)

    def add(self, owner: str, voxels: int | None, check: Callable[[Manifest], None] | None) -> str:
        store, undo = self._store, self._undo
        store.check_share(owner, self._size)
        manifest = manifests.read(self._open(MANIFEST, MANIFEST_BYTES).read())
        if check is not None:
            check(manifest)
        count = _voxels(manifest.geometry["shape"])
        if voxels is not None and count > voxels:
            raise InvalidInput(f"its image has {count} voxels; at most {voxels} are allowed")
        taken: list[str] = []
        undo.callback(self._drop, taken)
        self._take(manifest.image, None, taken)
        for sha in sorted(manifest.blobs | {manifest.dicom or manifest.image} - {manifest.image}):
            self._take(sha, SMALL_BYTES + 6 * count, taken)
        image = self._image(manifest)
        self._check(manifest, image)
        owned = {row.key: row.created for row in store.images(owner)}
        key = store.add_image(image, owner, None if manifest.dicom is None else store.blob(manifest.dicom))
        if key in owned:
            undo.callback(self._date, key, owner, owned[key])
        else:
            undo.callback(store.forget_image, key, owner)

        def fill(connection: sqlite3.Connection, id: str) -> None:
            for sha in sorted(manifest.blobs):
                if sha not in store.blobs:  # deleted meanwhile with another session; nobody does so now
                    self._take(sha, SMALL_BYTES + 6 * count, [])
                store.record(connection, sha)
                connection.execute("INSERT INTO refs VALUES (?, ?)", (id, sha))
            for e in manifest.entries:
                state = None if e.state is None else json.dumps(e.state)
                row = (id, e.number, e.kind, json.dumps(e.request), state, json.dumps(e.summary), None, e.created)
                connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

        return store.create(key, owner, **manifest.options, fill=fill)  # whoever is killed leaves all of it or nothing

    def _open(self, name: str, largest: int | None) -> IO[bytes]:
        member = self._members.get(name)
        if member is None:
            raise InvalidInput(f"it lacks {name}")
        if largest is not None and member.file_size > largest:
            raise InvalidInput(f"its {name[:20]} has {member.file_size} bytes; at most {largest} are allowed")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidInput(f"its {name[:20]} is encrypted, or compressed in another way than bifseg's")
        return self._archive.open(member)  # yields no more than the size that was declared

    def _take(self, sha: str, largest: int | None, taken: list[str]) -> None:
        """Keep a content, if it is what its name says; ``taken`` hears of it where it is new."""
        new = sha not in self._store.blobs

        def copy(file: BinaryIO) -> None:
            digest = hashlib.sha256()
            with self._open(f"blobs/{sha}", largest) as source:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha:
                raise InvalidInput(f"its content {sha[:12]} is not what the name says")

        self._store.blobs.write(copy)
        if new:
            taken.append(sha)

    def _drop(self, taken: list[str]) -> None:
        with self._store.forgetting() as (connection, gone):
            gone += self._store.drop_unused(connection, taken)

    def _date(self, image: str, owner: str, created: float) -> None:
        """An image is there again since when it was."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE owners SET created = ?3 WHERE image = ?1 AND owner = ?2", (image, owner, created)
            )

    def _image(self, manifest: Manifest) -> Image:
        about = manifest.geometry
        try:
            check_source(about.get("source", {}), about["shape"])
            array, colours = parted(np.lib.format.open_memmap(self._store.blobs.path(manifest.image), mode="r"))
            image = Image(
                array, about["spacing"], about["origin"], np.array(about["direction"]), bool(about["planar"]),
                bool(about.get("calibrated", not about["planar"])), dict(about.get("source", {})), colours,
            )  # fmt: skip
        except (TypeError, OverflowError) as error:
            raise InvalidInput(f"its image is none: {error}") from None
        if json.loads(geometry_of(image)) != json.loads(json.dumps(about)):
            raise InvalidInput("its image is not as its manifest says")
        return image

    def _check(self, manifest: Manifest, image: Image) -> None:
        """Every stored segment and array is one, fits the image, and is what the journal says of it."""
        segments = manifest.segments
        for sha, claims in segments.items():
            segment = snapshot.unpack(self._store.blob(sha))
            Box.of(segment.box, image.shape)
            self._check_segment(segment)
            learnt = (None, None) if segment.prior is None else (segment.prior.task, segment.prior.version)
            facts = segment.name, str(segment.box), int(np.count_nonzero(segment.mask)), segment.part_of, *learnt
            rules = {rule: getattr(segment.parameters, rule) for rule in RULES}
            if any(one[:-1] != facts or one[-1] not in (None, rules) for one in claims):
                raise InvalidInput(f"its journal says other things of {facts[0][:60]!r} than that object")
        for sha, prior in manifest.priors.items():
            snapshot.unpack_prior(prior, self._store.blob(sha))
        for sha in manifest.blobs - segments.keys() - manifest.priors.keys():
            if np.lib.format.open_memmap(self._store.blobs.path(sha), mode="r").dtype != np.uint8:
                raise InvalidInput(f"its array {sha[:12]} does not hold labels")


def _voxels(shape: object) -> int:
    if not isinstance(shape, list) or len(shape) != 3 or not all(type(n) is int and n > 0 for n in shape):
        raise InvalidInput("its image has no shape (x, y, z)")
    return shape[0] * shape[1] * shape[2]
