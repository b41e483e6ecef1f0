"""Two stages: the proposal alone before there are strokes, then the mean of both; and what a session makes of them."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from bifseg import Image, Session
from bifseg.errors import InvalidInput
from bifseg.method.parameters import preset
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.networks.guidance import CHANNELS
from bifseg.networks.two_stage import TwoStage

STAGES = {
    2: (
        ("fcn", {"width": 8, "head": 16}),
        ("listening", {"dimension": 2, "widths": [8, 16, 16], "blocks": [1, 1], "context": 5}),
    ),
    3: (
        ("multiscale", {"dimension": 3, "widths": [8, 16, 24]}),
        ("multiscale", {"dimension": 3, "widths": [8, 16, 24], "context": 4}),
    ),
}
SHAPE = {2: (42, 38), 3: (24, 21, 22)}
SHARES = (0.25, 0.5)


def networks(dimension):
    torch.manual_seed(dimension)
    return [
        build(architecture, **settings).eval().requires_grad_(False) for architecture, settings in STAGES[dimension]
    ]


def two_stage(dimension, flips=False):
    stages = zip(STAGES[dimension], networks(dimension), strict=True)
    network = TwoStage.of(*stages, shares=SHARES).eval().requires_grad_(False)
    settings = {**dict(zip(("proposal", "refinement"), STAGES[dimension], strict=True)), "shares": SHARES}
    return Model("m", network, "two-stage", settings, 24, flips=flips)


def log_odds(network, x):
    logits = network(x)
    return logits[:, 1] - logits[:, 0]


def said(dimension, context, stroke):
    """What a two-stage network sees of a box, twice, and the part of it that is the box."""
    x = torch.randn(2, len(CHANNELS) + 1, *(n + 2 * context for n in SHAPE[dimension]))
    inside = tuple(slice(context, n + context) for n in SHAPE[dimension])
    x[:, 1:7] = 0
    x[(slice(None), 1, *inside)] = 1
    if stroke:
        x[:, 3, 10:12, 10:14] = 1
    return x, (slice(None), *inside)


@pytest.mark.parametrize("dimension", [2, 3])
def test_before_strokes_it_is_the_proposal_and_then_the_mean_by_the_shares(dimension):
    network, (_, refinement) = two_stage(dimension).network, networks(dimension)
    x, _ = said(dimension, network.context_cells, stroke=False)
    torch.testing.assert_close(log_odds(network, x), x[:, 7], rtol=1e-4, atol=1e-4)
    x, _ = said(dimension, network.context_cells, stroke=True)
    expected = SHARES[0] * x[:, 7] + SHARES[1] * log_odds(refinement, x[:, :7])
    torch.testing.assert_close(log_odds(network, x), expected, rtol=1e-4, atol=1e-4)


def test_a_file_keeps_both(tmp_path):
    model = two_stage(3)
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", 3)
    x, _ = said(3, 4, stroke=True)
    torch.testing.assert_close(again.network(x), model.network(x))
    assert (again.architecture, again.settings) == ("two-stage", json.loads(json.dumps(model.settings)))


@pytest.mark.parametrize(("dimension", "flips"), [(2, False), (2, True), (3, False)])
def test_a_session_begins_with_the_proposal_and_goes_on_with_both(dimension, flips):
    model = two_stage(dimension, flips)
    (architecture, settings), *_ = STAGES[dimension]
    first = dataclasses.replace(
        model, network=networks(dimension)[0], architecture=architecture, settings=settings, flips=flips
    )
    shape, box = {
        2: ((60, 50, 1), ((10, 40), (8, 38), 0)),
        3: ((40, 36, 30), ((8, 30), (6, 28), (5, 25))),
    }[dimension]
    image = Image(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    parameters = preset("fast", dimension).but(rounds=0, evidence=0.0)
    masks = []
    for one in (model, first):
        session = Session(image, model=one, parameters=parameters)
        masks.append(session.box(box))
    assert np.mean(masks[0] == masks[1]) > 0.999
    strokes = np.zeros(shape, np.uint8)
    z = 0 if dimension == 2 else 14
    strokes[18:21, 16, z], strokes[11, 9:12, z] = 1, 2
    session = Session(image, model=model, parameters=parameters)
    before = session.box(box).copy()
    after = session.scribble(strokes)
    assert after[18:21, 16, z].all()
    assert not after[11, 9:12, z].any()
    session.undo()
    np.testing.assert_array_equal(session.mask, before)


@pytest.mark.parametrize(
    "stages",
    [
        (STAGES[2][0], STAGES[3][1]),
        (STAGES[3][0], STAGES[3][0]),
        (STAGES[3][1], STAGES[3][1]),
        (("two-stage", {"proposal": STAGES[3][0], "refinement": STAGES[3][1]}), STAGES[3][1]),
    ],
)
def test_what_is_no_pair_is_refused(stages):
    with pytest.raises(InvalidInput, match="stage"):
        build("two-stage", proposal=stages[0], refinement=stages[1])
