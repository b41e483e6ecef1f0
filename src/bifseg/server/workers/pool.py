"""Worker processes behind a fair queue: the event loop hands out jobs, hears of their progress, and never computes."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bifseg.errors import Cancelled, Closing, Overloaded, TookTooLong
from bifseg.server.workers.child import STOPPING, Child, DeadError, StartError, WorkError
from bifseg.server.workers.queue import FairQueue

REMEMBERED = 10_000  # sessions of which it is known which worker had them last
TRIES = 2  # of a job whose worker died
STARTS = 3  # of a worker that dies while it starts


@dataclass(eq=False)
class _Job:
    id: int
    user: str
    session: str
    work: dict
    progress: Callable[[dict], None] | None
    result: asyncio.Future = field(repr=False)
    worker: Child | None = None
    cancelled: bool = False


class Pool:
    """``workers`` processes that do jobs; ``threads``: of each.

    ``factory``: "module:function"; in the worker, function(options) gives the handler of jobs, a generator function
    from a job to what is said on the way, whose return value is the result; all of it goes as JSON. ``options`` get
    "threads". ``queued_per_user``: jobs that wait or run; ``own``: how many of a user's may run at a time.
    ``patience``: seconds a job may run.
    """

    def __init__(
        self, factory: str, options: dict, *, workers: int = 1, threads: int = 1, queued_per_user: int = 8,
        patience: float = 120.0, own: Callable[[str], int] | None = None,
    ) -> None:  # fmt: skip
        self._queued_per_user, self._patience = queued_per_user, patience
        self._workers = [Child(factory, options, threads) for _ in range(workers)]
        self._idle: list[Child] = []
        self._queue: FairQueue[_Job] = FairQueue(own)
        self._running: set[_Job] = set()
        self._tasks: set[asyncio.Task] = set()
        self._last: OrderedDict[str, Child] = OrderedDict()
        self._ids, self._closing, self._stopping = itertools.count(1), False, False
        self._done = self._stopped = 0
        self._seconds = 0.0

    async def start(self) -> None:
        """Start all workers; WorkError where one does not."""
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except BaseException:
            await self.close(0)
            raise
        self._idle = list(self._workers)

    async def start_after(self, event: Awaitable[None]) -> None:
        """Start all workers after something else; jobs that come before wait. One that does not start is tried again
        when there is work for it."""
        await event
        await asyncio.gather(*(worker.start() for worker in self._workers), return_exceptions=True)
        if not self._closing:
            self._idle = list(self._workers)
            self._hand_out()

    async def run(self, user: str, session: str, job: dict, *, progress: Callable[[dict], None] | None = None) -> dict:
        """Have a job done when it is its turn: its result. To cancel the call is to cancel the job.

        ``progress`` hears first {"queued": how many are before it}, then what the handler yields. Raises what the
        handler did, Overloaded, Cancelled, Closing, TimeoutError, and WorkError for all else.
        """
        if self._closing:
            raise Closing("The server is about to stop; connect again in a moment: nothing is lost.")
        if self.queued(user) >= self._queued_per_user:
            raise Overloaded(f"{self._queued_per_user} of your interactions are waiting already; wait for one.")
        own = _Job(next(self._ids), user, session, job, progress, asyncio.get_running_loop().create_future())
        if progress:
            progress({"queued": len(self._queue.jobs())})
        self._queue.put(own)
        self._hand_out()
        try:
            return await own.result
        except asyncio.CancelledError:
            self._cancel(own)
            raise

    def cancel(self, session: str) -> bool:
        """Cancel all jobs of a session, waiting or running; False where there are none."""
        jobs = self._jobs(session)
        for job in jobs:
            self._cancel(job)
        return bool(jobs)

    def busy(self, session: str) -> bool:
        """Whether a session has jobs, waiting or running."""
        return bool(self._jobs(session))

    def queued(self, user: str) -> int:
        """How many jobs of a user wait or run."""
        return sum(job.user == user for job in (*self._queue.jobs(), *self._running))

    def statistics(self) -> dict:
        """Counts for whoever watches the server."""
        return {
            "waiting": len(self._queue.jobs()),
            "running": len(self._running),
            "workers": sum(worker.alive for worker in self._workers),
            "restarts": sum(worker.starts - 1 for worker in self._workers if worker.starts),
            "done": self._done,
            "cancelled": self._stopped,
            "seconds": self._seconds,
        }

    async def close(self, grace: float = 0) -> None:
        """Take no more jobs, let those there are end within ``grace`` seconds, and stop the workers."""
        self._closing = True
        until = time.monotonic() + grace
        while (self._running or self._queue.jobs()) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for job in self._queue.jobs():
            self._queue.remove(job)
            _refuse(job, Closing("The server stopped before it was your turn; nothing was changed."))
        self._stopping = True
        for job in self._running:
            self._cancel(job)
        if self._tasks:  # one that is about to commit says so: nobody may hear that nothing happened when it did
            await asyncio.wait(self._tasks, timeout=STOPPING if any(w.ready for w in self._workers) else 0)
        await asyncio.gather(*(worker.close() for worker in self._workers))
        if self._tasks:
            await asyncio.wait(self._tasks)

    # ---- inside

    def _jobs(self, session: str) -> list[_Job]:
        return [job for job in (*self._queue.jobs(), *self._running) if job.session == session]

    def _hand_out(self) -> None:
        """Give waiting jobs to idle workers, a session rather to the one that had it last: it has its features."""
        while self._idle and (job := self._queue.take(self._at_home)):
            last = self._last.get(job.session)
            worker = last if last in self._idle else self._idle[0]
            self._idle.remove(worker)
            self._last[job.session] = worker
            self._last.move_to_end(job.session)
            while len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
            self._running.add(job)
            task = asyncio.create_task(self._work(worker, job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _at_home(self, job: _Job) -> bool:
        """Whether an idle worker had the job's session last, or none ever had it."""
        last = self._last.get(job.session)
        return last is None or last in self._idle

    async def _work(self, worker: Child, job: _Job) -> None:
        job.worker, start = worker, time.monotonic()
        try:
            result = await self._tried(worker, job)
            if not job.result.done():
                job.result.set_result(result)
            self._done += 1
        except Cancelled as error:
            self._stopped += 1
            _refuse(job, Closing("The server stopped; nothing was changed.") if self._stopping else error)
        except Exception as error:
            _refuse(job, error)
        finally:
            self._seconds += time.monotonic() - start
            self._running.discard(job)
            self._queue.done(job)
            if not self._stopping:
                self._idle.append(worker)  # one that is dead is started again when there is work for it
                self._hand_out()

    async def _tried(self, worker: Child, job: _Job) -> dict:
        """The result of a job; one whose worker dies is tried again."""
        for _ in range(TRIES):
            try:
                if not worker.alive:
                    await self._start(worker, job)
                return await self._in_time(worker, job)
            except DeadError:
                await worker.stop()  # all of it, so that nobody takes it for alive
                if self._stopping:
                    raise Closing("The server stopped in the middle; see what the session is like.") from None
                if job.cancelled:
                    raise Cancelled("The interaction was cancelled; the session is as it was.") from None
        raise WorkError(f"The computing process ended {TRIES} times over this interaction; the session is as it was.")

    async def _start(self, worker: Child, job: _Job) -> None:
        """Start a worker that ended; one that dies meanwhile is started again, which is no fault of the job's."""
        for left in reversed(range(STARTS)):
            try:
                await worker.start()
                break
            except StartError:
                if job.cancelled:
                    raise Cancelled("The interaction was cancelled; the session is as it was.") from None
                if not left:
                    raise StartError(
                        f"No process to compute with could be started, {STARTS} times; the session is as it was."
                    ) from None

    async def _in_time(self, worker: Child, job: _Job) -> dict:
        doing = asyncio.ensure_future(worker.do(job))
        await asyncio.wait([doing], timeout=self._patience)
        if not doing.done():
            worker.say({"cancel": job.id})
            await asyncio.wait([doing], timeout=STOPPING)
            if not doing.done():
                worker.kill()
            try:
                return await doing
            except Cancelled:
                pass
            except DeadError:
                await worker.stop()
            raise TookTooLong(f"The interaction took longer than {self._patience:g} s; the session is as it was.")
        return doing.result()

    def _cancel(self, job: _Job) -> None:
        job.cancelled = True
        if self._queue.remove(job):
            self._stopped += 1
            _refuse(job, Cancelled("The interaction was cancelled before it was its turn."))
        elif job.worker is not None:
            job.worker.say({"cancel": job.id})


def _refuse(job: _Job, error: Exception) -> None:
    if not job.result.done():
        job.result.set_exception(error)
