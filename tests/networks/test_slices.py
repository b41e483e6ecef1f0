"""A 3D network with a 2D one that sees the slices: the mean of what both say, and nothing else."""

import numpy as np
import pytest
import torch

from bifseg import Image, Session
from bifseg.errors import InvalidInput
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.networks.slices import WithSlices

VOLUME = ("multiscale", {"dimension": 3, "widths": [8, 16, 24]})
PLANE = ("fcn", {"width": 8, "head": 16})
SHAPE = (20, 24, 18)


def with_slices(size=24, step=1, flips=1):
    torch.manual_seed(5)
    volume, plane = (build(architecture, **settings) for architecture, settings in (VOLUME, PLANE))
    joined = WithSlices.of((VOLUME, volume), (PLANE, plane), size=size, step=step, flips=flips)
    return joined.eval().requires_grad_(False), volume.eval().requires_grad_(False), plane.eval().requires_grad_(False)


def image(count=1):
    return torch.randn(count, 1, *SHAPE, generator=torch.Generator().manual_seed(2))


def log_odds(network, x):
    logits = network(x)
    return logits[:, 1] - logits[:, 0]


def test_its_log_odds_are_the_mean_of_the_volumes_and_of_the_slices_along_each_axis():
    joined, volume, plane = with_slices()
    x = image(2)
    expected = log_odds(volume, x)
    for axis in range(3):
        slices = x.movedim(2 + axis, 1).flatten(0, 1)  # of both volumes, one after the other
        answers = torch.cat([log_odds(plane, one[None]) for one in slices])
        expected += answers.unflatten(0, (2, SHAPE[axis])).movedim(1, 1 + axis)
    torch.testing.assert_close(log_odds(joined, x), expected / 4, rtol=1e-3, atol=1e-3)


def test_flipped_slices_are_averaged():
    joined, volume, plane = with_slices(flips=2)
    x = image()
    total = log_odds(volume, x)
    for axis in range(3):
        slices = x.movedim(2 + axis, 1)[0]
        both = log_odds(plane, slices) + log_odds(plane, slices.flip(2, 3)).flip(1, 2)
        total += both.movedim(0, axis)[None] / 2
    torch.testing.assert_close(log_odds(joined, x), total / 4, rtol=1e-3, atol=1e-3)


def test_slices_that_are_left_out_are_interpolated():
    joined, _, _ = with_slices(step=3)
    *_, (maps, _) = joined.parts(image())
    assert maps.shape == (1, 3, *SHAPE)
    for axis in range(3):
        slopes = maps[0, axis].diff(dim=axis).diff(dim=axis).abs().amax(dim=[a for a in range(3) if a != axis])
        assert (slopes < 1e-4).sum() >= SHAPE[axis] // 3 - 1  # straight lines between those that were seen


def test_a_session_and_a_file(tmp_path):
    joined, *_ = with_slices(step=2)
    settings = {"volume": VOLUME, "plane": PLANE, "size": 24, "step": 2, "flips": 1}
    save_model(Model("m", joined, "with-slices", settings, 24), tmp_path / "m.safetensors")
    model = load_model(tmp_path / "m.safetensors", 3)
    torch.testing.assert_close(model.network(image()), joined(image()))
    scan = Image(np.random.default_rng(0).normal(size=(40, 36, 30)).astype(np.float32))
    session = Session(scan, model=model)
    session.box(((8, 30), (6, 28), (5, 25)))
    strokes = np.zeros(scan.shape, np.uint8)
    strokes[18:21, 16, 14], strokes[10, 8:12, 8] = 1, 2
    mask = session.scribble(strokes)
    assert mask[18:21, 16, 14].all()
    assert not mask[10, 8:12, 8].any()


@pytest.mark.parametrize(
    ("volume", "plane", "size"),
    [(PLANE, PLANE, 24), (VOLUME, VOLUME, 24), (VOLUME, PLANE, 8), (VOLUME, ("fcn", {**PLANE[1], "context": 8}), 24)],
)
def test_what_does_not_fit_is_refused(volume, plane, size):
    with pytest.raises(InvalidInput, match="Slices"):
        build("with-slices", volume=volume, plane=plane, size=size)
