"""Who is next: users take turns by the time they had, a user's jobs keep their order, a session has one at a time."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

PASSED = 3  # times that a user may be overtaken
QUANTUM = 1.0  # seconds of computing by which users may differ and still take turns


class QueuedJob(Protocol):
    """What the queue needs to know of a job."""

    user: str
    session: str


OfPool = TypeVar("OfPool", bound=QueuedJob)


class FairQueue(Generic[OfPool]):
    """Jobs that wait or run. ``own``: how many of them one user may have running, all where it is None.

    Of the users who wait, who had less time of the workers goes first; who comes back has no debts, and no credit.
    """

    def __init__(self, own: Callable[[str], int] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: OrderedDict[str, deque[OfPool]] = OrderedDict()  # whose turn it is comes first
        self._running: dict[OfPool, float] = {}  # since when
        self._spent: dict[str, float] = {}  # seconds, of who waits or runs
        self._passed: dict[str, int] = {}  # how often a user was overtaken since the last turn
        self._own, self._clock = own, clock

    def put(self, job: OfPool) -> None:
        if job.user not in self._spent:
            self._spent[job.user] = min(map(self._time, self._spent), default=0.0)
        self._waiting.setdefault(job.user, deque()).append(job)

    def take(self, fits: Callable[[OfPool], bool] = lambda job: True) -> OfPool | None:
        """The next job whose session is free, which then is busy until `done`; its user goes to the end of the line.

        One that ``fits`` may overtake others that do not, but each user is passed over ``PASSED`` times at most.
        """
        ready = [(user, job) for user in self._waiting if (job := self._ready(user)) is not None]
        if not ready:
            return None
        least = min(self._time(user) for user, _ in ready)
        ready.sort(key=lambda own: (self._time(own[0]) - least) // QUANTUM)  # else as they stand in the line
        user, job = ready[0]
        if not fits(job) and self._passed.get(user, 0) < PASSED:
            user, job = next(((u, j) for u, j in ready if fits(j)), ready[0])
        for other, _ in ready[: ready.index((user, job))]:
            self._passed[other] = self._passed.get(other, 0) + 1
        self._passed.pop(user, None)
        self._waiting[user].remove(job)
        self._running[job] = self._clock()
        self._waiting.move_to_end(user)
        self._forget(user)
        return job

    def _ready(self, user: str) -> OfPool | None:
        if self._own is not None and sum(job.user == user for job in self._running) >= self._own(user):
            return None
        busy = {job.session for job in self._running}
        return next((job for job in self._waiting[user] if job.session not in busy), None)

    def _time(self, user: str) -> float:
        now = self._clock()
        return self._spent[user] + sum(now - since for job, since in self._running.items() if job.user == user)

    def done(self, job: OfPool) -> None:
        self._spent[job.user] += self._clock() - self._running.pop(job)
        self._forget(job.user)

    def remove(self, job: OfPool) -> bool:
        """Take a job out of the line; False where it is not in it (any more)."""
        jobs = self._waiting.get(job.user)
        if jobs is None or job not in jobs:
            return False
        jobs.remove(job)
        self._forget(job.user)
        return True

    def jobs(self) -> list[OfPool]:
        """All that wait, by user."""
        return [job for jobs in self._waiting.values() for job in jobs]

    def _forget(self, user: str) -> None:
        if not self._waiting.get(user, True):
            del self._waiting[user]
            self._passed.pop(user, None)
        if user not in self._waiting and all(job.user != user for job in self._running):
            self._spent.pop(user, None)
