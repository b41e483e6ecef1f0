import copy
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from bifseg.imaging.image import Image
from bifseg.imaging.intensity import normalise
from bifseg.method.classifier import log_odds
from bifseg.method.crop import Crop
from bifseg.networks import build, execution
from bifseg.networks.checkpoint import Model
from bifseg.networks.execution import chosen, write_features
from bifseg.prompts.interaction import Box

NETWORKS = {
    "pnet": {"width": 8, "hidden": 8},
    "pcnet": {"width": 8, "compressed": 4, "hidden": 8},
    "multiscale2d": {"dimension": 2, "widths": [8, 16, 24]},
    "multiscale3d": {"dimension": 3, "widths": [8, 16, 24]},
    "fcn": {"width": 8, "head": 16, "channels": 8},
    "unet": {"width": 8, "hidden": 8},
    "deepmedic": {"widths": [8] * 8, "joint": 16, "hidden": 8},
    "highres3dnet": {"width": 8, "channels": 16, "hidden": 8},
}
HALF = "bfloat16" if execution._has_bfloat16() else None


def made(name, seed=0):
    torch.manual_seed(seed)
    return build(name[:-2] if name.startswith("multi") else name, **NETWORKS[name]).eval().requires_grad_(False)


def rows(network, image, precision):
    out = torch.full((1, *image.shape, network.channels), torch.nan)
    write_features(network, image[None, None], out, precision=precision)
    return out[0]


def expected(network, image):
    with torch.inference_mode():
        return network.features(image[None, None])[0].movedim(0, -1)


@pytest.mark.parametrize("name", NETWORKS)
def test_written_features_are_the_networks_whatever_the_order_of_shapes(name):
    network = made(name)
    shapes = [(40, 33), (17, 64), (40, 33)] if network.dimension == 2 else [(21, 16, 18), (9, 33, 5), (21, 16, 18)]
    for shape in shapes:
        image = torch.randn(shape)
        wanted = expected(network, image)
        torch.testing.assert_close(rows(network, image, "float32"), wanted, rtol=1e-3, atol=1e-3)
        if HALF:
            half = rows(network, image, HALF)
            assert not torch.equal(half, wanted)
            assert (half - wanted).square().mean() < 4e-4 * wanted.var()


@pytest.mark.skipif(HALF is None, reason="this CPU does not multiply bfloat16")
def test_norms_of_a_whole_box_are_summed_in_float32():
    torch.manual_seed(1)
    network = made("multiscale3d")
    halved = execution._prepared(network, torch.bfloat16)
    norms = [m for m in halved.modules() if isinstance(m, nn.GroupNorm)]
    seen = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda norm, given: seen.append((given[0].dtype, norm.weight.dtype)))
    rows(network, torch.randn(32, 32, 32), HALF)
    assert len(seen) == len(norms)
    assert set(seen) == {(torch.float32, torch.float32)}


def test_a_network_trained_further_is_not_answered_with_its_old_weights():
    network, image = made("pnet"), torch.randn(20, 24)
    before = rows(network, image, None)
    state = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(rows(network, image, "float32"), expected(network, image), rtol=1e-4, atol=1e-4)
    network.load_state_dict(state)
    assert torch.equal(rows(network, image, None), before)


def test_the_network_itself_is_left_as_it_was():
    network = made("unet")
    before, text = copy.deepcopy(network.state_dict()), repr(network)
    rows(network, torch.randn(32, 32), None)
    assert repr(network) == text
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("coarsest", [0, 1, 2])
def test_the_axis_of_the_thickest_slices_is_the_networks_z(coarsest):
    network = made("pcnet")
    image = Image(np.random.default_rng(0).normal(size=(16, 14, 12)).astype(np.float32),
                  tuple(2.0 if axis == coarsest else 1.0 for axis in range(3)))  # fmt: skip
    crop = Crop(image, Box((0, 0, 0), image.array.shape), Model("m", network, "pcnet", NETWORKS["pcnet"], size=16))
    turned = torch.from_numpy(normalise(crop.array)).transpose(coarsest, 2)
    wanted = expected(network, turned).transpose(coarsest, 2).reshape(-1, network.channels)
    assert crop.features().views[0].shape == (crop.array.size, network.channels)
    assert crop.features().views[0].dtype == torch.float32
    assert crop.features().views[0].is_contiguous()
    torch.testing.assert_close(crop.features().views[0], wanted, rtol=0.05, atol=0.05 * wanted.std().item())


def test_the_precision_is_the_callers_then_the_environments_then_the_cpus(monkeypatch):
    monkeypatch.delenv("BIFSEG_PRECISION", raising=False)
    monkeypatch.setattr(execution, "_has_bfloat16", lambda: True)
    assert chosen() is chosen("auto") is torch.bfloat16
    assert chosen(halves=False) is torch.float32
    assert chosen("bfloat16", halves=False) is torch.bfloat16
    monkeypatch.setenv("BIFSEG_PRECISION", "float32")
    assert chosen() is torch.float32
    assert chosen("bfloat16") is torch.bfloat16
    monkeypatch.setattr(execution, "_has_bfloat16", lambda: False)
    assert chosen("auto") is torch.float32
    with pytest.raises(ValueError, match="This CPU does not multiply bfloat16"):
        chosen("bfloat16")
    with pytest.raises(ValueError, match="possible are auto, float32, bfloat16"):
        chosen("half")


def test_without_onednn_the_network_runs_as_it_is(monkeypatch):
    monkeypatch.setattr(execution, "_has_onednn", lambda: False)
    monkeypatch.setattr(execution, "_has_bfloat16", lambda: False)
    network, image = made("multiscale3d"), torch.randn(20, 24, 9)
    torch.testing.assert_close(rows(network, image, None), expected(network, image), rtol=1e-4, atol=1e-4)


def test_log_odds_are_those_of_the_classifier_whichever_was_asked_last(monkeypatch):
    network = made("multiscale2d")
    image = Image(np.random.default_rng(0).normal(size=(20, 18)).astype(np.float32))
    crop = Crop(image, Box((0, 0, 0), image.shape), Model("m", network, "multiscale", {}, size=18))
    classifiers = [network.classifier]
    for factor in (0.5, 2.0):
        classifiers.append(copy.deepcopy(network.classifier))
        for parameter in classifiers[-1].parameters():
            parameter.mul_(factor)
    computed = []
    monkeypatch.setattr("bifseg.method.crop.log_odds", lambda *given: computed.append(0) or log_odds(*given))
    for k in (0, 1, 0, 1, 2, 1, 0, 1):
        torch.testing.assert_close(
            crop.features().log_odds(classifiers[k]), log_odds(classifiers[k], crop.features().views[0])
        )
    assert len(computed) == 4  # 0, 1, 2 and, forgotten meanwhile, 0 again


def test_by_another_network_a_crop_is_seen_as_one_made_anew():
    one, other = (Model("m", made("multiscale3d", seed), "multiscale", NETWORKS["multiscale3d"], 24) for seed in (0, 1))
    image = Image(np.random.default_rng(0).normal(size=(20, 24, 6)).astype(np.float32), (1, 1, 4))
    box = Box((0, 0, 0), image.shape)
    crop, anew = Crop(image, box, one), Crop(image, box, other)
    before, slices = crop.features().views[0].clone(), crop.slices
    again = crop.seen_by(other.network)
    assert torch.equal(again.features().views[0], anew.features().views[0])
    assert not torch.equal(before, again.features().views[0])
    assert torch.equal(crop.features().views[0], before)  # this one is still as its own network sees it
    assert again.slices is slices  # no matter of the network
    assert crop.seen_by(one.network) is crop


def test_bfloat16_is_not_chosen_where_onednn_may_not_use_it():
    program = "from bifseg.networks.execution import chosen; print(chosen())"
    hidden = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "BIFSEG_PRECISION": ""}
    told = subprocess.run([sys.executable, "-c", program], env=hidden, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["torch.float32"]
