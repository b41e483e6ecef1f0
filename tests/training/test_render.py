"""Boxes to learn from: where windows lie in their volumes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from bifseg.training.bank import volume
from bifseg.training.windows import draw, places


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
