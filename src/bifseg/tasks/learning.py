"""What the finished objects of a task teach: a network fitted to them, and their mean shape.

How much of each is used is decided by leaving patients out: both are made of the others, and the first masks of those
left out are compared with the shipped network's. The network that is used lies between the shipped one and the
fitted one (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022), and the log-odds of the shape count in
full or in part, as was best there; where nothing was better than the shipped network by more than chance, it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.crop import Crop
from bifseg.method.mean_shape import mean_shape, shape_on_grid
from bifseg.method.parameters import once_taught
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import between, fitted

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of the way from the shipped network to the fitted one
SHAPES = (0.0, 0.25, 0.5, 1.0)  # what the log-odds of the mean shape are multiplied with
LEAST = 3  # patients: with fewer nobody can tell luck from skill
FOLDS = 4  # at most so many groups of patients are left out in turn
ERRORS = 0.25  # standard errors by which a gain has to exceed nothing


Shares = tuple[float, float]  # of `STRENGTHS` and of `SHAPES`


@dataclass(frozen=True)
class Proof:
    """Dice of the first masks of examples whose patients were left out, 0 to 1, in the order of the examples.

    ``shipped``: by the network as it was. ``learnt``: for each strength of the network and the shape.
    """

    shipped: tuple[float, ...]
    learnt: Mapping[Shares, tuple[float, ...]]

    def gains(self, shares: Shares) -> np.ndarray:
        """Of each example."""
        return np.subtract(self.learnt[shares], self.shipped)

    @property
    def best(self) -> Shares:
        """Those with the largest gain that is surely one; 0 each where none is."""
        best, most = (0.0, 0.0), 0.0
        for shares in self.learnt:
            gains = self.gains(shares)
            low = gains.mean() - ERRORS * gains.std(ddof=1) / np.sqrt(len(gains))
            if low > most:
                best, most = shares, float(low)
        return best


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
        """How much the mean shape counts, 0 to 1."""
        return 0.0 if self.proof is None else self.proof.best[1]


def learn(model: Model, examples: Sequence[Example], seed: int = 0) -> Learnt:
    """Fit a model to examples of its dimension: the same examples in the same order give the same weights."""
    if any(example.dimension != model.dimension for example in examples):
        raise InvalidInput(f"The model {model.name} is for {model.dimension}D boxes, and so must be all examples.")
    patients = list(dict.fromkeys(example.patient for example in examples))
    if len(patients) < LEAST:
        return Learnt(None, None)
    crops = [Crop(example.image, example.whole, model) for example in examples]
    proof = _proof(model, examples, crops, patients, seed)
    strength, share = proof.best
    if not strength and not share:
        return Learnt(None, proof)
    network = between(model.network, fitted(model, examples, crops, seed), strength) if strength else model.network
    shape = np.float32(share) * _shape(examples, crops) if share else None
    tuned = once_taught(model.tuned, model.dimension)
    return Learnt(replace(model, network=network, sha256="", tuned=tuned, shape=shape), proof)


def _proof(model: Model, examples: Sequence[Example], crops: Sequence[Crop], patients: list[str], seed: int) -> Proof:
    count = min(FOLDS, len(patients))
    fold = {patient: k % count for k, patient in enumerate(patients)}
    scores = {shares: [0.0] * len(examples) for shares in product(STRENGTHS, SHAPES)}
    for left_out in range(count):
        known = [k for k, example in enumerate(examples) if fold[example.patient] != left_out]
        others = [examples[k] for k in known], [crops[k] for k in known]
        learnt, shape = fitted(model, *others, seed), _shape(*others)
        networks = {share: between(model.network, learnt, share) if share else model.network for share in STRENGTHS}
        for k, (example, crop) in enumerate(zip(examples, crops, strict=True)):
            if fold[example.patient] != left_out:
                continue
            here = shape_on_grid(shape, crop.axes, crop.shape)
            for strength, network in networks.items():
                log_odds = _log_odds(crop, example, model, network)
                for share in SHAPES:
                    scores[strength, share][k] = _dice(crop, log_odds + np.float32(share) * here, example)
    shipped = scores.pop((0.0, 0.0))
    return Proof(tuple(shipped), {shares: tuple(own) for shares, own in scores.items()})


def _shape(examples: Sequence[Example], crops: Sequence[Crop]) -> np.ndarray:
    """The mean of all examples, each of which counts as one."""
    masks = [example.mask.reshape(crop.native_shape) for example, crop in zip(examples, crops, strict=True)]
    return mean_shape(masks, [crop.axes for crop in crops])


def _log_odds(crop: Crop, example: Example, model: Model, network: BoxNetwork) -> np.ndarray:
    """On the grid of a crop, by another network than the model's; in a stack, with what its slices say."""
    seen = crop
    if network is not model.network:
        seen = Crop(example.image, example.whole, replace(model, network=network, sha256=""))
    odds = seen.features().log_odds(network.classifier).numpy().reshape(crop.shape)
    share = np.float32(model.tuned.get("slices", 0.0))
    return (1 - share) * odds + share * crop.slices if share and crop.slices is not None else odds


def _dice(crop: Crop, log_odds: np.ndarray, example: Example) -> float:
    """Of a mask without a cut, in the box."""
    mask = crop.mask_in_box(log_odds > 0)
    return 2 * float((mask & example.mask).sum()) / max(1, int(mask.sum()) + int(example.mask.sum()))
