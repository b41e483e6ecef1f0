"""The benchmarks' arithmetic, and what a stopped run does again, on made-up rows and objects; no data set is read."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bifseg.checkpoint import Model
from bifseg.evaluation.users import simulated_box
from bifseg.image import Image
from bifseg.networks import build


@pytest.fixture
def module(monkeypatch):
    """The modules of benchmarks/ by name, as the scripts there import each other."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return __import__


def row(dice, *, case="a", patient=None, label="x", data="Dataset101_ACDC", step="box", method="fast", seed=0):
    return {
        "model": "m", "sha256": "0" * 64, "dataset": data, "case": case, "patient": patient or case, "label": label,
        "dimension": 2, "seed": seed, "box": "b", "step": step, "method": method, "parameters": "p", "dice": dice,
        "seconds": 0.5,
    }  # fmt: skip


def test_macro_means_count_every_class_the_same_and_every_object_its_mean_over_seeds(module):
    tables = module("tables")
    rows = [
        row(0.5, seed=0), row(0.7, seed=1), row(0.8, case="b"), row(1.0, case="a", label="y"),
        row(0.2, data="Dataset107_AbdomenCT2D"), row(0.0, method="crf"),
    ]  # fmt: skip
    means = tables.summarise(tables.scores(rows, "box", "fast"))
    assert means["ACDC", "x"] == pytest.approx((70, np.std([60, 80], ddof=1), 2))
    assert means["ACDC", "all"][0] == pytest.approx((60 + 80 + 100) / 3)
    assert means["macro", ""] == pytest.approx(((70 + 100 + 20) / 3, np.std([60, 80, 100, 20], ddof=1), 4))
    assert tables.summarise({}) == {}


def test_a_comparison_pairs_objects_and_seeds_that_both_methods_have(module):
    tables = module("tables")
    crf = [row(0.5, case=c, method="crf", seed=s) for c in "abcd" for s in (0, 1)]
    fast = [row(0.5 + gain, case=c, seed=0) for c, gain in zip("abc", (0.1, 0.04, -0.02), strict=True)]
    fast += [row(0.5 + gain, case=c, seed=1) for c, gain in zip("abe", (0.2, 0.06, 0.4), strict=True)]
    found = tables.compare(tables.scores(fast, "box", "fast"), tables.scores(crf, "box", "crf"))
    assert (found.objects, found.units) == (3, 3)
    assert found.difference == pytest.approx((15 + 5 - 2) / 3)
    assert found.by_seed == pytest.approx({0: 4, 1: 13})
    assert found.worse == pytest.approx(1 / 3)
    assert found.low < found.difference < found.high
    assert 0 < found.t_test < 1
    assert 0 < found.wilcoxon <= 1
    same = tables.compare(tables.scores(crf, "box", "crf"), tables.scores(crf, "box", "crf"))
    assert (same.difference, same.worse) == (0, 0)
    assert np.isnan(same.t_test)
    assert tables.compare({}, tables.scores(crf, "box", "crf")) is None


def test_the_bootstrap_is_seeded_and_draws_whole_patients(module):
    tables = module("tables")
    values = np.random.default_rng(0).normal(1, 2, 40)
    alone = [("ACDC", f"p{k}") for k in range(40)]
    low, high = tables.bootstrap(values, alone)
    assert (low, high) == tables.bootstrap(values, alone) != tables.bootstrap(values, alone, seed=1)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.1)
    twice = tables.bootstrap(np.repeat(values, 2), [u for u in alone for _ in range(2)])
    assert twice == pytest.approx((low, high))  # seeing a patient twice is no new evidence
    assert tables.bootstrap(np.array([1.0, 3.0]), [("ACDC", "p")] * 2) == (2, 2)


def test_the_report_shows_means_comparisons_and_the_best_in_bold(module, tmp_path):
    tables = module("tables")
    rows = []
    for k, case in enumerate("abcd"):
        for step in ("box", "round 1", "round 3"):
            rows += [row(0.5 + k / 20, case=case, step=step, method="crf"), row(0.6 + k / 30, case=case, step=step)]
        rows.append(row(0.4, case=case, method="network"))
    paths = tables.write_report(tmp_path / "a", rows, {}, tmp_path / "a.png")
    assert [path.name for path in paths] == ["a.md", "a.summary.json", "a.png"]
    assert paths[2].stat().st_size > 1000
    text = paths[0].read_text()
    assert "| ACDC | x | 4 | 40.0 ± 0.0 | 57.5 ± 6.5 | **65.0 ± 4.3** |" in text
    assert "| all | box | BIFSeg vs +CRF | 4 (4) | **+7.5** [" in text
    assert "AbdomenCT2D" not in text
    [numbers] = json.loads(paths[1].read_text()).values()
    assert numbers["macro"]["round 1"]["fast"] == {"mean": 65.0, "sd": 4.303, "n": 4}
    assert numbers["datasets"]["box"]["network"]["ACDC"]["mean"] == 40
    assert {c["data"] for c in numbers["comparisons"]} == {"all", "ACDC"}
    assert tables.about_models(tmp_path / "a") == {"m": {}}


@pytest.fixture
def run(module, monkeypatch, tmp_path):
    """Runs accuracy.py on three small objects; ``run.judged`` lists what the judge, a fake, was asked."""
    accuracy, objects = module("accuracy"), module("objects")
    network = build("multiscale", dimension=2, widths=[4, 4]).eval().requires_grad_(False)
    model = Model("m", network, "multiscale", {"dimension": 2, "widths": [4, 4]}, 16, sha256="1" * 64)
    truth = np.zeros((24, 20, 1), bool)
    truth[8:16, 6:14] = True
    image = Image(truth * 100.0 + np.random.default_rng(0).normal(0, 10, truth.shape))

    def targets(fold, dimension, seed=0):
        assert (fold, dimension) == ("report", 2)
        for k, dataset in enumerate(("Dataset101_ACDC", "Dataset101_ACDC", "Dataset107_AbdomenCT2D")):
            box = simulated_box(truth, np.random.default_rng(10 * run.boxes + seed), 4, plane=(2, 0))
            yield objects.Target(dataset, f"case {k}", f"patient {k}", "x", 2, image, truth, box)

    def judge(model, target, seed, methods):
        run.judged += [(target.case, seed, method) for method in methods]
        return real(model, target, seed, methods) if run.real else [
            row(0.5, case=target.case, patient=target.patient, data=target.dataset, method=method, seed=seed)
            | {"sha256": model.sha256, "box": str(target.box), "parameters": accuracy.fingerprint(methods[method])}
            for method in methods
        ]  # fmt: skip

    def run(*options, weights="1", tuned=None):
        run.judged = []
        changed = replace(model, sha256=weights * 64, tuned=tuned or {})
        monkeypatch.setattr(accuracy, "load_model", lambda name: changed)
        accuracy.main(["-o", str(tmp_path / "out"), "--models", "m", *options])
        return accuracy.read_rows(tmp_path / "out.jsonl")

    run.real, run.boxes, run.path, real = False, 0, tmp_path / "out.jsonl", accuracy.judge
    monkeypatch.setattr(accuracy, "targets", targets)
    monkeypatch.setattr(accuracy, "judge", judge)
    return run


def test_a_stopped_run_goes_on_where_it_was(run):
    rows = run("--seeds", "2")
    assert len(rows) == len(run.judged) == 3 * 2 * 4  # objects, seeds, methods
    assert run("--seeds", "2") == rows
    assert not run.judged
    lines = run.path.read_text().splitlines(keepends=True)
    run.path.write_text("".join(lines[:-4]) + lines[-4][:30])  # killed while writing the last object's rows
    assert len(run("--seeds", "2")) == len(rows)
    assert run.judged == [("case 2", 1, method) for method in ("network", "crf", "-w", "fast")]
    run("--seeds", "2", "--paper")
    assert run.judged == [(f"case {k}", 0, "paper") for k in range(3)]
    run("--seeds", "3", "--only", "abdomen")
    assert run.judged == [("case 2", 2, method) for method in ("network", "crf", "-w", "fast")]


def test_stale_rows_are_dropped_and_judged_again(run):
    count = len(run("--seeds", "1"))
    other = json.dumps(row(0.5) | {"model": "another", "dimension": 3}) + "\n"
    run.path.write_text(run.path.read_text() + other)
    rows = run("--seeds", "1", tuned={"rate": 0.05})
    assert len(rows) == count + 1
    assert {method for _, _, method in run.judged} == {"crf", "-w", "fast"}  # the network alone is as it was
    rows = run("--seeds", "1", tuned={"rate": 0.05}, weights="2")
    assert len(run.judged) == count
    assert {r["sha256"][0] for r in rows} == {"0", "2"}
    run.boxes = 1
    run("--seeds", "1", "--limit", "1", tuned={"rate": 0.05}, weights="2")
    assert {case for case, _, _ in run.judged} == {"case 0", "case 2"}
    assert "another" in run.path.with_suffix(".md").read_text()


def test_the_judge_lets_every_method_work_on_the_same_object(run):
    run.real = True
    rows = run("--seeds", "1", "--limit", "1", "--only", "ACDC", "--paper")
    assert [(r["method"], r["step"]) for r in rows] == [("network", "box")] + [
        (method, step) for method in ("crf", "-w", "fast", "paper") for step in ("box", "round 1", "round 3")
    ]
    assert all(0 <= r["dice"] <= 1 and r["seconds"] >= 0 for r in rows)
    assert len({r["parameters"] for r in rows if r["method"] != "network"}) == 4
    assert rows[3]["dice"] > 0.5  # three rounds of cuts on a bright square


def test_another_seed_draws_other_boxes_around_the_same_objects(module):
    objects = module("objects")
    labels = np.zeros((30, 30, 8), np.uint8)
    labels[4:14, 4:14, 1:7] = 1
    labels[20:22, 20:22, 1] = 1
    case = type("Case", (), {"name": "c", "patient": "patient076", "labels": labels, "image": Image(labels + 0.5)})
    task = objects.Task("D", 3, "report", {"x": (1,)}, largest=True)
    first, again, other = (next(objects._objects(task, case, {}, 3, seed)) for seed in (0, 0, 1))
    assert first.box == again.box != other.box
    assert (first.truth == other.truth).all()
    assert first.truth.sum() == 10 * 10 * 6  # the largest component
    assert first.patient == "patient074"
    flat = objects.Task("D", 2, "report", {"x": (1,)}, objects=2)
    planes = [[t.box.plane for t in objects._objects(flat, case, {}, 3, seed)] for seed in (0, 5)]
    assert planes[0] == planes[1]
    assert len(planes[0]) == 2
