"""What the finished objects of a task teach: a network fitted to them, and where in its box such an object lies.

How much of each is used is decided by `bifseg.tasks.cross_validation`; where nothing was better than the shipped
network by more than chance, or it is better in the end, it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bifseg.errors import InvalidInput
from bifseg.method.crop import Crop
from bifseg.method.parameters import once_taught
from bifseg.networks.checkpoint import Model
from bifseg.tasks.cross_validation import CrossValidation, Proof
from bifseg.tasks.example import Example
from bifseg.tasks.fitting import between, fitted
from bifseg.tasks.strokes import AS_EVER, parameters_of

LEAST = 3  # patients: with fewer nobody can tell luck from skill


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
    if len({example.patient for example in examples}) < LEAST:
        return Learnt(None, None)
    crops = [Crop(example.image, example.box_in_image, model) for example in examples]
    validation = CrossValidation(model, examples, crops, seed)
    proof = validation.first_masks()
    if any(proof.best):
        proof = validation.drawn_on(proof)
    if not any(proof.best):
        return Learnt(None, proof)
    strength, _ = proof.best
    network = between(model.network, fitted(model, examples, crops, seed), strength) if strength else model.network
    tuned = {**once_taught(model.tuned, model.dimension), **parameters_of(proof.reach, model.dimension)}
    return Learnt(replace(model, network=network, sha256="", tuned=tuned), proof)
