"""How far strokes count on objects of a task: tried with simulated ones on examples that were left out.

What strokes say far away from them helps where the network is wrong, and takes thin walls away that it finds by now.
Which of the two holds for a kind of object, its finished ones tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from bifseg.method.crop import Crop
from bifseg.method.finetune import Round, fine_tune
from bifseg.method.parameters import Parameters
from bifseg.networks.base import BoxNetwork
from bifseg.networks.copies import copied
from bifseg.training.simulated_user import correct

AS_EVER = ""
REACHES: dict[int, dict[str, dict[str, float]]] = {
    2: {AS_EVER: {}},  # more and less evidence, and nearness, were worth less than `CLEAR`
    3: {AS_EVER: {}, "short": {"nearness": 0.0}, "shorter": {"nearness": 0.0, "reach": 0.0625}},
}
"""By dimension and name, the parameters that are tried; powers of two, for they are kept in single precision."""

CLEAR = 0.02  # of Dice that another reach has to gain: hands that train networks are not those of a user

ROUNDS, HANDS = 2, 2  # of strokes, and so many different series of them for each example


def after_strokes(
    crop: Crop,
    network: BoxNetwork,
    truth: np.ndarray,
    shape: np.ndarray | None,
    parameters: Parameters,
    reaches: Mapping[str, Mapping[str, float]],
    seed: int,
) -> dict[str, float]:
    """How good masks are once there are strokes.

    Parameters
    ----------
    crop, network
        An example as the network sees it, and the network.
    truth
        bool, its mask on the crop's grid.
    shape
        float32 log-odds, where it may lie; or None.
    parameters, reaches
        By name, what of them is tried, such as `REACHES` has it for each dimension.
    seed
        Of the strokes: the same hands draw for every reach.

    Returns
    -------
    dict
        By reach: the mean Dice after each round by each hand, 0 to 1.
    """
    update = partial(fine_tune, crop, shape=shape, trained=network.classifier)
    begun = copied(network.classifier)
    none = np.zeros(crop.shape, np.uint8)
    first = _last(update(begun, parameters if parameters.unsupervised else parameters.but(rounds=0), scribbles=none))
    found = {}
    for name, changes in reaches.items():
        settings, scores = parameters.but(**changes), []
        for hand in range(HANDS):
            rng, classifier = np.random.default_rng((seed, hand)), copied(begun)
            scribbles, labels = none, first
            for _ in range(ROUNDS):
                scribbles = correct(rng, scribbles, labels, truth)
                labels = _last(update(classifier, settings, scribbles=scribbles, so_far=labels))
                scores.append(dice(labels, truth))
        found[name] = float(np.mean(scores))
    return found


def best_reach(scores: Mapping[str, Sequence[float]]) -> str:
    """The reach to use.

    Parameters
    ----------
    scores
        By reach: `after_strokes` of some examples.

    Returns
    -------
    str
        As ever, unless another one is clearly better.
    """
    means = {reach: float(np.mean(own)) for reach, own in scores.items()}
    best = max(means, key=lambda reach: means[reach], default=AS_EVER)
    return best if best != AS_EVER and means[best] >= means[AS_EVER] + CLEAR else AS_EVER


def parameters_of(reach: str, dimension: int) -> Mapping[str, float]:
    """What a reach changes: parameters by name."""
    return REACHES[dimension][reach]


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Of two masks, bool, 0 to 1: that of `bifseg.evaluation.metrics`, which lies above, but 0 where both are empty."""
    return 2 * float((mask & truth).sum()) / max(1, int(mask.sum()) + int(truth.sum()))


def _last(rounds: Iterator[Round]) -> np.ndarray:
    *_, last = rounds
    return last.labels
