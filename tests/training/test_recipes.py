import json

import pytest
import torch

from bifseg.networks import NETWORKS, build
from bifseg.training.recipes import COMPARED, SHIPPED, Phase, own
from bifseg.training.sources import Mixture


def test_steps_fall_into_phases():
    recipe = SHIPPED["multiscale2d"]
    lengths = [phase.steps for phase in recipe.phases]
    assert recipe.phase_at(0) == (recipe.phases[0], 0)
    assert recipe.phase_at(lengths[0]) == (recipe.phases[1], 0)
    assert recipe.phase_at(recipe.steps - 1) == (recipe.phases[-1], lengths[-1] - 1)
    with pytest.raises(ValueError, match=f"has {sum(lengths)} steps"):
        recipe.phase_at(recipe.steps)


def test_the_printed_recipe_is_the_papers():
    recipe = own("pnet", 2, "paper")
    assert (recipe.optimiser, recipe.batch, recipe.weight_decay) == ("sgd", 1, 5e-4)
    assert (recipe.dice_loss, recipe.clip, recipe.average) == (0, 0, 0)
    assert recipe.phases == (
        Phase(60_000, 1e-3, Mixture(scans=1.0, twins=0.4, variety=0.4, augmented=False), halving=5000),
    )
    assert recipe.settings["width"] == 64
    assert own("pcnet", 3, "paper").size == 80
    assert recipe.as_dict()["initial"] == "he"
    assert "initial" not in own("pnet", 2).as_dict()


def test_own_recipes_share_out_what_is_synthetic_and_go_on_more_slowly():
    fresh, more = own("multiscale", 3, steps=10, synthetic=0.5, maps=True), own("multiscale", 3, started=True)
    assert (fresh.phases[0].mixture.scans, fresh.phases[0].mixture.anatomy, fresh.steps) == (0.5, 0.25, 10)
    assert more.phases[0].rate == fresh.phases[0].rate / 3


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("pnet", 3), r"no network 'pnet' for 3D; known are .*pnet \(2D\), pcnet \(3D\)"),
        (("vnet", 2), "no network 'vnet' for 2D"),
        (("listening", 2), "hears strokes; train it by --recipe large2d or large3d"),
        (("pnet", 2, "quick"), "Unknown recipe 'quick'; known are fast, paper"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        own(*arguments)
    with pytest.raises(ValueError, match="between 0 and 1"):
        own("pnet", 2, synthetic=1.5)


@pytest.mark.parametrize(
    ("name", "peer"), [("fcn", "pnet"), ("unet", "pnet"), ("deepmedic", "pcnet"), ("highres3dnet", "pcnet")]
)
def test_the_compared_networks_learn_what_the_papers_own_do(name, peer):
    recipe, like = COMPARED[name], SHIPPED[peer]
    assert recipe.dimension == like.dimension == NETWORKS[name].kind.dimension
    assert [phase.mixture for phase in recipe.phases] == [phase.mixture for phase in like.phases]
    assert [phase.cosine for phase in recipe.phases] == [phase.steps for phase in recipe.phases]
    aside = {"architecture": "", "settings": {}, "phases": ()}
    assert recipe.but(**aside) == like.but(**aside)
    with torch.device("meta"):
        narrow, printed = build(name, **recipe.settings), build(name)
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in printed.parameters()) / 3


def test_no_name_is_shipped_and_compared():
    assert not set(SHIPPED) & set(COMPARED)
    assert set(COMPARED) <= set(NETWORKS)


def test_a_recipe_is_told_in_json_without_defaults():
    told = json.loads(json.dumps(SHIPPED["pnet"].as_dict()))
    assert "augmented" not in told["phases"][0]["mixture"]
    assert told["phases"][0]["mixture"]["scans"] > 0


@pytest.mark.parametrize(
    ("name", "dimension"),
    [(n, d) for n, entry in NETWORKS.items() if not entry.listens for d in entry.dimensions],
)
@pytest.mark.parametrize("recipe", ["fast", "paper"])
def test_there_is_a_recipe_for_every_network(name, dimension, recipe):
    pytest.importorskip("monai") if name in ("unet", "highres3dnet") else None
    made = own(name, dimension, recipe)
    assert (made.architecture, made.dimension) == (name, dimension)
    with torch.device("meta"):
        assert build(name, **made.settings).dimension == dimension
