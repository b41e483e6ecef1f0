"""A network is fitted to examples, and few of its weights move."""

from dataclasses import replace

import numpy as np
import torch
from kinds_of_objects import core

from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box
from bifseg.tasks import example, fitting
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import Adam, fitted


def test_steps_are_those_of_torchs_own_class_bit_for_bit():
    torch.manual_seed(0)
    first = [torch.randn(3, 4), torch.randn(5)]
    ours, theirs = ([weight.clone().requires_grad_() for weight in first] for _ in range(2))
    adam, oracle = Adam(ours), torch.optim.AdamW(theirs, weight_decay=0.0)
    for k in range(20):
        rate = 0.1 / (k + 1)
        for weights in (ours, theirs):
            for weight in weights:
                weight.grad = (weight.detach() * (k - 9)).sin()
        adam.step(rate)
        oracle.param_groups[0]["lr"] = rate
        oracle.step()
        assert all(map(torch.equal, ours, theirs))
    assert not any(map(torch.equal, ours, first))


def test_scales_and_projections_are_fitted_and_no_other_weight_of_the_trunk(monkeypatch):
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", None)  # who makes one waits two seconds for a compiler
    model, examples = replace(load_model("default", 2), size=64), [core(seed) for seed in range(2)]
    crops = [Crop(each.image, each.box_in_image, model) for each in examples]
    network = fitted(model, examples, crops, 0)
    moved = {
        name
        for (name, one), other in zip(model.network.named_parameters(), network.parameters(), strict=True)
        if not torch.equal(one, other)
    }
    assert any(name.startswith("scores.") for name in moved)
    assert any(name.startswith("classifier.") for name in moved)
    assert any(name.startswith("stages.0.") for name in moved)
    kept = {name for name, tensor in model.network.named_parameters() if tensor.ndim == 4 and tensor.shape[-1] > 1}
    assert not moved & kept
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_network_that_listens_is_shown_what_lies_around_the_box(monkeypatch):
    monkeypatch.setattr(example, "surroundings", lambda dimension: 4 / 16)
    monkeypatch.setitem(fitting.STEPS, 3, 4)
    settings = {"dimension": 3, "widths": [8, 16, 16], "blocks": [1, 1], "context": 4, "finest": 2}
    torch.manual_seed(0)
    model = Model("heard", build("listening", **settings).eval(), "listening", settings, 16)
    far = np.hypot(*(np.indices((24, 22, 20))[:2] - 11))
    scan = Image((100 * (far < 6) + np.indices(far.shape)[2]).astype(np.float32))
    one = Example.of(scan, far < 6, ((4, 18), (4, 18), (3, 17)), "patient")
    (crop,) = crops = [Crop(one.image, one.box_in_image, model)]
    assert np.array_equal(crop.channels, Crop(scan, one.box, model).channels)  # as it was in the whole scan
    network = fitted(model, [one], crops, 0)
    moved = [
        name
        for (name, before), after in zip(model.network.named_parameters(), network.parameters(), strict=True)
        if not torch.equal(before, after)
    ]
    assert any(name.startswith("compress.") for name in moved)
    assert not any(name.startswith("stem.0.") for name in moved)


def test_in_3d_an_example_is_shown_as_the_trunk_sees_it():
    rng = np.random.default_rng(0)
    image = Image(rng.normal(size=(24, 30, 20)).astype(np.float32), (1, 3, 1))  # thick slices along y
    crop = Crop(image, Box((0, 0, 0), image.shape), load_model("default", 3))
    (seen,) = crop.channels
    assert seen.shape == crop.shape
    assert np.array_equal(crop.as_seen(seen), seen.swapaxes(1, 2))
