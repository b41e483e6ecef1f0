"""What users of the stress test do beside drawing: they upload images and delete them, export sessions and take them in
again, and delete sessions. Each notes what was acknowledged; `check` compares that with what the store has."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np

from bifseg.errors import NotFound
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.storage import Store

API = "/api/v1"
SHAPE = (40, 36, 20)


def voxels(seed: int) -> np.ndarray:
    """The image of an upload: int16, other for each seed."""
    return np.random.default_rng(seed).integers(0, 1000, SHAPE).astype(np.int16)


class Errands:
    """What one user did beside drawing. ``call``: as of `users.User`, it asks again while the server is away."""

    def __init__(self, user: str, call) -> None:
        self.user, self.call = user, call
        self.uploads: dict[str, int] = {}  # key: seed
        self.copies: list[tuple[str, int, int]] = []  # id, seed of the plan, interactions in it
        self.exported: dict[int, int] = {}  # seed of the plan: interactions in it
        self.forgotten: set[str] = set()  # keys and ids
        self.done = dict.fromkeys(("upload", "forget", "import", "delete"), 0)

    def run(self, seed: int, id: str, acknowledged: int) -> bool:
        """After a session: whether the session is still there."""
        rng = random.Random(-1 - seed)
        if rng.random() < 0.8:
            self._upload(seed, rng.random() < 0.5)
        if rng.random() < 0.6 and self._copy(id, seed, acknowledged) and rng.random() < 0.5:
            gone, *_ = self.copies.pop()
            self._delete(f"sessions/{gone}", gone, "delete")
        if rng.random() < 0.3:
            return not self._delete(f"sessions/{id}", id, "delete")
        return True

    def _upload(self, seed: int, forget: bool) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.nii.gz"
            array = voxels(seed)
            images.write_image(path, array, Image(array))
            content = path.read_bytes()
        sent = self.call("POST", "upload", f"{API}/images?name=scan.nii.gz", content=content)
        if sent is None:
            return
        self.done["upload"] += 1
        key = sent.json()["key"]
        self.uploads[key] = seed
        if forget:
            del self.uploads[key]
            self._delete(f"images/{key}", key, "forget")

    def _copy(self, id: str, seed: int, acknowledged: int) -> bool:
        archive = self.call("GET", "export", f"{API}/sessions/{id}/export")
        if archive is None:
            return False
        self.exported[seed] = acknowledged
        taken = self.call("POST", "import", f"{API}/sessions/import", content=archive.content)
        if taken is None:
            return False
        self.done["import"] += 1
        self.copies.append((taken.json()["id"], seed, acknowledged))
        return True

    def _delete(self, path: str, name: str, what: str) -> bool:
        """Whether it is acknowledged that it is gone; that it is so already, after an answer that was lost, counts."""
        reply = self.call("DELETE", what, f"{API}/{path}", gone=True)
        if reply is None:
            return False
        self.done[what] += 1
        self.forgotten.add(name)
        return True


def check(errands: Errands, store: Store) -> list[str]:
    """What of a user's images is lost, half there or there again."""
    problems, user = [], errands.user
    for key, seed in errands.uploads.items():
        try:
            store.image_row(key, user)
            if not np.array_equal(store.image(key).array, voxels(seed)):
                problems.append(f"{user}: the image of upload {seed} has other voxels")
        except (NotFound, OSError, ValueError) as error:
            problems.append(f"{user}: upload {seed} was acknowledged and is lost: {error}")
    there = {row.key for row in store.images(user)} | {row.id for row in store.sessions(user)}
    problems += [f"{user}: {name} was deleted and is there" for name in sorted(errands.forgotten & there)]
    for row in store.images(user):  # also those that nobody was told of: whole, or not there
        try:
            store.image(row.key).array.sum()
        except (NotFound, OSError, ValueError) as error:
            problems.append(f"{user}: the image {row.key} cannot be read: {error}")
    return problems
