"""Real worker processes: what becomes of a job, its result, progress and error, and whose turn it is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest
from pool_runs import BRIEF, SLOW, SOON, begun, pooled, run, until

from bifseg.errors import Busy, Cancelled, InvalidInput, MissingFile, Overloaded
from bifseg.server.workers.pool import WorkError

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
        assert told["loaded"] == []  # but for what the handler needs
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


# ---- what was counted


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
