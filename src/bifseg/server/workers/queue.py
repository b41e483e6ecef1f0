"""Who is next: users take turns, a user's jobs keep their order, and a session has one job at a time."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

PASSED = 3  # times that a user may be overtaken


class Job(Protocol):
    """What the queue needs to know of a job."""

    user: str
    session: str


class FairQueue:
    """Jobs that wait, and the sessions that are being worked on."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # whose turn it is comes first
        self._busy: set[str] = set()
        self._passed: dict[str, int] = {}  # how often a user was overtaken since the last turn

    def put(self, job: Job) -> None:
        self._waiting.setdefault(job.user, deque()).append(job)

    def take(self, fits: Callable[[Job], bool] = lambda job: True) -> Job | None:
        """The next job whose session is free, which then is busy until `done`; its user goes to the end of the line.

        One that ``fits`` may overtake others that do not, but each user is passed over ``PASSED`` times at most.
        """
        ready = [(user, job) for user in self._waiting if (job := self._ready(user)) is not None]
        if not ready:
            return None
        user, job = ready[0]
        if not fits(job) and self._passed.get(user, 0) < PASSED:
            user, job = next(((u, j) for u, j in ready if fits(j)), ready[0])
        for other, _ in ready[: ready.index((user, job))]:
            self._passed[other] = self._passed.get(other, 0) + 1
        self._passed.pop(user, None)
        self._waiting[user].remove(job)
        self._busy.add(job.session)
        self._waiting.move_to_end(user)
        self._forget(user)
        return job

    def _ready(self, user: str) -> Job | None:
        return next((job for job in self._waiting[user] if job.session not in self._busy), None)

    def done(self, job: Job) -> None:
        self._busy.discard(job.session)

    def remove(self, job: Job) -> bool:
        """Take a job out of the line; False where it is not in it (any more)."""
        jobs = self._waiting.get(job.user, ())
        if job not in jobs:
            return False
        jobs.remove(job)
        self._forget(job.user)
        return True

    def jobs(self) -> list[Job]:
        """All that wait, by user."""
        return [job for jobs in self._waiting.values() for job in jobs]

    def _forget(self, user: str) -> None:
        if not self._waiting[user]:
            del self._waiting[user]
            self._passed.pop(user, None)
