"""A job is cancelled while it runs, waits or is on its way, and harms no other."""

from __future__ import annotations

import asyncio
import time

import pytest
from pool_runs import SLOW, SOON, begun, pooled, run, until

from bifseg.errors import Cancelled
from bifseg.server.workers import pool as pools


def test_a_running_job_stops_at_its_next_step(tmp_path):
    async def test():
        async with pooled() as pool:
            task, said = await begun(pool, "s", {**SLOW, "log": str(tmp_path / "log")})
            start = time.monotonic()
            assert pool.cancel("s")
            with pytest.raises(Cancelled):
                await task
            assert time.monotonic() - start < SOON
            assert (tmp_path / "log").read_text().count("end") == 1  # the generator was closed, not forgotten
            assert not pool.cancel("s")
            assert (await pool.run("ann", "s", {"do": "echo"}))["pid"] == said["pid"]
            assert pool.statistics()["cancelled"] == 1

    run(test)


def test_a_waiting_job_is_cancelled_at_once_and_never_begins(tmp_path):
    async def test():
        async with pooled() as pool:
            running, _ = await begun(pool, "s", SLOW)
            waiting = asyncio.create_task(pool.run("ann", "t", {**SLOW, "log": str(tmp_path / "log")}))
            await asyncio.sleep(0.02)
            assert pool.cancel("t")
            with pytest.raises(Cancelled):
                await asyncio.wait_for(waiting, SOON)
            assert not running.done()
            pool.cancel("s")
            with pytest.raises(Cancelled):
                await running
            await pool.run("ann", "t", {"do": "echo"})
        assert not (tmp_path / "log").exists()

    run(test)


def test_a_job_cancelled_before_its_worker_heard_of_it_does_nothing(tmp_path):
    async def test():
        async with pooled() as pool:
            task = asyncio.create_task(pool.run("ann", "s", {**SLOW, "log": str(tmp_path / "log")}))
            await asyncio.sleep(0)  # it is handed out, and not yet sent
            assert pool.cancel("s")
            with pytest.raises(Cancelled):
                await asyncio.wait_for(task, SOON)

    run(test)


@pytest.mark.parametrize("running", [True, False])
def test_a_caller_who_goes_away_cancels_the_job(running, tmp_path):
    async def test():
        async with pooled() as pool:
            job = {**SLOW, "log": str(tmp_path / "log")}
            if not running:
                before, _ = await begun(pool, "t", SLOW)
            task = asyncio.create_task(pool.run("ann", "s", job))
            await (until((tmp_path / "log").exists) if running else asyncio.sleep(0.02))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if not running:
                pool.cancel("t")
                with pytest.raises(Cancelled):
                    await before
            start = time.monotonic()
            assert (await pool.run("ann", "s", {"do": "echo", "say": "next"}))["said"] == "next"
            assert time.monotonic() - start < SOON
        assert (tmp_path / "log").exists() == running

    run(test)


def test_a_cancellation_that_comes_too_late_changes_neither_this_job_nor_the_next():
    async def test():
        async with pooled() as pool:
            task, said = await begun(pool, "s", {"do": "stubborn", "seconds": 1})
            await asyncio.sleep(0.1)  # in its last step
            assert pool.cancel("s")
            assert await task == {"done": True}
            for _ in range(3):
                assert (await asyncio.wait_for(pool.run("ann", "s", {"do": "echo"}), SOON))["pid"] == said["pid"]
            assert pool.statistics()["restarts"] == 0

    run(test)


def test_a_job_that_takes_too_long_is_stopped_and_its_worker_lives():
    async def test():
        async with pooled(patience=1.5) as pool:
            said = []
            with pytest.raises(TimeoutError, match=r"1\.5 s"):
                await pool.run("ann", "s", SLOW, progress=said.append)
            assert (await pool.run("ann", "s", {"do": "echo"}))["pid"] == said[-1]["pid"]
            assert pool.statistics()["restarts"] == 0

    run(test)


def test_a_job_that_does_not_hear_is_killed_and_not_tried_again(monkeypatch):
    monkeypatch.setattr(pools, "STOPPING", 1)

    async def test():
        async with pooled(patience=1) as pool:
            said, start = [], time.monotonic()
            with pytest.raises(TimeoutError):
                await pool.run("ann", "s", {"do": "stubborn", "seconds": 60}, progress=said.append)
            assert time.monotonic() - start < SOON
            assert (await pool.run("ann", "s", {"do": "echo"}))["pid"] != said[-1]["pid"]
            assert len([told for told in said if "pid" in told]) == 1

    run(test)
