"""Two stages: each answers as it would alone, in its turn; and they come apart as they were put together."""

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
from bifseg.networks.two_stage import TwoStage, normalised

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


def networks(dimension):
    torch.manual_seed(dimension)
    return [
        build(architecture, **settings).eval().requires_grad_(False) for architecture, settings in STAGES[dimension]
    ]


def two_stage(dimension):
    return TwoStage.of(*zip(STAGES[dimension], networks(dimension), strict=True)).eval().requires_grad_(False)


def said(dimension, context, stroke):
    x = torch.zeros(2, len(CHANNELS), *(n + 2 * context for n in SHAPE[dimension]))
    x[:, 0] = torch.randn(x.shape[2:], generator=torch.Generator().manual_seed(1))
    inside = tuple(slice(context, n + context) for n in SHAPE[dimension])
    x[(slice(None), 1, *inside)] = 1
    if stroke:
        x[:, 3, 10:12, 10:14] = 1
    return x, (slice(None), slice(None), *inside)


@pytest.mark.parametrize("dimension", [2, 3])
def test_each_stage_answers_in_its_turn_as_it_does_alone(dimension):
    both, (proposal, refinement) = two_stage(dimension), networks(dimension)
    x, inside = said(dimension, both.context_cells, stroke=False)
    alone = proposal(normalised(x[inside][:, :1]))
    torch.testing.assert_close(both(x)[inside], alone, rtol=1e-4, atol=1e-4)
    x, inside = said(dimension, both.context_cells, stroke=True)
    torch.testing.assert_close(both(x)[inside], refinement(x)[inside], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(refinement(x)[inside], alone, atol=0.01)


@pytest.mark.parametrize("dimension", [2, 3])
def test_stages_come_apart_as_they_were(dimension):
    both = two_stage(dimension)
    for index, network in enumerate(networks(dimension)):
        apart = both.stage(index).state_dict()
        assert apart.keys() == network.state_dict().keys()
        for name, tensor in network.state_dict().items():
            assert torch.equal(apart[name], tensor), name


def test_a_file_keeps_both(tmp_path):
    settings = dict(zip(("proposal", "refinement"), STAGES[3], strict=True))
    save_model(Model("m", two_stage(3), "two-stage", settings, 24), tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors", 3)
    x, _ = said(3, 4, stroke=True)
    torch.testing.assert_close(again.network(x), two_stage(3)(x))
    assert (again.architecture, again.settings) == ("two-stage", json.loads(json.dumps(settings)))


def test_a_session_begins_with_the_first_stage_and_goes_on_with_the_second():
    settings = dict(zip(("proposal", "refinement"), STAGES[3], strict=True))
    model = Model("m", two_stage(3), "two-stage", settings, 24)
    first = dataclasses.replace(model, network=networks(3)[0], architecture="multiscale", settings=STAGES[3][0][1])
    image = Image(np.random.default_rng(0).normal(size=(40, 36, 30)).astype(np.float32))
    box = ((8, 30), (6, 28), (5, 25))
    parameters = preset("fast", 3).but(rounds=0, evidence=0.0)
    masks = []
    for one in (model, first):
        session = Session(image, model=one, parameters=parameters)
        session.box(box)
        masks.append(session.mask.copy())
    assert np.mean(masks[0] == masks[1]) > 0.999  # both see the box's image alone
    strokes = np.zeros(image.shape, np.uint8)
    strokes[18:21, 16, 14], strokes[10, 8:12, 8] = 1, 2
    session = Session(image, model=model, parameters=parameters)
    session.box(box)
    before = session.mask.copy()
    session.scribble(strokes)
    after = session.mask.copy()
    assert after[18:21, 16, 14].all()
    assert not after[10, 8:12, 8].any()
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
