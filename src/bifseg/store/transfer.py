"""A session as one file: its journal, its image and all that they refer to, for another store or for the record.

A zip of ``manifest.json`` and ``blobs/<sha256>``, nothing else and nothing compressed twice. Version 1.
"""

from __future__ import annotations

import json
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bifseg.files import write_together
from bifseg.image import Image
from bifseg.interaction import Box
from bifseg.store import snapshot
from bifseg.store.errors import UnknownError
from bifseg.store.journal import History, blobs_of
from bifseg.store.rows import geometry_of
from bifseg.store.store import Store

FORMAT, VERSION = "bifseg-session", 1
MANIFEST_BYTES = 256 << 20
KEPT = ("title", "model", "parameters", "seed", "client", "created", "touched")


def export(store: Store, id: str, path: str | Path) -> None:
    """Write a session into a file, whole or not at all. UnknownError where there is none."""
    row = store.session(id)
    image = store.image_row(row.image)
    entries = [
        {
            "number": e.number, "kind": e.kind, "request": e.request, "state": e.state, "summary": e.summary,
            "key": e.key, "created": e.created,
        }
        for e in store.entries(id)
    ]  # fmt: skip
    refs = [ref["blob"] for ref in store.read("SELECT blob FROM refs WHERE session = ? ORDER BY blob", (id,))]
    manifest = {
        "format": FORMAT, "version": VERSION, "session": {name: row.as_dict()[name] for name in KEPT},
        "image": {"blob": image.blob, "dicom": image.dicom, "created": image.created}
        | {name: image.as_dict()[name] for name in ("shape", "dtype", "spacing", "origin", "direction", "planar")},
        "entries": entries, "blobs": refs,
    }  # fmt: skip

    def write(draft: Path) -> None:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("manifest.json", json.dumps(manifest))
            for sha in dict.fromkeys(filter(None, (image.blob, image.dicom, *refs))):
                archive.write(store.blobs.path(sha), f"blobs/{sha}")

    write_together({Path(path): write})


def import_(store: Store, path: str | Path, owner: str, *, voxels: int | None = None, limit: int | None = None) -> str:
    """Add an exported session to a store, as this owner's: its new id.

    ``voxels``: that its image may have; ``limit``: bytes that the file may unpack to. Raises ValueError for a file that
    is damaged, was tampered with, is of another version, or too large; FullError. Nothing is added then.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            size = sum(member.file_size for member in members.values())
            if limit is not None and size > limit:
                raise ValueError(f"{path} unpacks to {size / 2**30:.3g} GiB; at most {limit / 2**30:.3g} are allowed.")
            manifest = _manifest(archive, members, path)
            store.check_room(size)
            return _Import(store, archive, members, manifest, path).add(owner, voxels)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged, or no exported session: {str(error).rstrip('.')}.") from None
    except (KeyError, TypeError, AttributeError, OverflowError, UnknownError) as error:
        raise ValueError(f"{path} is no exported session that this bifseg can read: {error} is wrong in it.") from None


def verify(store: Store) -> Iterator[str]:
    """What is wrong with a store, sentence by sentence: contents changed or missing, journals that do not follow."""
    known = {row["sha"] for row in store.read("SELECT sha FROM blobs")}
    wanted = {row["blob"] for row in store.read("SELECT blob FROM refs UNION SELECT blob FROM images")}
    wanted |= {row["dicom"] for row in store.read("SELECT dicom FROM images WHERE dicom IS NOT NULL")}
    for sha in sorted(known | wanted):
        if not store.blobs.intact(sha):
            yield f"The blob {sha} is missing or was changed."
    for row in store.sessions():
        try:
            history = store.history(row.id)
            for state in history.states:
                for about in state["objects"].values():
                    if about["segment"] not in wanted:
                        yield f"The session {row.id} refers to the segment {about['segment']}, which is not its own."
        except ValueError as error:
            yield f"The session {row.id}: {error}"


def _manifest(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: Path) -> dict:
    if "manifest.json" not in members or members["manifest.json"].file_size > MANIFEST_BYTES:
        raise ValueError(f"{path} is no exported session: it has no manifest.json of a reasonable size.")
    try:
        manifest = json.loads(archive.read("manifest.json"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is damaged: its manifest.json is no JSON.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{path} is no exported session: its format is not {FORMAT}.")
    if manifest.get("version") != VERSION:
        raise ValueError(f"{path} has version {manifest.get('version')!r}; this bifseg reads version {VERSION}.")
    return manifest


class _Import:
    """One file on its way into a store: all of it is checked before anything of it can be seen."""

    def __init__(self, store: Store, archive: zipfile.ZipFile, members: dict, manifest: dict, path: Path) -> None:
        self._store, self._archive, self._members, self._manifest, self._path = store, archive, members, manifest, path

    def add(self, owner: str, voxels: int | None) -> str:
        told, about = self._manifest["session"], self._manifest["image"]
        if voxels is not None and int(np.prod(about["shape"], dtype=object)) > voxels:
            raise ValueError(f"The image in {self._path} has more than {voxels} voxels.")
        blobs = list(dict.fromkeys(map(str, self._manifest["blobs"])))
        for sha in {*blobs, about["blob"], *filter(None, [about["dicom"]])}:
            self._take(sha)
        image = self._image(owner)
        shape = self._store.image_row(image).shape
        entries = self._checked(set(blobs), shape)
        parameters = told["parameters"]
        id = self._store.create(
            image, owner, title=str(told["title"])[:200], model=str(told["model"])[:200], parameters=parameters,
            seed=int(told["seed"]), client=str(told["client"])[:50],
        )  # fmt: skip
        with self._store.transaction() as connection:
            for sha in blobs:
                self._store.record(connection, sha)
                connection.execute("INSERT INTO refs VALUES (?, ?)", (id, sha))
            connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(id, *e) for e in entries])
            connection.execute("UPDATE sessions SET touched = ? WHERE id = ?", (time.time(), id))
        return id

    def _take(self, sha: str) -> None:
        """Keep one content; ValueError where it is not what its name says."""
        name = f"blobs/{sha}"
        if name not in self._members:
            raise ValueError(f"{self._path} is incomplete: it lacks {name[:80]}.")
        self._store.blobs.path(sha)  # a name that can be one

        def copy(file) -> None:
            with self._archive.open(name) as source:
                while chunk := source.read(1 << 20):
                    file.write(chunk)

        if self._store.blobs.write(copy) != sha:
            raise ValueError(f"{self._path} is damaged: {name[:20]}... is not what its name says.")

    def _image(self, owner: str) -> str:
        about = self._manifest["image"]
        array = np.load(self._store.blobs.path(about["blob"]), mmap_mode="r", allow_pickle=False)
        image = Image(array, about["spacing"], about["origin"], np.array(about["direction"]), bool(about["planar"]))
        if json.loads(geometry_of(image)) != {name: about[name] for name in json.loads(geometry_of(image))}:
            raise ValueError(f"{self._path} is damaged: its image is not as its manifest says.")
        headers = self._store.blob(about["dicom"]) if about["dicom"] else None
        return self._store.add_image(image, owner, headers)

    def _checked(self, blobs: set[str], shape: tuple[int, int, int]) -> list[tuple]:
        """The journal's rows, if it is one: numbers in order, states made of segments that fit the image."""
        rows, seen = [], set()
        for number, entry in enumerate(self._manifest["entries"], start=1):
            state = entry["state"]
            if entry["number"] != number or not isinstance(entry["request"], dict):
                raise ValueError(f"{self._path} is damaged: its journal has no entry {number}.")
            for name, about in (state or {"objects": {}})["objects"].items():
                if about["segment"] not in blobs:
                    raise ValueError(f"{self._path} is damaged: its entry {number} refers to what is not in it.")
                if (about["segment"], name) not in seen:
                    self._check_segment(about, str(name), shape)
                    seen.add((about["segment"], name))
            if state is not None and state["current"] not in {None, *state["objects"]}:
                raise ValueError(f"{self._path} is damaged: in its entry {number} no object is the current one.")
            if not blobs.issuperset(blobs_of(entry["request"])):
                raise ValueError(f"{self._path} is damaged: its entry {number} refers to what is not in it.")
            texts = json.dumps(entry["request"]), state and json.dumps(state), json.dumps(dict(entry["summary"]))
            rows.append((number, str(entry["kind"]), *texts, None, float(entry["created"])))
        History().after((entry["number"], str(entry["kind"]), entry["state"]) for entry in self._manifest["entries"])
        return rows

    def _check_segment(self, about: dict, name: str, shape: tuple[int, int, int]) -> None:
        segment = snapshot.unpack(self._store.blob(about["segment"]))
        Box.of(segment.box, shape)
        if (segment.name, str(segment.box)) != (name, about["box"]) or about["voxels"] != int(segment.mask.sum()):
            raise ValueError(
                f"{self._path} is damaged: its journal says other things of {name[:64]!r} than the object."
            )
