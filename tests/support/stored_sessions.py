"""Sessions in a store, with entries that no computation made."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from bifseg.imaging.image import Image
from bifseg.method.parameters import FAST
from bifseg.prompts.interaction import Box
from bifseg.session.state import ModelId, Segment
from bifseg.storage import Store
from bifseg.storage.snapshot import pack
from bifseg.storage.transfer import export


def one(**changes) -> Segment:
    """A segment of 4 x 5 x 6 voxels."""
    segment = Segment(
        "object 1", Box((3, 4, 5), (7, 9, 11)), ModelId("net", "ab"), FAST[3], {"w": np.ones((2, 3), np.float32)},
        scribbles=np.pad(np.full((1, 1, 1), 2, np.uint8), [(1, 2), (1, 3), (1, 4)]),
        packed=np.packbits(np.arange(120) % 3 == 0),
        grid_probability=np.linspace(0, 1, 27, dtype=np.float32).reshape(3, 3, 3),
        grid_weights=np.full((3, 3, 3), 0.5, np.float32),
        rounds=({"round": 0, "energy": 1.5},), milliseconds={"cut": 2.25},
    )  # fmt: skip
    return replace(segment, **changes)


TILT = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])


def scan(seed: int = 0, dtype: type = np.int16) -> Image:
    """Noise of 12 x 10 x 16 voxels, that lies askew."""
    array = np.random.default_rng(seed).integers(0, 200, (12, 10, 16)).astype(dtype)
    return Image(array, (0.5, 1.5, 3.0), (-10.0, 2.5, 1e-3), TILT)


def state_of(store: Store, k: int) -> tuple[dict, list[str]]:
    """A journal's state of one object that is unlike those of other ``k``, and its blobs."""
    segment = one(milliseconds={"cut": float(k)})
    sha = store.blobs.put(pack(segment))
    about = {"segment": sha, "box": str(segment.box), "voxels": int(segment.mask.sum())}
    return {"objects": {segment.name: about}, "current": segment.name}, [sha]


def append(store: Store, id: str, k: int = 0, *, kind: str = "box", who: str = "worker", key=None, request=None) -> int:
    """Write an entry to a journal; its number."""
    state, blobs = state_of(store, k) if kind not in ("undo", "redo", "submit") else (None, [])
    with store.claimed(id, who, 60) as fence:
        return store.append(id, fence, kind, request or {"k": k}, state=state, summary={}, blobs=blobs, key=key)


def files(store: Store) -> set[str]:
    """The names of all blobs."""
    return set(store.blobs)


def fill(folder: Path) -> Path:
    """Take all that is left of a disk."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def begun(store: Store) -> str:
    """A session with an undone step, an array among its requests, and a submitted mask."""
    id = store.create(
        store.add_image(scan(), "ann", b"headers"), "ann", title="left kidney", seed=5, client="api", model="net",
        parameters={"lam": 2.5},
    )  # fmt: skip
    ref = {"blob": store.add_array(np.ones((2, 2, 2), np.uint8)), "box": "0:2,0:2,0:2"}
    append(store, id, 1, key="a client's own")
    append(store, id, 2, kind="scribble", request={"scribbles": {"labels": ref}, "refine": "auto"})
    append(store, id, kind="undo")
    append(store, id, 3, kind="resize")
    with store.claimed(id, "worker", 60) as fence:
        store.append(
            id, fence, "submit", {"labels": ref, "title": "final"}, state=None, blobs=[ref["blob"]],
            summary={"seconds": 0.5, "milliseconds": {"cut": 1.5}, "rounds": [{"round": 0, "energy": 2.0}]},
        )  # fmt: skip
    return id


def exported(folder: Path) -> Path:
    """A session file of `begun`, in a folder."""
    with contextlib.closing(Store(folder / "store")) as store:
        export(store, begun(store), folder / "session.zip")
    return folder / "session.zip"


def headers(store: Store, key: str, owner: str) -> bytes | None:
    sha = store.image_row(key, owner).dicom
    return sha and store.blob(sha)
