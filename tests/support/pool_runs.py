"""A pool for a test: jobs that begin, are waited for and must end in time, and this process's children."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from bifseg.server.workers.pool import Pool

SLOW = {"do": "steps", "count": 3000, "seconds": 0.02}  # a minute, to be cancelled at any of 3000 moments
SOON = 15  # seconds: far less than SLOW takes, and enough for a machine with other work
BRIEF = {"do": "steps", "count": 10, "seconds": 0.02}


@contextlib.asynccontextmanager
async def pooled(factory: str = "pool_factory:handler", options: dict | None = None, **kw) -> AsyncIterator[Pool]:
    pool = Pool(factory, options or {}, **{"workers": 1, "threads": 1, **kw})
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


def run(test: Callable[[], Awaitable]) -> None:
    """Run a test's coroutine: within 50 s, and with nothing that asyncio would complain of only in a log."""
    complaints = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        await asyncio.wait_for(test(), 50)
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(watched())
    gc.collect()
    assert complaints == []


async def until(condition: Callable[[], object], seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.01)


def children() -> set[int]:
    """This process's children, zombies included."""
    return {int(n) for n in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8").split()}


async def begun(pool: Pool, session: str, job: dict, user: str = "ann", **kw) -> tuple[asyncio.Task, dict]:
    """A job that runs, and the first thing it said."""
    said = []
    task = asyncio.create_task(pool.run(user, session, job, progress=said.append, **kw))
    await until(lambda: task.done() or any("queued" not in told for told in said))
    return task, next((told for told in said if "queued" not in told), {})
