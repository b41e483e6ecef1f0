"""What learns from batches: a trunk, or an R-Net behind one that stays."""

from dataclasses import replace

import pytest
import torch
from small_volumes import small_volumes

from bifseg.errors import InvalidInput
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model
from bifseg.training import train_interactive
from bifseg.training.interactive_recipes import InteractiveRecipe
from bifseg.training.learners import RNetLearner, TrunkLearner
from bifseg.training.train_interactive import train

NARROW = {"width": 8, "head": 16, "context": 8}


@pytest.fixture(scope="module")
def volumes():
    return small_volumes()


@pytest.mark.server
@pytest.mark.parametrize("dimension", [2, 3])
def test_an_rnet_learns_behind_a_trunk_that_stays_and_goes_on_later(tmp_path, volumes, monkeypatch, dimension):
    monkeypatch.setattr(train_interactive, "LOGGED_EVERY", 8)
    settings = {2: {"width": 8, "head": 16}, 3: {"dimension": 3, "widths": [4, 8]}}[dimension]
    name = {2: "fcn", 3: "multiscale"}[dimension]
    recipe = InteractiveRecipe(
        name, settings, size=32, batch=2, under_way=2, rounds=(0, 1), warm_up=1, average=0.1,
        rnet={"widths": [8, 8, 8], "blocks": [1, 0]},
    )  # fmt: skip
    torch.manual_seed(0)
    start = Model("start", build(name, **settings).requires_grad_(False), name, settings, 32, card={"data": "none"})
    before = {key: tensor.clone() for key, tensor in start.network.state_dict().items()}
    record = next(train(recipe, volumes, tmp_path / "net.safetensors", minutes=1, start=start))
    assert all(dice is not None for dice in record["dice"])  # boxes are seen with strokes, too
    assert record["skipped"] == 0
    list(train(recipe, volumes, tmp_path / "short.safetensors", minutes=0.02, start=start))
    model = load_model(tmp_path / "short.safetensors")
    assert (model.card["data"], model.card["rnet"]["steps"] > 0) == ("none", True)
    assert model.rnet.answer[-1].weight.any()
    assert model.tuned["rnet"] > 0
    for key, tensor in model.network.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=1e-3, atol=1e-3)  # half precision in the file
        assert torch.equal(start.network.state_dict()[key], before[key])
    later = RNetLearner(recipe, model, "cpu", bf16=False)
    assert torch.equal(later.average.answer[-1].weight, model.rnet.answer[-1].weight)
    with pytest.raises(InvalidInput, match="other settings"):
        RNetLearner(replace(recipe, rnet={"widths": [8, 8], "blocks": [1]}), model, "cpu", bf16=False)
    with pytest.raises(InvalidInput, match="--start"):
        RNetLearner(recipe, None, "cpu", bf16=False)
    listening = Model("listening", build("fcn", **NARROW), "fcn", NARROW, 32)
    with pytest.raises(InvalidInput, match="hears strokes itself"):
        RNetLearner(recipe, listening, "cpu", bf16=False)


def test_what_is_written_lies_between_what_was_learnt_and_what_the_run_began_with():
    torch.manual_seed(0)
    start = Model("start", build("fcn", width=8, head=16), "fcn", {"width": 8, "head": 16}, 32)
    recipe = InteractiveRecipe("fcn", {"width": 8, "head": 16}, size=32, batch=2, of_start=0.75)
    learner = TrunkLearner(recipe, start, "cpu", bf16=False)
    with torch.no_grad():
        for weight in learner.average.parameters():
            weight += 1
    for weight, before, after in zip(
        learner.result().parameters(), start.network.parameters(), learner.average.parameters(), strict=True
    ):
        assert torch.allclose(weight, before + 0.25, atol=1e-6)
        assert torch.allclose(after, before + 1, atol=1e-6)  # the run goes on from what it had
