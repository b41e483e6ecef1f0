from dataclasses import FrozenInstanceError

import pytest

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
                  {"neighbours": 7}, {"lam": float("inf")}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Parameters(**wrong)
    with pytest.raises(ValueError, match="Unknown parameter sigmoid; known are balanced"):
        Parameters().but(sigmoid=1)
