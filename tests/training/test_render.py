"""Boxes to learn from: where windows lie in their volumes, where their boxes end, and what labels look like."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from bifseg.training.appearance import HOLLOW, NESTED, TARGET, Painter, Palette
from bifseg.training.bank import volume
from bifseg.training.windows import CUT, DEEPEST, WIDEST, boxed, draw, places


def a_window(dimension, bend):
    labels = np.zeros((30, 24, 20), np.int64)
    labels[5:20, 4:20, 3:18] = 1
    of = volume("a map", labels, (1.0, 1.5, 2.0), np.array([0, 1]))
    window = draw(np.random.default_rng(3), of, 0, "maps", dimension)
    shape = (3, *[window.cells] * dimension)
    window.warp = torch.full(shape, float(bend))
    return window


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("bend", [0.0, 0.07])
def test_the_points_of_a_grid_lie_where_its_frame_says(dimension, bend):
    windows = [a_window(dimension, bend)] * 2
    rng = np.random.default_rng(0)
    axes = [torch.from_numpy(rng.uniform(-1.2, 1.2, (2, 4 + a)).astype(np.float32)) for a in range(dimension)]
    found = places(windows, axes)
    assert [tuple(one.shape) for one in found] == [(2, *range(4, 4 + dimension))] * 3
    one = windows[0]
    for k in (0, 1):
        for at in itertools.product(*(range(4 + a) for a in range(dimension))):
            u = np.array([axes[a][k, at[a]] for a in range(dimension)] + [0.0] * (3 - dimension))
            millimetres = one.centre + one.frame @ (u * one.half + bend * one.half.max())
            voxel = millimetres / one.volume.spacing - 0.5
            np.testing.assert_allclose([float(place[(k, *at)]) for place in found], voxel, atol=1e-3)


def test_a_warp_bends_what_is_near_and_leaves_the_rest():
    window = a_window(3, 0.0)
    window.warp[0, 0, 0, 0] = 0.1  # a corner
    axis = torch.tensor([[-1.8, 0.0, 1.8]])
    straight = places([replaced(window, 0.0)], [axis] * 3)
    bent = places([window], [axis] * 3)
    moved = sum((b - s).abs() for b, s in zip(bent, straight, strict=True))[0]
    assert moved[0, 0, 0] > 0.1
    assert moved[2, 2, 2] == 0


def replaced(window, bend):
    other = replace(window)
    other.warp = torch.full_like(window.warp, bend)
    return other


@pytest.mark.parametrize("dimension", [2, 3])
def test_some_boxes_end_within_their_structure_and_the_others_around_it(dimension):
    rng = np.random.default_rng(1)
    low, high = np.full(dimension, -1.0), np.full(dimension, 0.5)
    drawn = [boxed(rng, low, high) for _ in range(2000)]
    margins = np.array([np.concatenate([low - a, b - high]) / 1.5 for a, b in drawn])
    assert abs((margins < 0).mean() - CUT) < 0.015
    assert margins.min() >= -DEEPEST
    assert margins.max() <= WIDEST[dimension][-1]
    least, most = {2: (0.04, 0.08), 3: (0.08, 0.14)}[dimension]
    assert least < np.median(margins) < most  # around real objects in 3D it is 0.10


def palettes(count=400, kin=None):
    rng = np.random.default_rng(2)
    return [Palette.random(rng, np.array([0, 1, 2, 3, TARGET]), kin, 0) for _ in range(count)]


def test_a_palette_has_a_look_for_every_label_and_none_for_others():
    absent = np.setdiff1d(np.arange(256), [0, 1, 2, 3, TARGET])
    every = palettes()
    for one in every:
        assert (one.means >= 0).all()
        assert (one.rims[absent] == -1).all()
        assert (one.mottles[absent] == -1).all()
        assert one.noise > 0
    rimmed = np.mean([(one.rims >= 0).any() for one in every])
    mottled = np.mean([one.mottles[TARGET] >= 0 for one in every])
    noisy = np.mean([one.noise > 0.1 for one in every])
    assert 0.1 < rimmed < 0.35
    assert 0.04 < mottled < 0.2
    assert 0.03 < noisy < 0.2


def test_a_pair_shares_its_whole_look_with_the_target_in_most_boxes():
    kin = np.array([7, 7, 8])  # label 1 is the target's twin
    alike = [
        all(np.array_equal(table[1], table[TARGET]) for table in (one.means, one.textures, one.rims, one.mottles))
        for one in palettes(kin=kin)
    ]
    assert 0.5 < np.mean(alike) < 0.9


@pytest.mark.parametrize("dimension", [2, 3])
def test_some_targets_become_shells_and_others_lie_in_one(dimension):
    axes = np.ogrid[(slice(-20, 21),) * dimension]
    ball = torch.from_numpy(sum(axis**2 for axis in axes) <= 12**2).expand(60, *[41] * dimension)
    before = torch.where(ball, TARGET, 3).to(torch.uint8)
    label, truth = Painter("cpu").nested(np.random.default_rng(0), before, ball, 0.5)
    changed = (label != before).flatten(1).any(1)
    assert 0.3 < changed.float().mean() < 0.7
    assert torch.equal(truth, label == TARGET)
    middle = (slice(None), *[20] * dimension)
    shells = changed & (label[middle] == NESTED)
    assert 0.5 * HOLLOW < shells.sum() / changed.sum() < 1
    for one in torch.where(changed)[0]:
        if shells[one]:
            assert (truth[one] <= ball[one]).all()
            assert truth[one].any(0).flatten().any()
        else:
            assert torch.equal(truth[one], ball[one])
            assert (label[one] == NESTED).any()


def test_what_is_nested_can_be_told_from_the_target():
    rng = np.random.default_rng(2)
    every = [Palette.random(rng, np.array([0, 1, NESTED, TARGET]), None, 0) for _ in range(300)]
    assert min(abs(one.means[NESTED] - one.means[TARGET]) for one in every) > 0.1


@pytest.mark.parametrize("dimension", [2, 3])
def test_rims_lie_where_labels_meet_and_nowhere_else(monkeypatch, dimension):
    plain = palettes(1)[0]
    tables = {name: np.full(256, -1.0, np.float32) for name in ("rims", "mottles")}
    means = np.full(256, 0.2, np.float32)
    means[TARGET], tables["rims"][TARGET] = 0.5, 1.0
    look = replace(plain.look, bias=0.0, blur=0.01, gamma=1.0)
    fixed = Palette(look, means, np.zeros(256, np.float32), **tables, noise=1e-6)
    monkeypatch.setattr(Palette, "random", lambda *_: fixed)
    label = torch.zeros(1, *[32] * dimension, dtype=torch.uint8)
    label[(0, *[slice(6, 26)] * dimension)] = TARGET

    def painted(seed):  # without shadow, fading, coarser grids and speckle, which other seeds have
        rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(0)
        return Painter("cpu").drawn(rng, noise, label, label == TARGET, [None], [0])[0].abs()

    middle, side = (16,) * dimension, (6, *[16] * (dimension - 1))
    outside = (2,) * dimension
    seen = [[round(float(image[at]), 2) for at in (middle, side, outside)] for image in map(painted, range(60))]
    assert [0.5, 1.0, 0.2] in seen
