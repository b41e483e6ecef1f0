"""The scripts in benchmarks/: which objects settings are chosen on, and that what is reported is something else."""

import json
import re
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bifseg.cli.benchmark import benchmark
from bifseg.evaluation.methods import METHODS
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.targets import half
from bifseg.imaging.image import Image


@pytest.fixture
def module():
    """The modules of benchmarks/ by name; they are imported where a test needs them."""
    return import_module


def test_another_seed_draws_other_boxes_around_the_same_objects(module):
    objects = module("benchmarks.models.objects")
    labels = np.zeros((30, 30, 8), np.uint8)
    labels[4:14, 4:14, 1:7] = 1
    labels[20:22, 20:22, 1] = 1
    case = type("Case", (), {"name": "c", "patient": "patient076", "labels": labels, "image": Image(labels + 0.5)})
    task = objects.Task("D", 3, "develop", {"x": (1,)}, largest=True)
    first, again, other = (next(objects._objects(task, case, {}, 3, seed)) for seed in (0, 0, 1))
    assert first.box == again.box != other.box
    assert (first.truth == other.truth).all()
    assert first.truth.sum() == 10 * 10 * 6  # the largest component
    assert first.patient == "patient074"
    flat = objects.Task("D", 2, "develop", {"x": (1,)}, objects=2)
    planes = [[t.box.plane for t in objects._objects(flat, case, {}, 3, seed)] for seed in (0, 5)]
    assert planes[0] == planes[1]
    assert len(planes[0]) == 2


def test_no_case_is_both_developed_on_and_reported(module, data):
    objects, judge = module("benchmarks.models.objects"), module("benchmarks.published.judge")
    developed = {(t.dataset, t.patient) for dimension in (2, 3) for t in objects.targets(dimension)}
    reported = [(name, options) for parts in judge.PARTS.values() for name, *options in parts]
    for name, options in reported:
        patients = {patient for dataset, patient in developed if dataset == name}
        if "report" in options:
            assert patients
            assert {half(patient) for patient in patients} == {"develop"}
        elif "--cases" in options:
            assert not any(patient.startswith("FETAL_CRL") for patient in patients)
        elif name != "Dataset120_MedScribble":  # see accuracy.md: nobody else drew scribbles three times
            assert not patients


def test_the_published_runs_are_ones_that_the_command_knows(module):
    judge = module("benchmarks.published.judge")
    known = set(
        re.findall(r"^    (\w+): Annotated", Path(benchmark.__globals__["__file__"]).read_text(encoding="utf-8"), re.M)
    )
    for parts in judge.PARTS.values():
        for _, *options in parts:
            given = dict(zip(options[::2], options[1::2], strict=True))
            assert {name.removeprefix("--") for name in given} <= known
            assert set(given.get("--methods", "bifseg").split(",")) <= set(METHODS)
            assert given.get("--protocol", "rounds") in PROTOCOLS
            assert all(user_of(user) for user in given.get("--users", "careful").split(","))


def test_a_mask_that_a_change_moved_is_named(module, tmp_path, monkeypatch, capsys):
    same = module("benchmarks.models.same_masks")
    rows = list(islice(same.checksums(), 2))
    assert [row["after"] for row in rows] == [f"fast, object 1, plane: {name}" for name in ("box", "scribble")]
    assert rows[0]["sha256"] != rows[1]["sha256"]
    before = tmp_path / "before.json"
    for old, code, sentence in (
        (rows, 0, "0 with another mask"),
        ([rows[0]] * 2, 1, "fast, object 1, plane: scribble"),
    ):
        before.write_text(json.dumps({"rows": old}))
        monkeypatch.setattr(sys, "argv", ["same", str(tmp_path / "after.json"), "--against", str(before)])
        monkeypatch.setattr(same, "checksums", lambda: iter(rows))
        assert same.main() == code
        assert sentence in capsys.readouterr().out
