"""How far strokes count is tried on objects that were left out, with the same hands for all that is tried."""

from dataclasses import replace

import numpy as np
import pytest
from kinds_of_objects import BOX, core

from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.parameters import Parameters, preset
from bifseg.networks.checkpoint import load_model
from bifseg.tasks.example import Example
from bifseg.tasks.strokes import AS_EVER, REACHES, after_strokes, best_reach, parameters_of

MODEL = replace(load_model("default", 2), size=48)


def disc():
    """A bright one that the network finds but for its rim."""
    x, y = np.indices((48, 48))
    far = np.hypot(x - 24, y - 24)
    array = 100.0 * (far < 16) + np.random.default_rng(0).normal(0, 8, far.shape)
    return Example.of(Image(array.astype(np.float32)[..., None], (1, 1, 1)), (far < 14)[..., None], BOX, "patient")


def tried(reaches, seed=0, example=None):
    example = example or core(0)
    crop = Crop(example.image, example.box_in_image, MODEL)
    truth = crop.mask_on_grid(example.mask)
    return after_strokes(crop, MODEL.network, truth, None, preset("fast", 2), reaches, seed)


def test_the_same_hands_draw_for_every_reach():
    found = tried({AS_EVER: {}, "same": {}, "none": {"evidence": 0.0}})
    assert found["same"] == found[AS_EVER]
    assert found["none"] != found[AS_EVER]
    assert all(0 < score < 1 for score in found.values())
    assert tried({AS_EVER: {}}) == {AS_EVER: found[AS_EVER]}
    assert tried({AS_EVER: {}}, seed=1) != {AS_EVER: found[AS_EVER]}


def test_strokes_that_take_right_parts_along_score_less():
    found = tried({AS_EVER: {}, "all over": {"evidence": 20.0, "reach": 10.0}}, example=disc())
    assert found[AS_EVER] > 0.75
    assert found["all over"] < found[AS_EVER] - 0.1


def test_the_shipped_network_is_not_touched():
    before = [parameter.clone() for parameter in MODEL.network.parameters()]
    tried({AS_EVER: {}})
    assert all((one == other).all() for one, other in zip(before, MODEL.network.parameters(), strict=True))


@pytest.mark.parametrize(
    ("gains", "reach"),
    [
        ({"short": (0.02, 0.03, 0.01), "shorter": (0.05, 0.04, 0.06)}, "shorter"),
        ({"short": (0.1, 0.05, -0.05), "shorter": (0.02, -0.01, 0.02)}, "short"),
        ({"short": (0.02, 0.01, 0.015), "shorter": (0.0, -0.1, 0.0)}, AS_EVER),
    ],
)
def test_only_what_is_clearly_better_is_used(gains, reach):
    ever = (0.5, 0.6, 0.7)
    assert best_reach({AS_EVER: ever, **{name: np.add(ever, gain) for name, gain in gains.items()}}) == reach
    assert best_reach({}) == AS_EVER


def test_what_is_tried_are_parameters_that_single_precision_holds():
    for dimension, reaches in REACHES.items():
        assert parameters_of(AS_EVER, dimension) == {}
        for changes in reaches.values():
            Parameters().but(**changes)
            assert all(float(np.float32(value)) == value for value in changes.values())
