"""Workers that are killed or cannot start: their jobs are done by the next, or given up with an error."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from pool_runs import BRIEF, begun, children, pooled, run, until

from bifseg.errors import Cancelled
from bifseg.server.app import build_app
from bifseg.server.settings import Settings
from bifseg.server.workers.child import StartError
from bifseg.server.workers.pool import Pool, WorkError


def test_a_job_whose_worker_is_killed_is_done_by_the_next():
    async def test():
        async with pooled() as pool:
            task, said = await begun(pool, "s", BRIEF)
            os.kill(said["pid"], signal.SIGKILL)
            result = await task
            assert result["steps"] == 10
            assert result["pid"] != said["pid"]
            assert pool.statistics()["restarts"] == 1
            assert pool.statistics()["workers"] == 1
            assert said["pid"] not in children()

    run(test)


def test_a_job_that_kills_every_worker_is_tried_twice_and_given_up(tmp_path):
    async def test():
        async with pooled() as pool:
            with pytest.raises(WorkError, match="2 times"):
                await pool.run("ann", "s", {"do": "crash", "log": str(tmp_path / "log")})
            assert (await pool.run("ann", "s", {"do": "echo", "say": 1}))["said"] == 1
            once = {"do": "crash_once", "say": 2, "log": str(tmp_path / "once")}
            assert (await pool.run("ann", "s", once))["said"] == 2

    run(test)
    assert (tmp_path / "log").read_text().count("begin") == 2


def test_a_worker_killed_while_it_was_idle_costs_no_job_a_try(tmp_path):
    async def test():
        async with pooled() as pool:
            pid = (await pool.run("ann", "s", {"do": "echo"}))["pid"]
            os.kill(pid, signal.SIGKILL)
            await until(lambda: pool.statistics()["workers"] == 0 or pool.statistics()["restarts"] == 1)
            once = {"do": "crash_once", "say": 2, "log": str(tmp_path / "once")}
            assert (await pool.run("ann", "s", once))["said"] == 2

    run(test)


def test_a_worker_killed_while_it_starts_is_started_again(tmp_path):
    deaths = tmp_path / "deaths"
    deaths.write_text("")

    async def test():
        async with pooled("pool_factory:mortal", {"deaths": str(deaths)}) as pool:
            pid = (await pool.run("ann", "s", {"do": "echo"}))["pid"]
            deaths.write_text("xx")
            os.kill(pid, signal.SIGKILL)
            await until(lambda: pool.statistics()["workers"] == 0)
            assert (await pool.run("ann", "s", {"do": "echo", "say": 1}))["said"] == 1
            assert deaths.read_text() == ""
            pid = (await pool.run("ann", "s", {"do": "echo"}))["pid"]
            deaths.write_text("xxxxx")
            os.kill(pid, signal.SIGKILL)
            await until(lambda: pool.statistics()["workers"] == 0)
            with pytest.raises(StartError, match="could be started, 3 times; the session is as it was"):
                await pool.run("ann", "s", {"do": "echo"})
            assert (await pool.run("ann", "s", {"do": "echo", "say": 2}))["said"] == 2  # two are left, and gone

    run(test)


def test_a_worker_that_does_not_start_is_no_fault_of_who_asks(store):
    app = build_app(Settings(store.folder))
    answer = asyncio.run(app.exception_handlers[StartError](None, StartError("No process.")))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    answer = asyncio.run(app.exception_handlers[WorkError](None, WorkError("No.")))
    assert answer.status_code == 500


def test_a_cancelled_job_whose_worker_dies_is_not_tried_again(tmp_path):
    async def test():
        async with pooled() as pool:
            task, said = await begun(pool, "s", {"do": "stubborn", "seconds": 60})
            pool.cancel("s")
            os.kill(said["pid"], signal.SIGKILL)
            with pytest.raises(Cancelled):
                await task
            assert (await pool.run("ann", "s", {"do": "echo", "say": 1}))["said"] == 1

    run(test)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_that_cannot_start_are_an_error_and_leave_nothing_behind(workers, capfd):
    before = children()

    async def test():
        for factory in ("pool_factory:broken", "pool_factory:nowhere", "no_such_module:handler"):
            with pytest.raises(WorkError):
                await Pool(factory, {}, workers=workers, threads=1).start()

    run(test)
    assert children() <= before
    assert "There is no model." in capfd.readouterr().err
