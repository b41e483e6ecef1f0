"""Exported sessions, written again with another manifest and other contents."""

import io
import json
import zipfile

import numpy as np
from stored_sessions import files, one

from bifseg.storage import Store, transfer
from bifseg.storage.snapshot import pack


def empty(store: Store) -> bool:
    tables = ("sessions", "entries", "refs", "images", "owners", "blobs")
    counts = [store.read(f"SELECT count(*) FROM {table}")[0][0] for table in tables]
    return not any(counts) and files(store) == set() and not list(store.blobs.folder.glob(".*"))


def rewritten(path, target, change=None, blobs=None, compression=zipfile.ZIP_STORED, drop=()):
    """A copy of an exported file with another manifest and other contents."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        told = json.loads(old.read("manifest.json"))
        if change:
            told = change(told) or told
        new.writestr("manifest.json", told if isinstance(told, bytes) else json.dumps(told))
        for name in old.namelist():
            if name != "manifest.json" and name[6:] not in drop:
                new.writestr(name, (blobs or {}).get(name[6:], None) or old.read(name))
        for sha, content in (blobs or {}).items():
            if f"blobs/{sha}" not in old.namelist():
                new.writestr(f"blobs/{sha}", content)
    return target


def at(*where):
    """A change of the manifest: the value at the end of the way is set."""
    *way, last, value = where

    def change(told):
        place = told
        for step in way:
            place = place[step]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return change


def sha_of(content: bytes) -> str:
    return transfer.hashlib.sha256(content).hexdigest()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def with_array(content: bytes):
    def change(told):
        told["blobs"].append(sha_of(content))

    return {"change": change, "blobs": {sha_of(content): content}}


def with_part(part_of: str, said: str | None):
    """A second object beside the first; what it says of itself, and what the journal says of it."""
    segment = pack(one(name="object 2", part_of=part_of))

    def change(told):
        objects = told["entries"][0]["state"]["objects"]
        objects["object 2"] = {**objects["object 1"], "segment": sha_of(segment), **({"part_of": said} if said else {})}
        told["blobs"].append(sha_of(segment))

    return {"change": change, "blobs": {sha_of(segment): segment}}
