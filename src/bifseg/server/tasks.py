"""Tasks of a server's users: each has a folder of their own, to which nothing that others ask for leads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from bifseg.errors import InvalidInput, NotFound, StorageFull
from bifseg.server.settings import LOCAL
from bifseg.storage import Store
from bifseg.storage.journal import check_current
from bifseg.storage.rows import ImageRow, SessionRow
from bifseg.storage.snapshot import pack_weights
from bifseg.tasks.example import Example
from bifseg.tasks.store import Task, Tasks

MOST = 200  # tasks of a user


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

    def prior(self, session: SessionRow, name: str, dimension: int) -> dict | None:
        """What an object of a session's begins with, as the journal names it; None where it is the shipped network.

        The weights are kept with the session: what becomes of the task later changes nothing in it. InvalidInput for
        a session with a network of its own, NotFound for a task that is not its owner's.
        """
        task = self.of(session.owner).task(name)
        if session.model != "default":
            raise InvalidInput(
                f"A task teaches the default network, and this session uses {session.model}; begin without a task."
            )
        prior = task.prior(dimension)
        if prior is None:
            return None
        blob = self._store.add_blob(pack_weights(prior.weights))
        return {"task": prior.task, "version": prior.version, "base": prior.base, "blob": blob}

    def accept(self, session: SessionRow, name: str, object: str, expected: Collection[str] | None = None) -> Example:
        """Remember an object of a session's as a finished one of its owner's task.

        NotFound where there is no such task or object, Stale where it is at none of the ``expected`` versions,
        InvalidInput for a mask that teaches nothing, StorageFull where there is no room.
        """
        store, task = self._store, self.of(session.owner).task(name)
        history = store.history(session.id)
        about = history.state["objects"].get(object)
        if about is None:
            raise NotFound(f"The session has no object {object[:80]!r}.")
        check_current(history, expected, object)
        segment, row = store.segment(about["segment"]), store.image_row(session.image)
        source = {
            "session": session.id, "object": object, "version": str(history.version(object)), "image": row.key,
            "title": session.title,
        }  # fmt: skip
        patient = self._patient(row) or row.key[:16]
        example = Example.of(store.image(row.key), segment.mask, segment.box, patient, source)
        size = len(example.packed())
        store.check_room(size)
        store.check_share(session.owner, size)
        task.add(example)
        return example

    def taken(self, user: str) -> int:
        """Bytes of a user's tasks."""
        folder = self.of(user).folder
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
