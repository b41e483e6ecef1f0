"""The pool: real worker processes, killed, cancelled and kept waiting; and the queue before them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bifseg.errors import Busy, Cancelled, Closing, InvalidInput, MissingFile, Overloaded
from bifseg.server.app import build_app
from bifseg.server.settings import Settings
from bifseg.server.workers import pool as pools
from bifseg.server.workers.child import StartError
from bifseg.server.workers.pool import Pool, WorkError
from bifseg.server.workers.queue import FairQueue

SLOW = {"do": "steps", "count": 3000, "seconds": 0.02}  # a minute, to be cancelled at any of 3000 moments
SOON = 15  # seconds: far less than SLOW takes, and enough for a machine with other work
BRIEF = {"do": "steps", "count": 10, "seconds": 0.02}


@pytest.fixture(autouse=True)
def _factories(monkeypatch):
    """Workers find tests/support/pool_factory.py."""
    path = [str(Path(__file__).parents[1] / "support"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))


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


# ---- the queue


@dataclass(eq=False)
class Waiting:
    user: str
    session: str


def drain(queue: FairQueue) -> list[str]:
    """Sessions in the order in which one worker gets them."""
    order = []
    while job := queue.take():
        order.append(job.session)
        queue.done(job)
    return order


def test_users_take_turns_and_keep_their_own_order():
    queue = FairQueue()
    for user, count in (("ann", 4), ("ben", 2), ("cas", 1)):
        for k in range(count):
            queue.put(Waiting(user, f"{user}{k}"))
    assert drain(queue) == ["ann0", "ben0", "cas0", "ann1", "ben1", "ann2", "ann3"]
    assert queue.jobs() == []


def test_a_session_has_one_job_at_a_time_and_holds_up_no_other():
    queue = FairQueue()
    first, second, other = Waiting("ann", "s"), Waiting("ann", "s"), Waiting("ann", "t")
    for job in (first, second, other):
        queue.put(job)
    assert queue.take() is first
    assert queue.take() is other
    assert queue.take() is None
    queue.done(first)
    assert queue.take() is second


def test_who_had_less_of_the_workers_time_goes_first():
    now = [0.0]
    queue = FairQueue(clock=lambda: now[0])
    for k in range(3):
        queue.put(Waiting("greedy", f"greedy {k}"))
    long = queue.take()
    now[0] = 30.0
    for k in range(2):
        queue.put(Waiting("ann", f"ann {k}"))
        queue.put(Waiting("ben", f"ben {k}"))
    queue.done(long)  # it took 30 s; who comes meanwhile has no debts, and no credit
    order = []
    while job := queue.take():
        order.append(job.session)
        now[0] += 30.0 if job.user == "greedy" else 0.1
        queue.done(job)
    assert order == ["greedy 1", "ann 0", "ben 0", "ann 1", "ben 1", "greedy 2"]


def test_one_user_may_have_a_part_of_the_workers_only():
    queue = FairQueue(own=lambda user: 1)
    jobs = [Waiting("greedy", "a"), Waiting("greedy", "b"), Waiting("ann", "c")]
    for job in jobs:
        queue.put(job)
    assert (queue.take(), queue.take(), queue.take()) == (jobs[0], jobs[2], None)
    queue.done(jobs[0])
    assert queue.take() is jobs[1]


def test_a_job_is_taken_out_of_the_line_once():
    queue = FairQueue()
    job, twin = Waiting("ann", "s"), Waiting("ann", "s")
    queue.put(job)
    queue.put(twin)
    assert queue.remove(job)
    assert not queue.remove(job)
    assert queue.jobs() == [twin]
    assert queue.take() is twin
    assert not queue.remove(twin)


# ---- jobs


def test_a_job_goes_to_a_worker_and_its_result_and_progress_come_back():
    async def test():
        said = []
        async with pooled() as pool:
            assert (await pool.run("ann", "s", {"do": "echo", "say": "é\n" * 500_000}))["said"] == "é\n" * 500_000
            result = await pool.run("ann", "s", {**BRIEF, "count": 3}, progress=said.append)
        assert result["steps"] == 3
        assert said[0] == {"queued": 0}
        assert [told["step"] for told in said[1:]] == [0, 1, 2]

    run(test)


def test_a_worker_has_its_threads_its_options_nothing_of_torch_and_no_file_of_its_parent(tmp_path):
    async def test():
        with (tmp_path / "patient").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            async with pooled(options={"data": "here"}, workers=2, threads=3) as pool:
                told = await pool.run("ann", "s", {"do": "about"})
        assert told["threads"] == "3"
        assert told["options"]["data"] == "here"
        assert told["options"]["threads"] == 3
        assert told["interrupt"]
        assert not told["torch"]
        assert not any("patient" in name for name in told["descriptors"])

    run(test)


def test_the_pool_does_not_import_torch():
    code = "import sys, bifseg.server.workers.pool, bifseg.server.workers.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", [InvalidInput, MissingFile, Busy])
def test_errors_that_a_user_can_understand_come_back_as_they_are(kind):
    async def test():
        async with pooled() as pool:
            with pytest.raises(kind, match=r"^A sentence\.$") as caught:
                await pool.run("ann", "s", {"do": "fail", "error": kind.__name__, "message": "A sentence."})
            assert type(caught.value) is kind
            assert (await pool.run("ann", "s", {"do": "echo", "say": 1}))["said"] == 1
            assert pool.statistics()["restarts"] == 0

    run(test)


def test_other_errors_are_work_errors_that_do_not_repeat_what_they_said(capfd):
    async def test():
        async with pooled() as pool:
            with pytest.raises(WorkError, match="KeyError") as caught:
                await pool.run("ann", "s", {"do": "fail", "error": "KeyError", "message": "Doe^Jane"})
            assert "Doe" not in str(caught.value)

    run(test)
    assert "Doe" not in "".join(capfd.readouterr())


def test_an_error_of_the_system_is_ours_and_says_no_path():
    async def test():
        async with pooled() as pool:
            with pytest.raises(WorkError, match="FileNotFoundError") as caught:
                await pool.run("ann", "s", {"do": "missing"})
            assert "nowhere" not in str(caught.value)

    run(test)


def test_a_result_that_is_not_json_is_an_error_and_the_job_is_not_done_twice(tmp_path):
    async def test():
        async with pooled() as pool:
            with pytest.raises(WorkError, match="TypeError"):
                await pool.run("ann", "s", {"do": "unsayable", "log": str(tmp_path / "log")})
            assert pool.statistics()["restarts"] == 0

    run(test)
    assert (tmp_path / "log").read_text().count("begin") == 1


def test_a_progress_callback_that_fails_cancels_its_job_and_harms_no_other(tmp_path):
    async def test():
        def fail(told):
            if "step" in told:
                raise LookupError("The listener is gone.")

        async with pooled(workers=2) as pool:
            with pytest.raises(LookupError, match="listener"):
                await pool.run("ann", "s", {**SLOW, "log": str(tmp_path / "log"), "say": "first"}, progress=fail)
            for session in "stst":
                job = {**BRIEF, "log": str(tmp_path / "log"), "say": "next"}
                assert await asyncio.wait_for(pool.run("ann", session, job), SOON)

    run(test)
    lines = [line.split()[:2] for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[:2] == [["begin", "first"], ["end", "first"]]  # over before the next one of the session began


# ---- whose turn


def test_one_user_with_much_to_do_does_not_keep_another_waiting():
    async def test():
        order = []

        async def ask(user, k):
            await pool.run(user, f"{user}{k}", BRIEF)
            order.append(user)

        async with pooled() as pool:
            ann = [asyncio.create_task(ask("ann", k)) for k in range(6)]
            await until(lambda: pool.statistics()["running"] == 1)
            ben = [asyncio.create_task(ask("ben", k)) for k in range(2)]
            await asyncio.gather(*ann, *ben)
        last = max(k for k, user in enumerate(order) if user == "ben")
        assert last <= 4, order  # one of ann's runs already, then they take turns
        assert order.count("ann") == 6

    run(test)


def test_jobs_of_a_session_follow_each_other_and_sessions_run_side_by_side(tmp_path):
    async def test():
        async with pooled(workers=2) as pool:
            jobs = [(s, {**BRIEF, "say": s, "log": str(tmp_path / s)}) for s in "aabb"]
            await asyncio.gather(*(pool.run("ann", session, job) for session, job in jobs))

    run(test)
    spans = {s: [line.split() for line in (tmp_path / s).read_text().splitlines()] for s in "ab"}
    for lines in spans.values():
        assert [line[0] for line in lines] == ["begin", "end", "begin", "end"]
    times = {s: [float(line[2]) for line in lines] for s, lines in spans.items()}
    both = [max(a, b) < min(c, d) for a, c in _pairs(times["a"]) for b, d in _pairs(times["b"])]
    assert any(both), times


def _pairs(times: list[float]) -> list[tuple[float, float]]:
    """When each of two jobs began and ended."""
    return [(times[0], times[1]), (times[2], times[3])]


def test_a_session_goes_back_to_the_worker_that_had_it_if_that_one_is_free():
    async def test():
        async with pooled(workers=2) as pool:
            first = (await pool.run("ann", "s", {"do": "echo"}))["pid"]
            other = (await pool.run("ann", "t", {"do": "echo"}))["pid"]
            assert first != other
            for _ in range(4):
                assert (await pool.run("ann", "t", {"do": "echo"}))["pid"] == other
                assert (await pool.run("ann", "s", {"do": "echo"}))["pid"] == first
            busy, said = await begun(pool, "t2", SLOW)
            mine = "s" if said["pid"] == first else "t"
            elsewhere = await asyncio.wait_for(pool.run("ann", mine, {"do": "echo"}), SOON)
            assert elsewhere["pid"] != said["pid"]  # it does not wait for its own
            busy.cancel()
            await asyncio.wait([busy])

    run(test)


def test_a_user_cannot_fill_the_queue_and_others_are_not_refused():
    async def test():
        async with pooled(queued_per_user=2) as pool:
            tasks = [(await begun(pool, "s", SLOW))[0]]
            while True:
                task = asyncio.create_task(pool.run("ann", "s", SLOW))
                await asyncio.sleep(0.05)
                tasks.append(task)
                if task.done() or len(tasks) > 5:
                    break
            with pytest.raises(Overloaded, match="2"):
                tasks.pop().result()
            assert 2 <= len(tasks) <= 3
            ben = asyncio.create_task(pool.run("ben", "t", {"do": "echo"}))
            await asyncio.sleep(0.05)
            assert not ben.done()
            assert pool.cancel("s")
            assert (await ben)["pid"]
            assert all(isinstance(r, Cancelled) for r in await asyncio.gather(*tasks, return_exceptions=True))

    run(test)


# ---- cancelling


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


# ---- workers that die


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


# ---- the end


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


def test_statistics_count_what_happened():
    async def test():
        async with pooled(workers=2) as pool:
            task, _ = await begun(pool, "s", SLOW)
            waiting = asyncio.create_task(pool.run("ann", "s", SLOW))
            await asyncio.sleep(0.02)
            now = pool.statistics()
            assert (now["waiting"], now["running"], now["workers"], now["done"]) == (1, 1, 2, 0)
            assert pool.busy("s")
            assert not pool.busy("t")
            assert (pool.queued("ann"), pool.queued("ben")) == (2, 0)
            pool.cancel("s")
            await asyncio.gather(task, waiting, return_exceptions=True)
            await pool.run("ann", "s", BRIEF)
            await until(lambda: pool.statistics()["running"] == 0)
            assert not pool.busy("s")
            then = pool.statistics()
            assert (then["waiting"], then["done"], then["cancelled"], then["restarts"]) == (0, 1, 2, 0)
            assert then["seconds"] >= 0.2
            assert all(isinstance(value, (int, float)) for value in then.values())

    run(test)


def test_what_fits_may_overtake_but_nobody_waits_for_ever():
    queue = FairQueue()
    for k in range(8):
        queue.put(Waiting("quick", f"home {k}"))
    queue.put(Waiting("other", "away"))
    queue.put(Waiting("third", "home"))
    taken = []
    while job := queue.take(lambda job: job.session.startswith("home")):
        taken.append(job.user)
        queue.done(job)
    assert sorted(taken) == ["other"] + ["quick"] * 8 + ["third"]
    assert taken[:2] == ["quick", "third"]
    assert taken.index("other") <= 4
