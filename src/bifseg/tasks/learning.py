"""What the finished objects of a task teach: a network fitted to them, and where in its box such an object lies.

How much of each is used is decided by leaving patients out: both are made of the others, and the first masks of those
left out are compared with the shipped network's. The network that is used lies between the shipped one and the
fitted one (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022), and the log-odds of the shape, see
`bifseg.method.label_fusion`, count in full or in part, as was best there; where nothing was better than the shipped
network by more than chance, it stays. Then strokes are drawn on the same objects, see `bifseg.tasks.strokes`: they have
a say in how much the shape counts and in whether the shipped network is better in the end, and choose how far they
count themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.crop import Crop
from bifseg.method.label_fusion import Look, fused_shape
from bifseg.method.mean_shape import shape_on_grid
from bifseg.method.parameters import once_taught, preset
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import between, fitted
from bifseg.tasks.strokes import AS_EVER, REACHES, ROUNDS, after_strokes, best_reach, dice, parameters_of

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the way from the shipped network to the fitted one
SHAPES = {2: (0.0, 0.25, 0.5), 3: (0.0, 1.0)}
"""By dimension, what the log-odds of the shape are multiplied with. In 2D all of them are right less often than few
objects say. In 3D a part of them makes some first masks better than all of them, and masks after strokes worse."""
LEAST = 3  # patients: with fewer nobody can tell luck from skill
FOLDS = 4  # at most so many groups of patients are left out in turn
ERRORS = 0.25  # standard errors by which a gain has to exceed nothing
TRIED = 8  # examples that strokes are tried on, at most: what bounds the time

Shares = tuple[float, float]  # of `STRENGTHS` and of `SHAPES`


@dataclass(frozen=True)
class Proof:
    """Dice of the first masks of examples whose patients were left out, 0 to 1, in the order of the examples.

    ``shipped``: by the network as it was. ``learnt``: for each strength of the network and the shape. ``drawn_on``: of
    some of them, after rounds of strokes, for each reach of `bifseg.tasks.strokes`. ``shares``: what was best once
    strokes had been tried, too; None where they were not.
    """

    shipped: tuple[float, ...]
    learnt: Mapping[Shares, tuple[float, ...]]
    drawn_on: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    shares: Shares | None = None

    def gains(self, shares: Shares) -> np.ndarray:
        """Of each example."""
        return np.subtract(self.learnt[shares], self.shipped)

    @property
    def best(self) -> Shares:
        """What is used, 0 each for the shipped network alone: what strokes said, else `surest`."""
        return self.surest if self.shares is None else self.shares

    @property
    def surest(self) -> Shares:
        """Those with the largest gain of first masks that is surely one; 0 each where none is."""
        best, most = (0.0, 0.0), 0.0
        for shares in self.learnt:
            gains = self.gains(shares)
            low = gains.mean() - ERRORS * gains.std(ddof=1) / np.sqrt(len(gains))
            if low > most:
                best, most = shares, float(low)
        return best

    @property
    def reach(self) -> str:
        """Of strokes, see `bifseg.tasks.strokes`."""
        return best_reach(self.drawn_on)


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came of it. ``model``: None where the shipped network stays. ``proof``: None with too few patients."""

    model: Model | None
    proof: Proof | None

    @property
    def strength(self) -> float:
        """How far the network is from the shipped one, 0 to 1."""
        return 0.0 if self.proof is None else self.proof.best[0]

    @property
    def shape(self) -> float:
        """How much the shape counts, 0 to 1: of each box its own, so that the model has none."""
        return 0.0 if self.proof is None else self.proof.best[1]

    @property
    def reach(self) -> str:
        """How far strokes count, see `bifseg.tasks.strokes`."""
        return AS_EVER if self.proof is None else self.proof.reach


def learn(model: Model, examples: Sequence[Example], seed: int = 0) -> Learnt:
    """Fit a model to examples of its dimension: the same examples in the same order give the same weights."""
    if any(example.dimension != model.dimension for example in examples):
        raise InvalidInput(f"The model {model.name} is for {model.dimension}D boxes, and so must be all examples.")
    patients = list(dict.fromkeys(example.patient for example in examples))
    if len(patients) < LEAST:
        return Learnt(None, None)
    crops = [Crop(example.image, example.whole, model) for example in examples]
    looks = [example.look for example in examples]
    folds = [_fold(model, examples, crops, looks, own, seed) for own in _groups(examples, patients)]
    proof = _proof(model, examples, crops, folds)
    if proof.best != (0.0, 0.0):
        proof = _drawn_on(model, examples, crops, folds, proof)
    strength, share = proof.best
    if not strength and not share:
        return Learnt(None, proof)
    network = between(model.network, fitted(model, examples, crops, seed), strength) if strength else model.network
    tuned = {**once_taught(model.tuned, model.dimension), **parameters_of(proof.reach, model.dimension)}
    return Learnt(replace(model, network=network, sha256="", tuned=tuned), proof)


@dataclass(frozen=True, eq=False)
class _Fold:
    """Examples that are left out, by their numbers, and what the others teach: a network, and of each its shape."""

    left_out: Sequence[int]
    network: BoxNetwork
    shapes: Mapping[int, np.ndarray]


def _groups(examples: Sequence[Example], patients: Sequence[str]) -> Iterator[list[int]]:
    count = min(FOLDS, len(patients))
    for group in (patients[k::count] for k in range(count)):
        yield [k for k, example in enumerate(examples) if example.patient in group]


def _fold(
    model: Model,
    examples: Sequence[Example],
    crops: Sequence[Crop],
    looks: Sequence[Look],
    left_out: Sequence[int],
    seed: int,
) -> _Fold:
    known = [k for k in range(len(examples)) if k not in left_out]
    network = fitted(model, [examples[k] for k in known], [crops[k] for k in known], seed)
    shapes = {k: fused_shape(looks[k].image, [looks[other] for other in known]) for k in left_out}
    return _Fold(left_out, network, shapes)


def _proof(model: Model, examples: Sequence[Example], crops: Sequence[Crop], folds: Sequence[_Fold]) -> Proof:
    scores = {shares: [0.0] * len(examples) for shares in product(STRENGTHS, SHAPES[model.dimension])}
    for fold in folds:
        networks = {share: _at(model, fold.network, share) for share in STRENGTHS}
        for k in fold.left_out:
            example, crop = examples[k], crops[k]
            here = shape_on_grid(fold.shapes[k], crop.axes, crop.shape)
            for strength, network in networks.items():
                log_odds = _log_odds(crop, model, network)
                for share in SHAPES[model.dimension]:
                    mask = crop.mask_in_box(log_odds + np.float32(share) * here > 0)  # without a cut
                    scores[strength, share][k] = dice(mask, example.mask)
    shipped = scores.pop((0.0, 0.0))
    return Proof(tuple(shipped), {shares: tuple(own) for shares, own in scores.items()})


def _drawn_on(
    model: Model, examples: Sequence[Example], crops: Sequence[Crop], folds: Sequence[_Fold], proof: Proof
) -> Proof:
    """The proof with what strokes say of shapes and reaches, and of whether the shipped network is better in the end.

    First masks and those after each round weigh the same. Shapes that make first masks worse than the shipped network's
    are not tried.
    """
    after = _after_strokes(model, examples, crops, folds, (0.0, 0.0), {AS_EVER: {}})
    best, most = replace(proof, shares=(0.0, 0.0)), _score(proof.shipped, after[AS_EVER])
    strength, _ = proof.surest
    taught = replace(model, tuned=once_taught(model.tuned, model.dimension))
    for shares in ((strength, share) for share in SHAPES[model.dimension]):
        if shares in proof.learnt and proof.gains(shares).mean() > 0:
            after = _after_strokes(taught, examples, crops, folds, shares, REACHES[model.dimension])
            tried = replace(proof, drawn_on=after, shares=shares)
            score = _score(proof.learnt[shares], after[tried.reach])
            best, most = (tried, score) if score > most else (best, most)
    return best


def _score(first: Sequence[float], after: Sequence[float]) -> float:
    return (float(np.mean(first)) + ROUNDS * float(np.mean(after))) / (1 + ROUNDS)


def _after_strokes(
    model: Model,
    examples: Sequence[Example],
    crops: Sequence[Crop],
    folds: Sequence[_Fold],
    shares: Shares,
    reaches: Mapping[str, Mapping[str, float]],
) -> dict[str, tuple[float, ...]]:
    """By reach, of each example in the order of the folds; ``model``: with its parameters."""
    strength, share = shares
    parameters, rows = preset("fast", model.dimension, model.tuned), []
    for fold, k in [(one, k) for one in folds for k in one.left_out][:TRIED]:
        network = _at(model, fold.network, strength)
        crop = crops[k].seen_by(network)
        shape = np.float32(share) * shape_on_grid(fold.shapes[k], crop.axes, crop.shape) if share else None
        truth = crop.mask_on_grid(examples[k].mask)
        rows.append(after_strokes(crop, network, truth, shape, parameters, reaches, k))
    return {reach: tuple(row[reach] for row in rows) for reach in reaches}


def _at(model: Model, learnt: BoxNetwork, strength: float) -> BoxNetwork:
    """A network so far on the way from the model's to the one that was fitted."""
    return between(model.network, learnt, strength) if strength else model.network


def _log_odds(crop: Crop, model: Model, network: BoxNetwork) -> np.ndarray:
    """On the grid of a crop, by another network than the model's; in a stack, with what its slices say."""
    odds = crop.seen_by(network).features().log_odds(network.classifier).numpy().reshape(crop.shape)
    share = np.float32(model.tuned.get("slices", 0.0))
    return (1 - share) * odds + share * crop.slices if share and crop.slices is not None else odds
