"""Learning beside the server: a process that runs as long as a task has something to learn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from starlette.concurrency import run_in_threadpool

from bifseg.server.log import failure
from bifseg.server.tasks import UserTasks
from bifseg.threads import limited, waits

PROGRAM = ("-m", "bifseg.server.workers.learning")  # what Python runs in the process
AFTER = 10.0  # seconds until a process that died is started again
TRIES = 3  # of one that dies, until somebody adds another object


class Learner:
    """Starts the process when it is woken; one at a time, of ``threads`` threads."""

    def __init__(self, tasks: UserTasks, threads: int) -> None:
        self._tasks, self._threads = tasks, threads
        self._woken = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._work: asyncio.Task | None = None
        self._learning = False

    @property
    def busy(self) -> bool:
        """Whether it learns, or is about to."""
        return self._woken.is_set() or self._learning

    def start(self) -> None:
        """Go on with what a server before this one had not learnt."""
        self._work = asyncio.create_task(self._learn())
        self._woken.set()

    def wake(self) -> None:
        """There is something to learn."""
        self._woken.set()

    async def close(self) -> None:
        """End at once: nothing is lost, and what was not learnt is learnt by the next server."""
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
        await self._end()

    async def _learn(self) -> None:
        while True:
            await self._woken.wait()
            self._learning, left = True, TRIES
            self._woken.clear()
            while left and (folders := await self._pending()):
                self._woken.clear()
                try:
                    died = await self._run(folders)
                except OSError as error:
                    failure(error)
                    died = 1
                if died:
                    left -= 1
                    await asyncio.sleep(AFTER)
                elif not self._woken.is_set():  # all was tried that there is
                    break
            self._learning = False

    async def _pending(self) -> list[str]:
        def look() -> list[str]:
            return sorted({str(task.folder.parent) for task, _ in self._tasks.pending()})

        try:
            return await run_in_threadpool(look)
        except Exception as error:  # of the disk, which must not end the learning for good
            failure(error)
            return []

    async def _run(self, folders: list[str]) -> int:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *PROGRAM, *folders,
            stdin=asyncio.subprocess.PIPE, env={**os.environ, **waits(), **limited(self._threads)},
        )  # fmt: skip
        try:
            return await self._process.wait()
        finally:
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
