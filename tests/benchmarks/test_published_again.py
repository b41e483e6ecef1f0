"""Published rows judged again, and the one command for all of them."""

import gzip
import json
import sys

import nibabel
import numpy as np
import pytest

from benchmarks.published import check, everything
from benchmarks.published.check import differences, drawn, runs_of
from benchmarks.published.judge import tell_commit
from bifseg.cli import main as bifseg
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A data set, and the packed rows of a benchmark on it."""
    folder = tmp_path_factory.mktemp("published")
    data = folder / "data" / "Dataset001_A"
    for kind in ("imagesTr", "labelsTr"):
        (data / kind).mkdir(parents=True)
    (data / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "thing": 1}, "channel_names": {"0": "MR"}})
    )
    image, truth = phantom(3)
    affine = np.diag([*image.spacing, 1])
    nibabel.save(nibabel.Nifti1Image(image.array, affine), data / "imagesTr" / "c0_0000.nii.gz")
    nibabel.save(nibabel.Nifti1Image((truth > 0).astype(np.uint8), affine), data / "labelsTr" / "c0.nii.gz")
    results = folder / "rounds.jsonl"
    words = ["--methods", "crf,grabcut,geos", "--rounds", "1", "-o", str(results)]
    assert bifseg(["benchmark", str(data), *words]) == 0
    results.with_suffix(".jsonl.gz").write_bytes(gzip.compress(results.read_bytes()))
    return folder


def judged_again(folder, path, **changes):
    options = {"rows": None, "share": 1.0, "seed": 0, "tolerance": 0.0} | changes
    return check.check(path, folder / "data", **options)


def test_rows_come_out_again(published):
    path = published / "rounds.jsonl.gz"
    assert judged_again(published, path) == (6, [])
    assert judged_again(published, path, rows=1)[0] == 2  # a run is judged whole


@pytest.mark.parametrize(("name", "value"), [("dice", 0.12345), ("strokes", 99), ("box", "0:1,0:1,0")])
def test_a_row_that_was_touched_is_named(published, tmp_path, name, value):
    rows = [json.loads(line) for line in gzip.decompress((published / "rounds.jsonl.gz").read_bytes()).splitlines()]
    if name != "box":  # from which the plane is read
        rows[1][name] = value
    else:
        rows[1]["box"] = rows[1]["box"].replace(":", ":9", 1)
    path = tmp_path / "rounds.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    about = (published / "rounds.about.json").read_text()
    (tmp_path / "rounds.about.json").write_text(about)
    count, (sentence,) = judged_again(published, path)
    assert count == 6
    assert sentence.startswith("rounds, Dataset001_A, c0, thing, 2D, crf (fcn2d), careful, seed 0, step 1: " + name)


def test_the_command_ends_with_1_where_something_came_out_otherwise(published, monkeypatch, capsys):
    path = published / "rounds.jsonl.gz"
    monkeypatch.setattr(check, "differences", lambda *a: iter(["crf, step 1: dice is 0.1, the results say 0.2."]))
    monkeypatch.setattr(sys, "argv", ["check", str(published / "data"), str(path), "--rows", "1", "--seed", "5"])
    with pytest.raises(SystemExit) as error:
        check.main()
    assert error.value.code == 1
    assert "dice is 0.1, the results say 0.2.\nrounds.jsonl.gz: 2 rows judged again, 1 " in capsys.readouterr().out


def test_a_case_or_a_network_that_is_gone_is_told(published, tmp_path):
    path = published / "rounds.jsonl.gz"
    (row, *_), about = runs_of(check.read_rows(path))[0], check.read_results([path])[1][0]
    again = check.Again(published / "data", about)
    with pytest.raises(check.InvalidInput, match=r"no case c9 in"):
        again.run([row | {"case": "c9"}])
    with pytest.raises(check.InvalidInput, match=r"unet.safetensors, which benchmarks/networks/README.md"):
        again.run([row | {"network": "unet"}])


def test_runs_are_drawn_whole_at_random_and_the_same_for_a_seed():
    rows = [
        {"protocol": "rounds", "dataset": "A", "case": str(k), "label": "x", "dimension": 2, "method": "m",
         "network": None, "user": "careful", "seed": 0, "step": step}
        for k in range(100) for step in range(3)
    ]  # fmt: skip
    runs = runs_of(rows)
    assert [row["case"] for run in drawn(runs, 16, 1) for row in run] == [
        row["case"] for run in drawn(runs, 16, 1) for row in run
    ]
    assert len(drawn(runs, 16, 1)) == 6
    assert drawn(runs, 16, 1) != drawn(runs, 16, 2)


def test_a_tolerance_is_of_scores_only():
    old = {"protocol": "rounds", "dataset": "A", "case": "c", "label": "x", "dimension": 2, "method": "m", "step": 0,
           "network": None, "user": "careful", "seed": 0, "dice": 0.5, "nsd": 0.5, "strokes": 3, "length": 1.0,
           "box": "b"}  # fmt: skip
    assert list(differences([old], [old | {"dice": 0.5005}], 0.001)) == []
    assert len(list(differences([old], [old | {"dice": 0.5005}]))) == 1
    assert len(list(differences([old], [old | {"strokes": 4}], 0.001))) == 1
    assert "1 steps, the results have 2" in next(differences([old, old], [old]))


def test_what_is_left_is_what_never_ended_or_ended_with_other_code():
    known = {
        name: {"source": "now", "date": "d", "commit": "c", "machine": "m", "minutes": 1} for name in everything.JOBS
    }
    names = list(everything.JOBS)
    assert everything.left(names, known, "now") == []
    assert everything.left(names, known, "later") == names
    known["users"]["source"] = "before"
    del known["noc"]
    assert everything.left(names, known, "now") == ["users", "noc", *everything.LAST]
    assert everything.state("noc", known, "now") == "left, never run by this command"
    assert everything.state("users", known, "now").startswith("left, the code has changed since: d, commit c")
    assert everything.state("rounds", known, "now") == "done: d, commit c, m, 1 min"


def test_jobs_that_fail_are_named_and_those_that_end_are_stamped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(everything, "MADE", tmp_path / "made.json")
    monkeypatch.setattr(
        everything, "JOBS", {"fine": everything.Job("this"), "broken": everything.Job("antigravity_", ("DATA",))}
    )
    monkeypatch.setattr(sys, "argv", ["everything", str(tmp_path)])
    with pytest.raises(SystemExit, match="broken failed"):
        everything.main()
    assert list(everything.made()) == ["fine"]
    assert {"date", "machine", "commit", "source", "minutes"} == set(everything.made()["fine"])
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["everything", str(tmp_path), "--list"])
    everything.main()
    assert "fine       done: " in (said := capsys.readouterr().out)
    assert "broken     left, never run" in said


def test_every_job_can_be_started():
    for name, job in everything.JOBS.items():
        __import__(
            job.module + ".__main__"
            if job.module in ("benchmarks.speed", "benchmarks.page", "docs.generate")
            else job.module
        )
        assert job.command("x")[1] == "-m", name


def test_results_tell_their_commit(tmp_path):
    about = tmp_path / "rounds.about.json"
    about.write_text('{"date": "d"}')
    tell_commit(about)
    assert set(json.loads(about.read_bytes())) == {"date", "commit"}
