import re
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from bifseg import Session
from bifseg.errors import InvalidInput
from bifseg.method.parameters import PRESETS, Parameters, preset


def test_paper_is_the_printed_schedule():
    flat, volume = preset("paper", 2), preset("paper", 3)
    assert (flat.lam, flat.sigma, flat.t0, flat.t1, flat.epsilon, flat.omega) == (3.0, 0.1, 0.2, 0.7, 0.2, 5.0)
    assert (volume.lam, volume.sigma, volume.t0, volume.t1, volume.epsilon, volume.omega) == (
        10.0,
        0.1,
        0.2,
        0.6,
        0.2,
        5,
    )
    for parameters in (flat, volume):
        assert (parameters.rounds, parameters.iterations, parameters.rate) == (4, 20, 1e-2)
        ours = (parameters.unsure, parameters.balanced, parameters.share, parameters.never_empty, parameters.samples)
        assert not any(ours)
        assert parameters.weighted
        assert parameters.unsupervised


def test_tuned_values_reach_fast_and_never_paper():
    assert preset("fast", 2, {"lam": 7.0}).lam == 7.0
    assert preset("paper", 2, {"lam": 7.0}) == PRESETS["paper"][2]


def test_parameters_are_frozen_and_checked():
    with pytest.raises(FrozenInstanceError):
        Parameters().lam = 1
    for wrong in ({"lam": -1}, {"sigma": 0}, {"rounds": -1}, {"share": 1.0}, {"t0": 0.9}, {"rate": float("nan")},
                  {"connectivity": 4}, {"lam": float("inf")}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Parameters(**wrong)
    with pytest.raises(ValueError, match="Unknown parameter sigmoid; known are appearance"):
        Parameters().but(sigmoid=1)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"lam": "3"}, "lam is '3'; it must be a number."),
        ({"rounds": 1.5}, "rounds is 1.5; it must be a whole number."),
        ({"weighted": "no"}, "weighted is 'no'; it must be 0 or 1."),
        ({"balanced": 2}, "balanced is 2; it must be 0 or 1."),
    ],
)
def test_a_value_of_another_kind_is_refused(values, sentence):
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Parameters(**values)
    with pytest.raises(InvalidInput, match=re.escape(sentence)):
        Session(np.eye(8), parameters={"preset": "fast", **values})


def test_numbers_of_numpy_are_numbers():
    assert Parameters(lam=np.float32(2), rounds=np.int64(3), weighted=np.True_).but(fill_holes=0).rounds == 3


def test_the_defaults_suit_both_dimensions():
    scan = np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)
    scan[3:9, 3:9, 3:9] += 2
    for box in (((2, 10), (2, 10), 6), ((2, 10), (2, 10), (2, 10))):
        assert Session(scan, parameters=Parameters().but(rounds=1)).box(box).shape == scan.shape


@pytest.mark.parametrize(("neighbours", "connectivity"), [(4, 1), (8, 3), (6, 1), (18, 2), (26, 3)])
def test_parameters_that_counted_neighbours_are_still_read(neighbours, connectivity):
    old = {name: value for name, value in Parameters().as_dict().items() if name != "connectivity"}
    assert Parameters.stored(old | {"neighbours": neighbours}) == Parameters(connectivity=connectivity)
