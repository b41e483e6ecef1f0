import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import SCENES, TINY, instances

from bifseg.networks.checkpoint import load_model
from bifseg.training.recipes import SHIPPED, Phase, own
from bifseg.training.sources import Mixture, Sources
from bifseg.training.train import loss_of, rate_at, train, untrained, validate
from bifseg.training.training_set import TrainingSet


@pytest.fixture(autouse=True)
def _few_boxes(monkeypatch):
    """Checkpoints are judged on 4 boxes, not 32: to draw these takes longer than to train."""
    monkeypatch.setattr("bifseg.training.train.validate", partial(validate, synthetic=4))


def test_training_lowers_the_loss_and_writes_a_model_that_loads(tmp_path):
    path = tmp_path / "tiny.safetensors"
    records = list(train(TINY.but(phases=(Phase(80, 3e-3, SCENES, cosine=100_000),)), path, every=40))
    first, last = records[:15], records[-15:]
    assert sum(r["loss"] for r in last) < 0.95 * sum(r["loss"] for r in first)
    assert 0 <= records[-1]["dice_worst_quarter"] <= records[-1]["dice"] <= 1
    model = load_model(path)
    assert model.size == 24
    assert (model.card["seed"], model.card["steps"], model.card["licence"]) == (0, 80, "Apache-2.0")
    assert [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()] == records


def test_two_runs_with_one_seed_agree_and_another_seed_differs(tmp_path):
    losses = [
        [r["loss"] for r in train(TINY, tmp_path / f"{k}.safetensors", seed=seed)] for k, seed in enumerate((3, 3, 4))
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_run_that_stopped_goes_on_exactly_where_it_was(tmp_path, optimiser):
    recipe = TINY.but(optimiser=optimiser)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    list(train(recipe, whole, seed=5, every=4))
    stopped = train(recipe, parts, seed=5, every=4)
    for _ in range(6):  # two steps past the last checkpoint: they are done again
        next(stopped)
    stopped.close()
    assert [r["step"] for r in train(recipe, parts, seed=5, every=4)] == list(range(5, 13))
    first, second = load_file(whole), load_file(parts)
    assert all(torch.equal(first[name], second[name]) for name in first)
    logs = [[json.loads(x) for x in p.with_suffix(".jsonl").read_text().splitlines()] for p in (whole, parts)]
    assert [r["step"] for r in logs[1]] == list(range(1, 13))
    assert [r["loss"] for r in logs[0]] == [r["loss"] for r in logs[1]]


def test_the_mean_of_two_checkpoints_is_kept_through_a_stop(tmp_path):
    plain = TINY.but(phases=(Phase(8, 3e-3, SCENES, cosine=8),))
    early = list(train(plain, tmp_path / "early.safetensors", every=4))  # the log only: its last weights are step 8's
    late = load_file(tmp_path / "early.safetensors")
    stopped = train(plain, tmp_path / "half.safetensors", every=4)
    for _ in range(4):
        next(stopped)
    stopped.close()
    half = load_file(tmp_path / "half.safetensors")
    merged = plain.but(mean_of=(4, 8))
    stopped = train(merged, tmp_path / "both.safetensors", every=2)
    for _ in range(7):
        next(stopped)
    stopped.close()
    list(train(merged, tmp_path / "both.safetensors", every=2))
    both = load_file(tmp_path / "both.safetensors")
    assert all(torch.allclose(both[name], (half[name] + late[name]) / 2, atol=1e-6) for name in both)
    assert len(early) == 8


def test_a_state_of_another_run_is_refused_and_kept(tmp_path):
    path = tmp_path / "m.safetensors"
    list(train(TINY, path, seed=0))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="belongs to another run"):
        next(train(TINY, path, seed=1))
    assert path.read_bytes() == before


def test_the_best_on_seen_classes_is_kept_beside_the_last_and_unseen_classes_never_choose(tmp_path, monkeypatch):
    data = TrainingSet(
        Sources(instances=instances("ab")), instances("ab", patient="q"), instances("c", patient="r"), "own"
    )
    recipe = TINY.but(phases=(Phase(6, 3e-3, Mixture(scans=1.0), cosine=6),))
    scores = iter([0.5, 0.9, 0.7])
    record = {"dice": 0.1, "dice_worst_quarter": 0.1, "seen": {"a": 0.5}, "unseen": {"c": 1.0}}
    monkeypatch.setattr("bifseg.training.train.validate", lambda *_: record | {"score": next(scores)})
    path = tmp_path / "m.safetensors"
    list(train(recipe, path, data, every=2))
    best, last = load_model(path), load_model(path.with_suffix(".last.safetensors"))
    assert (best.card["steps"], last.card["steps"]) == (4, 6)
    assert best.card["unseen"] == {"c": 1.0}
    assert best.card["intensities"]["set"]["n"] == 4


def test_validation_reports_dice_per_class(tmp_path):
    data = TrainingSet(
        Sources(instances=instances("ab")), instances("ab", patient="q"), instances("c", patient="r"), "own"
    )
    recipe = TINY.but(phases=(Phase(2, 3e-3, Mixture(scans=1.0), cosine=2),))
    last = list(train(recipe, tmp_path / "m.safetensors", data))[-1]
    assert set(last["seen"]) == {"a", "b"}
    assert set(last["unseen"]) == {"c"}
    assert last["score"] == pytest.approx(np.mean(list(last["seen"].values())), abs=1e-5)


def test_a_model_can_be_trained_on(tmp_path):
    list(train(TINY, tmp_path / "first.safetensors"))
    begun = load_model(tmp_path / "first.safetensors")
    still = TINY.but(phases=(Phase(1, 1e-12, SCENES, cosine=1),), weight_decay=0.0)
    list(train(still, tmp_path / "second.safetensors", start=begun))
    first, second = begun.network.state_dict(), load_model(tmp_path / "second.safetensors").network.state_dict()
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    wider = TINY.but(settings={"dimension": 2, "widths": [4, 8, 16]})
    with pytest.raises(ValueError, match="the recipe trains a multiscale with"):
        next(train(wider, tmp_path / "third.safetensors", start=begun))


@pytest.mark.parametrize(
    ("mixture", "problem"), [(Mixture(scans=0.5), "labelled scans"), (Mixture(anatomy=0.5), "label maps")]
)
def test_a_source_that_is_empty_is_named(tmp_path, mixture, problem):
    with pytest.raises(ValueError, match=f"draws from {problem}, and none were given"):
        next(train(TINY.but(phases=(Phase(1, 1e-3, mixture, cosine=1),)), tmp_path / "m.safetensors"))


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    wild = TINY.but(phases=(Phase(50, 1e30, SCENES, cosine=50),), optimiser="sgd", clip=0.0)
    with pytest.raises(ValueError, match="the learning rate is too high"):
        list(train(wild, tmp_path / "m.safetensors"))


def test_the_loss_is_cross_entropy_and_half_a_soft_dice():
    logits = torch.tensor([[[[2.0, -1.0]], [[0.0, 1.0]]]])  # one image of 1 x 2 pixels
    labels = torch.tensor([[[0, 1]]])
    p = torch.tensor([1 / (1 + 2.718281828**2), 1 / (1 + 2.718281828**-2)])
    entropy = -(torch.log(1 - p[0]) + torch.log(p[1])) / 2
    dice = (2 * p[1] + 1) / (p.sum() + 1 + 1)
    assert loss_of(logits, labels).item() == pytest.approx((entropy + 0.5 * (1 - dice)).item(), rel=1e-5)
    assert loss_of(logits, labels, dice_loss=0.0).item() == pytest.approx(entropy.item(), rel=1e-5)


def test_rates_warm_up_and_fall_or_are_halved():
    cosine = Phase(1000, 1.0, SCENES, cosine=1000)
    rates = [rate_at(cosine, k) for k in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[99]
    assert rates[999] < 1e-4
    printed = own("pnet", 2, "paper").phases[0]
    assert [rate_at(printed, k) for k in (0, 4999, 5000, 10_000)] == [1e-3, 1e-3, 5e-4, 2.5e-4]


@pytest.mark.parametrize(("name", "dimension"), [("pnet", 2), ("pcnet", 3)])
def test_printed_networks_begin_with_weights_that_let_the_image_through(name, dimension):
    """Thirteen convolutions without a norm: with PyTorch's own weights nothing of it is left at the end."""
    printed = own(name, dimension, "paper")
    small = printed.but(settings={key: max(8, value // 4) for key, value in printed.settings.items()})
    images = torch.randn(2, 1, *[24] * dimension)
    gap = {}
    for initial in ("he", "torch"):
        torch.manual_seed(1)
        with torch.no_grad():
            *_, (last, _) = untrained(small.but(initial=initial)).parts(images)
        gap[initial] = (last[0] - last[1]).std().item()
    assert printed.initial == "he"
    assert gap["he"] > 0.02
    assert gap["torch"] < 1e-3


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_builds_and_takes_a_step_on_small_crops(name, tmp_path):
    recipe = SHIPPED[name].but(size=16, batch=2, phases=(Phase(1, 1e-3, Mixture(twins=1.0, variety=1.0), cosine=1),))
    (record,) = train(recipe, tmp_path / f"{name}.safetensors")
    assert record["loss"] == record["loss"]  # not NaN
    assert json.dumps(record)


@pytest.mark.server
def test_two_processes_share_a_batch_and_one_writes(tmp_path):
    program = tmp_path / "share.py"
    program.write_text(
        "import sys; from pathlib import Path; from torch import distributed\n"
        "from bifseg.training.train import join_processes, leave_processes, train\n"
        "from bifseg.training.training_set import TrainingSet\n"
        "from tiny import TINY, Alike\n"
        "join_processes()\n"
        "for name, data in (('own', TrainingSet()), ('alike', TrainingSet(Alike()))):\n"
        "    losses = [r['loss'] for r in train(TINY, Path(sys.argv[1]) / f'{name}.safetensors', data, every=6)]\n"
        "    distributed.all_gather_object(both := [None, None], losses)\n"
        "    assert (both[0] == both[1]) == (name == 'alike'), both\n"
        "leave_processes()\n"
    )
    here = Path(__file__).parents[1] / "support"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    path = os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")]))
    told = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
    }
    processes = [  # as torchrun starts them
        subprocess.Popen(
            [sys.executable, program, tmp_path],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **told, "RANK": rank},
        )
        for rank in "01"
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert len((tmp_path / "own.jsonl").read_text().splitlines()) == TINY.steps
    shared = load_model(tmp_path / "alike.safetensors")
    assert shared.card["hardware"].endswith("2 x 1 CPU threads")
    # Two processes with one box each, the same one, do what one process does with that box.
    list(train(TINY.but(batch=1), tmp_path / "alone.safetensors"))
    alone = load_model(tmp_path / "alone.safetensors").network.state_dict()
    for name, value in shared.network.state_dict().items():
        assert torch.allclose(value, alone[name], atol=1e-6), name


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("bifseg.training.train.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("bifseg.training.train.distributed.get_rank", lambda: 0)
    monkeypatch.setattr("bifseg.training.train.distributed.get_world_size", lambda: 3)
    with pytest.raises(ValueError, match="A batch of 2 cannot be shared out to 3 processes"):
        next(train(TINY, tmp_path / "m.safetensors"))
