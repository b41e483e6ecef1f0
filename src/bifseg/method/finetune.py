"""Image-specific fine-tuning (Wang et al. 2018, II-C and II-D): labels and classifier improve each other in turn.

Only the classifier changes. It sees each pixel as a feature vector, so a network update is logistic regression with
one hidden layer on a (pixels, C) matrix; the trunk's features are computed once for what the user has said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch

from bifseg.method.appearance import appearance_evidence
from bifseg.method.classifier import descend
from bifseg.method.crop import Crop, Features
from bifseg.method.energy import Energy, fixed_labels
from bifseg.method.evidence import log_odds_of, scribble_evidence, sum_of, with_evidence, with_persistence
from bifseg.method.parameters import Parameters
from bifseg.method.stack import beside_slices, share_of_slices
from bifseg.method.timing import Stopwatch
from bifseg.method.weight_map import scribble_distances, weight_map
from bifseg.networks.base import Classifier
from bifseg.networks.threads import one_thread
from bifseg.prompts.interaction import FOREGROUND

LOOKS = 2  # cuts that follow the first one, by the grey levels of the labels before; one where nothing is scribbled
SMALL = 1 << 17  # pixels of a grid, on which one thread is as fast as several


@dataclass(frozen=True, eq=False)
class Round:
    """One label update and, but for the last round, the network update that follows it; arrays are on the grid."""

    index: int
    last: bool
    energy: float  # of the labels under the probability they were cut from, Eq. 1
    labels: np.ndarray  # bool
    probability: np.ndarray  # float32, foreground, what the labels were cut from
    weights: np.ndarray | None = None  # w(i), Eq. 13; None in the last round
    loss: tuple[float, float] | None = None  # Eq. 12, weighted mean, before and after the network update
    milliseconds: dict[str, float] = field(default_factory=dict)


def foreground_probability(
    classifier: Classifier, features: Features, trained: Classifier | None = None, blend: float = 1.0
) -> np.ndarray:
    """P(y_i = 1) of every pixel.

    Parameters
    ----------
    classifier, features
        Of the object, and of its crop.
    trained
        The classifier as it came with the network.
    blend
        Below 1, the rest of the logit is the trained classifier's: a pull back that few scribbles cannot overcome.

    Returns
    -------
    ndarray
        float32, on the grid of the ``features``.
    """
    with one_thread() if math.prod(features.shape) <= SMALL else nullcontext():
        logit = features.log_odds(classifier)
        if trained is not None and blend < 1:
            logit = (blend * logit).add_(features.log_odds(trained), alpha=1 - blend)
        return logit.sigmoid().numpy().reshape(features.shape)


def fine_tune(
    crop: Crop,
    classifier: Classifier,
    parameters: Parameters,
    *,
    scribbles: np.ndarray,
    locked: np.ndarray | None = None,
    initial: np.ndarray | None = None,
    so_far: np.ndarray | None = None,
    beside: np.ndarray | None = None,
    shape: np.ndarray | None = None,
    trained: Classifier | None = None,
    seed: int = 0,
) -> Iterator[Round]:
    """Alternate label and network updates. The same seed gives the same result on one machine.

    Parameters
    ----------
    crop
        Of the object's box.
    classifier
        Changed in place.
    parameters
        ``rounds = 0`` is one label update alone, the paper's "+CRF".
    scribbles
        uint8 on the crop's grid: 1 foreground, 2 background, 0 none; all 0 is unsupervised fine-tuning.
    locked
        bool, pixels of finished objects: background here.
    initial
        bool, labels that replace the first label update, but for what is scribbled or locked.
    so_far
        bool, what was segmented before these scribbles, which a listening trunk sees; None where nothing was.
    beside
        uint8, what the slice beside this one says of it, as scribbles say it: evidence that binds and teaches nothing.
    shape
        float32 log-odds, where in a box objects of the task lie, see `bifseg.method.mean_shape`; teaches nothing.
    trained
        The classifier that ``parameters.blend`` holds on to.
    seed
        Of the pixels that are drawn to learn from.

    Yields
    ------
    Round
        Each as soon as it is computed; to stop iterating is to cancel.
    """
    clock = Stopwatch()
    with clock("graph"):
        energy = crop.energy(parameters)
    fixed = fixed_labels(scribbles, locked)
    rounds = parameters.rounds if initial is None else max(1, parameters.rounds)
    with clock("geodesic"):
        distances = None
        if rounds and parameters.weighted:  # one cut alone asks for no weights
            distances = scribble_distances(crop.seen01, scribbles, parameters.epsilon)
        seeds = scribbles if beside is None else np.where(scribbles > 0, scribbles, beside)
        around = scribble_evidence(crop.seen01, seeds, parameters.evidence, parameters.reach)
        nearer = crop.relative_distance.evidence(scribbles, parameters.nearness, parameters.handicap)
        evidence = sum_of((around, nearer, shape))
        if so_far is not None and scribbles.any():
            evidence = with_persistence(evidence, so_far, parameters.persistence)
    with clock("features"):
        features = crop.features(scribbles, so_far)
        slices = crop.slices if parameters.slices else None
        share = 0.0 if slices is None else share_of_slices(slices, scribbles, parameters.slices)
    with clock("classifier"):
        probability = foreground_probability(classifier, features, trained, parameters.blend)
    rnet = crop.rnet if parameters.rnet and scribbles.any() else None
    if rnet is not None:
        with clock("R-Net"):
            odds = features.log_odds(classifier if trained is None else trained).numpy().reshape(crop.shape)
    for index in range(rounds + 1):
        with clock("cut"):
            seen = probability if slices is None else beside_slices(probability, slices, share)
            belief = with_evidence(seen, evidence)
        if rnet is not None:
            with clock("R-Net"):
                said, held = (log_odds_of(with_evidence(one, around)) for one in (probability, seen))
                correction = rnet.correction(odds, said, held, scribbles, so_far)
                belief = with_evidence(belief, np.float32(parameters.rnet) * correction)
        with clock("cut"):
            if index == 0 and initial is not None:
                labels = np.where(fixed == 0, initial, fixed == FOREGROUND)
            else:
                labels, belief = _cut_by_looks(crop, energy, belief, fixed, scribbles, parameters)
        last = index == rounds
        weights = loss = None
        value = energy(labels, belief)
        if not last:
            with clock("weight map"):
                weights = _weights(crop, probability, labels, scribbles, distances, parameters)
            with clock("network update"), one_thread():
                loss = update_network(classifier, features.views, labels, weights, scribbles, parameters, (seed, index))
            with clock("classifier"):
                probability = foreground_probability(classifier, features, trained, parameters.blend)
        yield Round(index, last, value, labels, belief, weights, loss, dict(clock))
        clock.clear()


def label_update(
    crop: Crop,
    probability: np.ndarray,
    parameters: Parameters,
    *,
    scribbles: np.ndarray,
    locked: np.ndarray | None = None,
) -> Round:
    """One label update alone, of what labels were cut from before.

    Parameters
    ----------
    crop
        Of the object's box.
    probability
        float32, on the crop's grid: as the last round of `fine_tune` had it.
    parameters, scribbles, locked
        As there.

    Returns
    -------
    Round
        The only one; its labels are those of that round where all else is as it was.
    """
    clock = Stopwatch()
    with clock("graph"):
        energy = crop.energy(parameters)
    fixed = fixed_labels(scribbles, locked)
    with clock("cut"):
        labels = _cut(energy, probability, fixed, parameters)
    return Round(0, True, energy(labels, probability), labels, probability, milliseconds=dict(clock))


def _cut(energy: Energy, belief: np.ndarray, fixed: np.ndarray, parameters: Parameters) -> np.ndarray:
    labels = energy.label_update(belief, fixed)
    if parameters.never_empty and not labels[fixed == 0].any():
        labels = np.where(fixed == 0, belief > 0.5, fixed == FOREGROUND)
    return labels


def _cut_by_looks(
    crop: Crop, energy: Energy, seen: np.ndarray, fixed: np.ndarray, scribbles: np.ndarray, parameters: Parameters
) -> tuple[np.ndarray, np.ndarray]:
    """The labels of least energy, and what they were cut from: grey levels of labels have a say in the next ones."""
    belief, labels = seen, _cut(energy, seen, fixed, parameters)
    for _ in range(LOOKS if scribbles.any() else 1):
        looks = appearance_evidence(crop.image01, labels, scribbles, parameters.appearance)
        if looks is None:
            break
        belief = with_evidence(seen, looks)
        before, labels = labels, _cut(energy, belief, fixed, parameters)
        if np.array_equal(labels, before):  # the next ones would be the same
            break
    return labels, belief


def update_network(
    classifier: Classifier,
    views: Sequence[torch.Tensor],
    labels: np.ndarray,
    weights: np.ndarray,
    scribbles: np.ndarray,
    parameters: Parameters,
    seed: tuple[int, ...] = (0,),
) -> tuple[float, float]:
    """Minimise Eq. 12 over the classifier by gradient descent.

    The loss is the w-weighted mean over pixels, so that a learning rate means the same for boxes of any size.

    Parameters
    ----------
    classifier
        Changed in place.
    views
        Of the crop's `Features`; each pixel is learnt from one of them, drawn at random.
    labels
        bool, on the grid.
    weights
        w(i), float32, on the grid; pixels of weight 0 are left out.
    scribbles
        uint8, on the grid.
    parameters
        ``samples`` bounds how many pixels are used (see `_sample`).
    seed
        Of what is drawn.

    Returns
    -------
    tuple of float
        The loss before and after.
    """
    w = torch.from_numpy(weights.ravel().astype(np.float32))
    y = torch.from_numpy(labels.ravel().astype(np.float32))
    scribbled = torch.from_numpy(scribbles.ravel() > 0)
    _rebalance(w, y, scribbled, parameters)
    rows = _sample(w, y, scribbled, parameters.samples, seed)
    x, y, w = _seen(views, rows, seed), y[rows], w[rows] / w[rows].sum().clamp_min(1e-6)
    return descend(
        classifier, x, y, w, iterations=parameters.iterations, rate=parameters.rate, momentum=parameters.momentum
    )


def _weights(
    crop: Crop,
    probability: np.ndarray,
    labels: np.ndarray,
    scribbles: np.ndarray,
    distances: tuple[np.ndarray, np.ndarray] | None,
    parameters: Parameters,
) -> np.ndarray:
    if not parameters.weighted:
        return np.ones(labels.shape, np.float32)
    return weight_map(
        probability, labels, scribbles, crop.seen01,
        t0=parameters.t0, t1=parameters.t1, epsilon=parameters.epsilon, omega=parameters.omega,
        unsure=parameters.unsure, distances=distances,
    )  # fmt: skip


def _rebalance(w: torch.Tensor, y: torch.Tensor, scribbled: torch.Tensor, parameters: Parameters) -> None:
    """Scale weights in place: scribbles to their least share of the loss, then both classes to the same total."""
    own, others = w[scribbled].sum(), w[~scribbled].sum()
    if own > 0:
        w[scribbled] *= max(1.0, float(parameters.share / (1 - parameters.share) * others / own))
    if parameters.balanced:
        for of_class in (y == 0, y == 1):
            w[of_class] /= w[of_class].sum().clamp_min(1e-6)


def _seen(views: Sequence[torch.Tensor], rows: torch.Tensor, seed: tuple[int, ...]) -> torch.Tensor:
    """The features of some pixels, those of each in one of the views."""
    if len(views) == 1:
        return views[0][rows]
    drawn = torch.from_numpy(np.random.default_rng((*seed, 1)).integers(len(views), size=len(rows)))
    x = torch.empty(len(rows), views[0].shape[1])
    for k, view in enumerate(views):
        x[drawn == k] = view[rows[drawn == k]]
    return x


def _sample(w: torch.Tensor, y: torch.Tensor, always: torch.Tensor, count: int, seed: tuple[int, ...]) -> torch.Tensor:
    """Rows of pixels to learn from: all of ``always``, and ``count`` of the others, half of them of each class.

    Of every class one pixel is drawn from each of equally long stretches of the grid, in C order: its neighbours have
    nearly the same features. The weights of those drawn grow, in place, so that the loss stays unbiased.
    """
    usable = w > 0
    if not count:
        return torch.nonzero(usable).ravel()
    rng, kept = np.random.default_rng(seed), [torch.nonzero(usable & always).ravel()]
    usable &= ~always
    classes = [torch.nonzero(usable & (y == label)).ravel() for label in (0, 1)]
    for own, other in (classes, classes[::-1]):
        share = max(count // 2, count - len(other))
        if len(own) > share:
            stretches = (np.arange(share) + rng.random(share)) * (len(own) / share)
            drawn = own[torch.from_numpy(stretches.astype(np.int64))]
            w[drawn] *= len(own) / share
            own = drawn
        kept.append(own)
    return torch.cat(kept)
