"""Who is next: users take turns, a user's jobs keep their order, and a session has one job at a time."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Protocol


class Job(Protocol):
    """What the queue needs to know of a job."""

    user: str
    session: str


class FairQueue:
    """Jobs that wait, and the sessions that are being worked on."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Job]] = OrderedDict()  # whose turn it is comes first
        self._busy: set[str] = set()

    def put(self, job: Job) -> None:
        self._waiting.setdefault(job.user, deque()).append(job)

    def take(self) -> Job | None:
        """The next job whose session is free, which then is busy until `done`; its user goes to the end of the line."""
        for user, jobs in self._waiting.items():
            for job in jobs:
                if job.session not in self._busy:
                    jobs.remove(job)
                    self._busy.add(job.session)
                    self._waiting.move_to_end(user)
                    self._forget(user)
                    return job
        return None

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
