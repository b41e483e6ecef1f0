import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from bifseg.checkpoint import load_model
from bifseg.train import RECIPES, batch_of, loss_of, train

TINY = {
    "architecture": "multiscale", "settings": {"dimension": 2, "widths": [4, 8, 8]},
    "size": 24, "batch": 2, "phases": [
        {"steps": 5, "rate": 3e-3, "cosine": 5, "twins": 0.0}, {"steps": 7, "rate": 3e-3, "cosine": 7, "twins": 0.5},
    ],
}  # fmt: skip
LONG = {"steps": 100_000, "rate": 3e-3, "cosine": 100_000, "twins": 0.0}


def test_training_lowers_the_loss_and_writes_a_model_that_loads(tmp_path):
    path = tmp_path / "tiny.safetensors"
    records = list(train(TINY | {"phases": [LONG | {"steps": 80}]}, 0, path, every=40))
    first, last = records[:15], records[-15:]
    assert sum(r["loss"] for r in last) < 0.95 * sum(r["loss"] for r in first)
    assert 0 <= records[-1]["dice_worst_quarter"] <= records[-1]["dice"] <= 1
    model = load_model(path)
    assert model.size == 24
    assert model.card["seed"] == 0
    assert model.card["steps"] == 80


def test_a_run_that_stopped_goes_on_exactly_where_it_was(tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    list(train(TINY, 5, whole, every=4))
    stopped = train(TINY, 5, parts, every=4)
    for _ in range(6):  # two steps past the last checkpoint: they are done again
        next(stopped)
    stopped.close()
    assert [r["step"] for r in train(TINY, 5, parts, every=4)] == list(range(5, 13))
    first, second = load_file(whole), load_file(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_command_resumes(tmp_path):
    path = tmp_path / "m.safetensors"
    program = (
        "import bifseg.train as t, sys; from collections import deque; from pathlib import Path;"
        f"deque(t.train({TINY | {'phases': [LONG]}!r}, 1, Path(sys.argv[1]), every=3), 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)])
    deadline = time.time() + 120
    while not path.with_suffix(".state").exists():
        assert time.time() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    load_model(path)
    resumed = next(train(TINY | {"phases": [LONG]}, 1, path, every=3))
    assert resumed["step"] > 3
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".part" and p.stat().st_size == 0]


def test_batches_are_functions_of_seed_and_step():
    one, two, other = batch_of(0, 7, 3, 16, 2), batch_of(0, 7, 3, 16, 2), batch_of(0, 8, 3, 16, 2)
    assert torch.equal(one[0], two[0])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])
    assert one[0].shape[:2] == (2, 1)
    assert max(one[0].shape[2:]) == 16


def test_the_loss_is_cross_entropy_and_half_a_soft_dice():
    logits = torch.tensor([[[[2.0, -1.0]], [[0.0, 1.0]]]])  # one image of 1 x 2 pixels
    labels = torch.tensor([[[0, 1]]])
    p = torch.tensor([1 / (1 + 2.718281828**2), 1 / (1 + 2.718281828**-2)])
    entropy = -(torch.log(1 - p[0]) + torch.log(p[1])) / 2
    dice = (2 * p[1] + 1) / (p.sum() + 1 + 1)
    assert loss_of(logits, labels).item() == pytest.approx((entropy + 0.5 * (1 - dice)).item(), rel=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_and_takes_a_step_on_small_crops(name, tmp_path):
    recipe = RECIPES[name] | {"size": 16, "batch": 2, "phases": [LONG | {"steps": 1, "twins": 1.0}]}
    (record,) = train(recipe, 0, tmp_path / f"{name}.safetensors")
    assert record["loss"] == record["loss"]  # not NaN
    assert json.dumps(record)
