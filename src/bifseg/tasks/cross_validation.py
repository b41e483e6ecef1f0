"""What was learnt from some finished objects is tried on others: patients are left out in turn.

A network and a shape are made of all objects but those of the patients left out; the first masks of these are compared
with the shipped network's. The network tried lies between the shipped one and the fitted one (Wortsman et al., Robust
fine-tuning of zero-shot models, CVPR 2022), and the log-odds of the shape, see `bifseg.method.label_fusion`, count in
full or in part. Then strokes are drawn on the same objects, see `bifseg.tasks.strokes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from bifseg.method.crop import Crop
from bifseg.method.label_fusion import fused_shape
from bifseg.method.mean_shape import shape_on_grid
from bifseg.method.parameters import once_taught, preset
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import between, fitted
from bifseg.tasks.strokes import AS_EVER, REACHES, ROUNDS, after_strokes, best_reach, dice

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the way from the shipped network to the fitted one
SHAPES = {2: (0.0, 0.25, 0.5), 3: (0.0, 1.0)}
"""By dimension, what the log-odds of the shape are multiplied with. In 2D all of them are right less often than few
objects say. In 3D a part of them makes some first masks better than all of them, and masks after strokes worse."""
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
class _Fold:
    """Examples that are left out, by their numbers, and what the others teach: a network, and of each its shape."""

    left_out: Sequence[int]
    network: BoxNetwork
    shapes: Mapping[int, np.ndarray]


class CrossValidation:
    """Examples, as many groups of them as there are patients, four at most, and for each what the others teach."""

    def __init__(self, model: Model, examples: Sequence[Example], crops: Sequence[Crop], seed: int) -> None:
        self._model, self._examples, self._crops = model, examples, crops
        self._folds = [self._fold(left_out, seed) for left_out in _groups(examples)]

    def _fold(self, left_out: Sequence[int], seed: int) -> _Fold:
        examples, crops = self._examples, self._crops
        known = [k for k in range(len(examples)) if k not in left_out]
        network = fitted(self._model, [examples[k] for k in known], [crops[k] for k in known], seed)
        looks = [examples[k].look for k in known]
        return _Fold(left_out, network, {k: fused_shape(examples[k].look.image, looks) for k in left_out})

    def first_masks(self) -> Proof:
        """How good they are, for all shares."""
        shapes = SHAPES[self._model.dimension]
        scores = {shares: [0.0] * len(self._examples) for shares in product(STRENGTHS, shapes)}
        for fold in self._folds:
            networks = {strength: self._at(fold, strength) for strength in STRENGTHS}
            for k in fold.left_out:
                crop = self._crops[k]
                here = shape_on_grid(fold.shapes[k], crop.axes, crop.shape)
                for strength, network in networks.items():
                    log_odds = _log_odds(crop, self._model, network)
                    for share in shapes:
                        mask = crop.mask_in_box(log_odds + np.float32(share) * here > 0)  # without a cut
                        scores[strength, share][k] = dice(mask, self._examples[k].mask)
        shipped = scores.pop((0.0, 0.0))
        return Proof(tuple(shipped), {shares: tuple(own) for shares, own in scores.items()})

    def drawn_on(self, proof: Proof) -> Proof:
        """With what strokes say of shapes and reaches, and of whether the shipped network is better in the end.

        First masks and those after each round weigh the same. Shapes that make first masks worse than the shipped
        network's are not tried.
        """
        model = self._model
        after = self._after_strokes((0.0, 0.0), model.tuned, {AS_EVER: {}})
        best, most = replace(proof, shares=(0.0, 0.0)), _score(proof.shipped, after[AS_EVER])
        strength, _ = proof.surest
        taught = once_taught(model.tuned, model.dimension)
        for shares in ((strength, share) for share in SHAPES[model.dimension]):
            if shares in proof.learnt and proof.gains(shares).mean() > 0:
                after = self._after_strokes(shares, taught, REACHES[model.dimension])
                tried = replace(proof, drawn_on=after, shares=shares)
                score = _score(proof.learnt[shares], after[tried.reach])
                best, most = (tried, score) if score > most else (best, most)
        return best

    def _after_strokes(
        self, shares: Shares, tuned: Mapping[str, float], reaches: Mapping[str, Mapping[str, float]]
    ) -> dict[str, tuple[float, ...]]:
        """By reach, of each example in the order of the folds; ``tuned``: values that precede the preset's."""
        strength, share = shares
        parameters, rows = preset("fast", self._model.dimension, tuned), []
        for fold, k in [(one, k) for one in self._folds for k in one.left_out][:TRIED]:
            network = self._at(fold, strength)
            crop = self._crops[k].seen_by(network)
            shape = np.float32(share) * shape_on_grid(fold.shapes[k], crop.axes, crop.shape) if share else None
            truth = crop.mask_on_grid(self._examples[k].mask)
            rows.append(after_strokes(crop, network, truth, shape, parameters, reaches, k))
        return {reach: tuple(row[reach] for row in rows) for reach in reaches}

    def _at(self, fold: _Fold, strength: float) -> BoxNetwork:
        """A network so far on the way from the shipped one to the one that was fitted."""
        return between(self._model.network, fold.network, strength) if strength else self._model.network


def _groups(examples: Sequence[Example]) -> Iterator[list[int]]:
    patients = list(dict.fromkeys(example.patient for example in examples))
    count = min(FOLDS, len(patients))
    for group in (patients[k::count] for k in range(count)):
        yield [k for k, example in enumerate(examples) if example.patient in group]


def _score(first: Sequence[float], after: Sequence[float]) -> float:
    return (float(np.mean(first)) + ROUNDS * float(np.mean(after))) / (1 + ROUNDS)


def _log_odds(crop: Crop, model: Model, network: BoxNetwork) -> np.ndarray:
    """On the grid of a crop, by another network than the model's; in a stack, with what its slices say."""
    odds = crop.seen_by(network).features().log_odds(network.classifier).numpy().reshape(crop.shape)
    share = np.float32(model.tuned.get("slices", 0.0))
    return (1 - share) * odds + share * crop.slices if share and crop.slices is not None else odds
