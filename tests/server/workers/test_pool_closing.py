"""A pool that is closed, or whose parent dies, leaves no worker, job or file behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pool_runs import BRIEF, SLOW, SOON, begun, children, pooled, run, until

from bifseg.errors import Closing
from bifseg.server.workers.pool import Pool


def test_closing_lets_all_jobs_end_within_grace_and_refuses_new_ones():
    async def test():
        pool = Pool("pool_factory:handler", {}, workers=1, threads=1)
        await pool.start()
        running, _ = await begun(pool, "s", BRIEF)
        waiting = [asyncio.create_task(pool.run("ben", f"t{k}", BRIEF)) for k in range(2)]
        await asyncio.sleep(0.02)
        start = time.monotonic()
        closing = asyncio.create_task(pool.close(grace=10))
        await asyncio.sleep(0)
        with pytest.raises(Closing):
            await pool.run("cas", "u", {"do": "echo"})
        assert [told["steps"] for told in await asyncio.gather(running, *waiting)] == [10] * 3
        await closing
        assert time.monotonic() - start < SOON

    run(test)


def test_what_does_not_end_within_grace_is_stopped_and_its_callers_hear_of_it():
    before = children()

    async def test():
        pool = Pool("pool_factory:handler", {}, workers=1, threads=1)
        await pool.start()
        running, _ = await begun(pool, "s", SLOW)
        waiting = asyncio.create_task(pool.run("ben", "t", SLOW))
        await asyncio.sleep(0.02)
        start = time.monotonic()
        await pool.close(grace=0.2)
        assert time.monotonic() - start < SOON
        for task in (running, waiting):
            with pytest.raises(Closing):
                await asyncio.wait_for(task, SOON)
        await pool.close()
        with pytest.raises(Closing):
            await pool.run("ann", "s", {"do": "echo"})

    run(test)
    assert children() <= before


def test_a_job_that_is_over_just_after_grace_keeps_its_result():
    async def test():
        pool = Pool("pool_factory:handler", {}, workers=1, threads=1)
        await pool.start()
        task, _ = await begun(pool, "s", {"do": "stubborn", "seconds": 0.5})
        await pool.close(grace=0.1)
        assert await task == {"done": True}  # it is in the journal: nobody may be told that nothing happened

    run(test)


def test_a_worker_that_is_just_being_started_again_does_not_outlive_the_pool(tmp_path):
    before = children()

    async def test():
        pool = Pool("pool_factory:lame", {"flag": str(tmp_path / "flag")}, workers=1, threads=1)
        await pool.start()
        (tmp_path / "flag").touch()
        task, said = await begun(pool, "s", SLOW)
        os.kill(said["pid"], signal.SIGKILL)
        await until(lambda: pool.statistics()["restarts"] == 1)
        start = time.monotonic()
        await pool.close()
        assert time.monotonic() - start < SOON
        with pytest.raises(Closing):
            await task

    run(test)
    assert children() <= before


def test_workers_die_with_their_parent():
    code = (
        "import asyncio, os, signal, sys\n"
        "from bifseg.server.workers.pool import Pool\n"
        "async def main():\n"
        "    pool = Pool('pool_factory:handler', {}, workers=1, threads=1)\n"
        "    await pool.start()\n"
        "    print((await pool.run('ann', 's', {'do': 'echo'}))['pid'], flush=True)\n"
        "    await pool.run('ann', 's', {'do': 'stubborn', 'seconds': 60})\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        pid = next(int(line) for line in parent.stdout if line.strip().isdigit())
        assert Path(f"/proc/{pid}").exists()
        time.sleep(0.3)
        parent.kill()
    end = time.monotonic() + SOON
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < end, "the worker goes on without its parent"
        time.sleep(0.02)


def test_nothing_is_left_open_after_many_lives():
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    counts = []
    before = children()

    async def test():
        for _ in range(3):
            async with pooled(workers=2) as pool:
                task, said = await begun(pool, "s", BRIEF)
                os.kill(said["pid"], signal.SIGKILL)
                await task
            counts.append(descriptors())

    run(test)
    assert counts[0] == counts[1] == counts[2]
    assert children() <= before
