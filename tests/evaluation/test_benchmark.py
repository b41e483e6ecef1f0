"""A benchmark goes on where it was, whatever stopped it, and ends with the file of an undisturbed one."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from clusters import ray_of_two
from labelled_sets import write_set

from bifseg.cli import main
from bifseg.evaluation import benchmark as module
from bifseg.evaluation import cost
from bifseg.evaluation.benchmark import benchmark, judge, plan
from bifseg.evaluation.cost import measured, only_new_garbage
from bifseg.evaluation.metrics import dice, nsd
from bifseg.evaluation.results import KEY, MEASURED, Results
from bifseg.evaluation.targets import find_targets

FAST = ["crf", "network", "growcut"]


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    dataset = write_set(tmp_path_factory.mktemp("data") / "set", ("a", "b"))
    return find_targets([dataset], 2, classes=["box"]).targets


@pytest.fixture(scope="module")
def runs(targets):
    return plan(targets, FAST, ["multiscale2d"], ["careful", "sloppy"], [0], "rounds", 2)


@pytest.fixture(scope="module")
def undisturbed(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "r.jsonl"
    assert benchmark(runs, path) == len(runs) == 2 * 2 * 3
    return path


def rows_of(path):
    """All but what clocks and memory meters said."""
    return [{k: v for k, v in json.loads(line).items() if k not in MEASURED} for line in path.read_text().splitlines()]


def test_rows_hold_what_the_format_promises(targets, runs, undisturbed):
    rows = [json.loads(line) for line in undisturbed.read_text().splitlines()]
    assert len(rows) == 12 * 3
    for row in rows:
        assert {*KEY, "patient", "seen", "step", "dice", "nsd", "strokes", "length", "box", *MEASURED} < set(row)
        assert 0 <= row["dice"] <= 1
        assert row["user_seconds"] >= row["seconds"] >= 0
    assert [row["step"] for row in rows[:6]] == [0, 1, 2, 0, 1, 2]
    assert {row["network"] for row in rows if row["method"] == "growcut"} == {None}
    assert {row["network"] for row in rows if row["method"] == "crf"} == {"multiscale2d"}
    assert {row["seen"] for row in rows} == {False}
    assert len({tuple(row[name] for name in KEY) for row in rows}) == 12
    # The refinements of one network get the same first scribbles.
    first = {
        (r["case"], r["user"], r["seed"], r["method"]): (r["strokes"], r["length"]) for r in rows if r["step"] == 1
    }
    assert all(first[c, u, s, "crf"] == first[c, u, s, "network"] for c, u, s, m in first if m == "crf")


def test_scores_are_those_of_the_masks(targets, runs):
    masks = []
    rows = judge(runs[0], lambda step: masks.append(step.mask))
    plane = targets[0].view
    for row, mask in zip(rows, masks, strict=True):
        mask, truth = plane.crop(mask), plane.crop(targets[0].truth)
        assert row["dice"] == round(dice(mask, truth), 5)
        assert row["nsd"] == round(nsd(mask, truth, (1, 1), 2.0), 5)


def test_a_finished_benchmark_is_left_alone(runs, undisturbed):
    before = undisturbed.read_bytes()
    assert benchmark(runs, undisturbed) == 0
    assert undisturbed.read_bytes() == before


@pytest.mark.parametrize("share", [0.55, 0.999])
def test_a_file_cut_anywhere_is_completed(runs, undisturbed, tmp_path, share):
    content = undisturbed.read_bytes()
    path = tmp_path / "r.jsonl"
    path.write_bytes(content[: int(share * len(content))])
    made = benchmark(runs, path)
    assert 0 < made <= len(runs)
    assert rows_of(path) == rows_of(undisturbed)


@pytest.mark.server
def test_several_processes_give_the_same_file(runs, undisturbed, tmp_path):
    benchmark(runs, tmp_path / "r.jsonl", jobs=2)
    assert rows_of(tmp_path / "r.jsonl") == rows_of(undisturbed)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a cluster that did not start
@pytest.mark.server
def test_a_ray_cluster_of_two_workers_gives_the_same_file(runs, undisturbed, tmp_path):
    with ray_of_two():
        benchmark(runs, tmp_path / "r.jsonl", jobs=2, backend="ray")
    assert rows_of(tmp_path / "r.jsonl") == rows_of(undisturbed)


@pytest.mark.server
def test_a_benchmark_killed_at_some_moment_goes_on(targets, undisturbed, tmp_path):
    folder, path = targets[0].case.labels_path.parent.parent, tmp_path / "r.jsonl"
    command = [
        sys.executable, "-c", "import sys; from bifseg.cli import main; sys.exit(main())", "benchmark", str(folder),
        "--labels", "box", "--methods", ",".join(FAST), "--networks", "multiscale2d", "--users", "careful,sloppy",
        "--repeats", "1", "--rounds", "2", "-o", str(path),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if path.exists() and path.read_bytes().count(b"\n") >= 15:
                break
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert path.read_bytes().count(b"\n") < 36
    assert main(command[3:]) == 0
    assert rows_of(path) == rows_of(undisturbed)


def test_stale_rows_are_made_again_and_rows_of_others_kept(runs, undisturbed, tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    rows = [json.loads(line) for line in undisturbed.read_text().splitlines()]
    other = [{**rows[0], "method": "somebody's"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows + other))
    monkeypatch.setattr(module.simulated_users, "VERSION", "next")
    changed = [run for run in runs if run.method == "growcut" and run.user == "sloppy"]
    assert benchmark(changed, path) == len(changed)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(found) == len(rows) + 1
    assert sum(row["method"] == "somebody's" for row in found) == 1
    assert {row["fingerprint"] for row in found if row["method"] == "growcut" and row["user"] == "sloppy"} == {
        run.fingerprint for run in changed
    }


def test_another_benchmark_cannot_write_to_the_same_file(tmp_path):
    with Results(tmp_path / "r.jsonl"), pytest.raises(ValueError, match="Another benchmark is writing"):
        Results(tmp_path / "r.jsonl").__enter__()


def test_a_file_that_is_something_else_is_left_alone(runs, tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text('{"shopping": ["milk"]}\n')
    with pytest.raises(ValueError, match=r"Line 1 of .* is no row of a benchmark"):
        benchmark(runs, path)
    assert "milk" in path.read_text()


def test_a_full_disk_ends_it_with_a_sentence_and_whole_runs(runs, undisturbed, tmp_path):
    path = tmp_path / "r.jsonl"
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
    try:
        with pytest.raises(OSError, match=r"Cannot write .*r.jsonl: File too large. The runs before are kept"):
            benchmark(runs, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    found = rows_of(path)
    assert found
    assert len(found) % 3 == 0
    assert found == rows_of(undisturbed)[: len(found)]


def test_a_failing_run_is_named(targets, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "make", lambda *_, **__: Broken())
    with pytest.raises(RuntimeError, match="growcut on box of a, seed 0: ValueError: out of order"):
        benchmark(plan(targets, ["growcut"], [], ["careful"], [0]), tmp_path / "r.jsonl")


class Broken:
    def start(self, image, box):
        raise ValueError("out of order")


def test_plans_say_what_cannot_be(targets):
    with pytest.raises(ValueError, match="Unknown protocol 'tennis'; known are rounds, challenge, noc"):
        plan(targets, ["crf"], ["default"], ["careful"], [0], "tennis")
    with pytest.raises(ValueError, match="challenge is not for 2D"):
        plan(targets, ["crf"], ["default"], ["careful"], [0], "challenge")
    with pytest.raises(ValueError, match="no network fits"):
        plan(targets, ["crf"], ["multiscale3d"], ["careful"], [0])
    with pytest.raises(ValueError, match="Unknown user"):
        plan(targets, ["crf"], ["default"], ["nobody"], [0])
    both = plan(targets, ["crf", "growcut"], ["fcn2d", "pnet", "multiscale3d"], ["careful"], [3])
    assert [(run.method, run.network) for run in both[:3]] == [
        ("crf", "fcn2d"),
        ("crf", "pnet"),
        ("growcut", None),
    ]
    assert {run.steps for run in plan(targets, ["crf"], ["default"], ["careful"], [0], "noc", 20)} == {19}
    assert {run.steps for run in plan(targets, ["growcut"], [], ["careful"], [0], "noc", 20)} == {21}


def test_garbage_is_looked_for_among_what_is_new():
    class Ring:
        def __init__(self):
            self.itself = self

    gc.unfreeze()
    cost._frozen_before.cache_clear()
    try:
        old = weakref.ref(Ring())
        with only_new_garbage():
            new = weakref.ref(Ring())
            measured(lambda: None)
            assert old() is not None
            assert new() is None
        measured(lambda: None)
        assert old() is None
    finally:
        gc.freeze()
        cost._frozen_before.cache_clear()


def test_memory_and_time_of_a_call_are_its_own():
    array, seconds, peak = measured(lambda: np.ones(8 << 20))  # 64 MiB
    assert array.size == 8 << 20
    assert 0 < seconds < 10
    if Path("/proc/self/clear_refs").exists() and peak is not None:
        assert 55 < peak < 120
        assert measured(lambda: None)[2] < 20
        again = measured(lambda: [np.ones(1 << 12) for _ in range(1 << 11)])  # 64 MiB in small pieces
        assert [measured(lambda: [np.ones(1 << 12) for _ in range(1 << 11)])[2] for _ in range(2)] == pytest.approx(
            [again[2]] * 2, rel=0.3
        )
