"""R-Net alone: it begins as if it were not there, and looks everywhere alike."""

import numpy as np
import pytest
import torch

from bifseg.networks.rnet import CHANNELS, SUREST, RNet, bounded

SETTINGS = {
    2: {"dimension": 2, "features": 6, "widths": [8, 12, 16], "blocks": [1, 0]},
    3: {"dimension": 3, "features": 6, "widths": [8, 12, 16], "blocks": [0, 1], "finest": 2},
}
SHAPES = {2: (21, 34), 3: (11, 16, 7)}


def made(dimension, *, learnt):
    torch.manual_seed(dimension)
    network = RNet(**SETTINGS[dimension]).eval()
    if learnt:
        torch.nn.init.normal_(network.answer[-1].weight)
    return network


def inputs(dimension, count=2):
    rng = torch.Generator().manual_seed(0)
    shape = SHAPES[dimension]
    said = torch.rand(count, len(CHANNELS), *shape, generator=rng)
    return said, torch.randn(count, 6, *shape, generator=rng)


@pytest.mark.parametrize("dimension", [2, 3])
def test_before_it_has_learnt_it_repeats_what_the_classifier_says(dimension):
    network = made(dimension, learnt=False)
    said, features = inputs(dimension)
    odds = network(said, network.context(features))
    assert torch.equal(odds, SUREST * said[:, CHANNELS.index("belief")])


@pytest.mark.parametrize("dimension", [2, 3])
@torch.no_grad()
def test_at_some_points_it_says_what_it_says_everywhere(dimension):
    network = made(dimension, learnt=True)
    said, features = inputs(dimension)
    context = network.context(features)
    everywhere = network(said, context)
    assert everywhere.shape == (2, *SHAPES[dimension])
    assert everywhere.isfinite().all()
    points = tuple(slice(1, n, 2) for n in SHAPES[dimension])
    some = slice(None), *points
    torch.testing.assert_close(network(said, context, points), everywhere[some], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dimension", [2, 3])
@torch.no_grad()
def test_every_channel_that_it_sees_counts_also_far_away(dimension):
    network = made(dimension, learnt=True)
    said, features = inputs(dimension, count=1)
    before = network(said, network.context(features))
    corner = (slice(None), *(slice(0, 3),) * dimension)
    for channel in range(len(CHANNELS)):
        other = said.clone()
        other[0, channel][corner[1:]] += 1
        assert abs(network(other, network.context(features)) - before).flatten()[-1] > 1e-6
    features[0][corner] += 1
    assert abs(network(said, network.context(features)) - before).flatten()[-1] > 1e-6


def test_no_belief_is_too_sure_to_be_corrected():
    assert bounded(np.array([-1e9, 0.0, 3.0])).tolist() == [-1, 0, 0.5]
    assert bounded(torch.tensor([1e9])).tolist() == [1]
