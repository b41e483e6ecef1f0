"""Tasks of a server's users: each has a folder of their own, to which nothing that others ask for leads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext, suppress
from math import prod
from pathlib import Path

from bifseg.errors import InvalidInput, NotFound, StorageFull
from bifseg.prompts.interaction import Box
from bifseg.server.settings import LOCAL
from bifseg.storage import Store
from bifseg.storage.journal import check_current
from bifseg.storage.rows import ImageRow, SessionRow
from bifseg.storage.snapshot import pack_prior
from bifseg.tasks.example import Example
from bifseg.tasks.priors import prior_of
from bifseg.tasks.store import Task, Tasks

MOST = 200  # tasks of a user
LARGEST = 64 << 20  # voxels of the box of an object that a task remembers: it learns with up to 32 of them in memory
SLICES = 5  # of an object that a task learns from: neighbours teach the same


class UserTasks:
    """The tasks of all users, beside the sessions of a store; those of `LOCAL` are what ``bifseg tasks`` sees.

    ``patient``: says whose an image is, where its headers do.
    """

    def __init__(self, store: Store, patient: Callable[[ImageRow], str | None]) -> None:
        self._store, self._patient = store, patient
        self._local, self._others = store.folder / "tasks", store.folder / "tasks of users"

    def of(self, user: str) -> Tasks:
        """A user's."""
        if user == LOCAL:
            return Tasks(self._local)
        return Tasks(self._others / hashlib.sha256(user.encode()).hexdigest()[:32])  # a name may be no file's

    def folders(self) -> list[Path]:
        """Of all users who have tasks."""
        return [folder for folder in (self._local, *sorted(self._others.glob("*"))) if folder.is_dir()]

    def pending(self) -> Iterator[tuple[Task, int]]:
        """All that was not learnt yet: tasks, and the dimension of their examples."""
        for folder in self.folders():
            yield from [(task, wanted.dimension) for task, wanted in Tasks(folder).unlearnt()]

    def begin(self, user: str, name: str) -> Task:
        """A new task of a user's. InvalidInput where it cannot be named so; StorageFull at the limit."""
        tasks = self.of(user)
        if len(tasks.names()) >= MOST:
            raise StorageFull(f"You have {MOST} tasks, as many as this server lets one user have; delete some.")
        return tasks.begin(name)

    def prior(self, session: SessionRow, name: str, box: str) -> dict | None:
        """What an object of a session's begins with, as the journal names it; None where it is the shipped network.

        The weights are kept with the session: what becomes of the task later changes nothing in it. InvalidInput for
        a session with a network of its own, NotFound for a task that is not its owner's.
        """
        task = self.of(session.owner).task(name)
        if session.model != "default":
            raise InvalidInput(
                f"A task teaches the default network, and this session uses {session.model}; begin without a task."
            )
        image = self._store.image(session.image)
        prior = prior_of(task, image, Box.parse(box, image.shape))
        if prior is None:
            return None
        blob = self._store.add_blob(pack_prior(prior))
        return {"task": prior.task, "version": prior.version, "base": prior.base, "blob": blob}

    def prior_again(self, session: SessionRow, box: str) -> dict | None:
        """The same for another box of a session's current object, where that began with a task which is still there."""
        state = self._store.history(session.id).state
        begun = state["objects"].get(state["current"], {}).get("prior")
        with suppress(NotFound):
            return None if begun is None else self.prior(session, begun["task"], box)
        return None

    def accept(
        self, session: SessionRow, name: str, object: str, expected: Collection[str] | None = None
    ) -> list[Example]:
        """Remember an object of a session's as a finished one of its owner's task; of one in many slices a few.

        NotFound where there is no such task or object, Stale where it is at none of the ``expected`` versions,
        InvalidInput for a mask that teaches nothing or is too large, StorageFull where there is no room.
        """
        store, task = self._store, self.of(session.owner).task(name)
        history = store.history(session.id)
        about = history.state["objects"].get(object)
        if about is None:
            raise NotFound(f"The session has no object {object[:80]!r}.")
        check_current(history, expected, object)
        if prod(Box.parse(about["box"]).shape) > LARGEST:
            raise InvalidInput(
                f"The object's box {about['box']} has more than the {LARGEST >> 20} million voxels that a task "
                "remembers; make it smaller."
            )
        row = store.image_row(session.image)
        image, patient = store.image(row.key), self._patient(row) or row.key[:16]

        def example(part: str) -> Example:
            segment = store.segment(history.state["objects"][part]["segment"])
            source = {
                "session": session.id, "object": part, "version": str(history.version(part)), "image": row.key,
                "title": session.title,
            }  # fmt: skip
            return Example.of(image, segment.mask, segment.box, patient, source)

        examples = []
        for part in _slices(history.state["objects"], object):
            with nullcontext() if part == object else suppress(InvalidInput):  # where a stack ends there may be nothing
                examples.append(example(part))
        size = sum(len(example.packed()) for example in examples)
        store.check_room(size)
        store.check_share(session.owner, size)
        for one in examples:
            task.add(one)
        return examples

    def taken(self, user: str) -> int:
        """Bytes of a user's tasks."""
        folder = self.of(user).folder
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _slices(objects: Mapping[str, Mapping], name: str) -> list[str]:
    """An object's name, last; before it those of at most so many of its parts, evenly spread from its first to its
    last slice."""
    whole = objects[name].get("part_of") or name
    parts = [key for key, about in objects.items() if whole in (key, about.get("part_of"))]
    parts.sort(key=lambda key: Box.parse(objects[key]["box"]).start)
    count = min(SLICES, len(parts))
    spread = [parts[round(k * (len(parts) - 1) / max(1, count - 1))] for k in range(count)]
    others = [key for key in dict.fromkeys(spread) if key != name]
    return [*others[: SLICES - 1], name]
