"""The loop of box and scribbles on one labelled object, with a simulated user, scored after every step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.simulated_users import simulated_scribbles
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.finetune import Round
from bifseg.method.parameters import Parameters
from bifseg.networks.checkpoint import Model
from bifseg.prompts.interaction import Box
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Segment


@dataclass(frozen=True, eq=False)
class TuningTarget:
    """One labelled object and the box around it.

    ``truth``: bool (x, y, z), the image's shape. ``group``: data set and class; every group counts the same, however
    many objects it has. Raises InvalidInput for a truth of another shape or type, a box outside the image, and a box
    in which nothing of the object lies or the image is constant.
    """

    image: Image
    truth: np.ndarray
    box: Box
    group: str

    def __post_init__(self) -> None:
        if self.truth.shape != self.image.shape or self.truth.dtype != bool:
            raise InvalidInput(
                f"The truth is {self.truth.dtype} of shape {self.truth.shape}; it must be bool of the image's shape "
                f"{self.image.shape}."
            )
        where = Box.of(self.box, self.image.shape).slices
        if not self.truth[where].any():
            raise InvalidInput(f"The box {self.box} holds no voxel of the object; draw it around the truth.")
        if self.image.array[where].min() == self.image.array[where].max():
            raise InvalidInput(f"The image is constant inside the box {self.box}; there is nothing to segment.")

    def boxed(self) -> TuningTarget:
        """The same target with the scan cut down to the box, which is all that a search looks at."""
        image = replace(self.image, array=self.image.array[self.box.slices].copy())
        return TuningTarget(image, self.truth[self.box.slices].copy(), Box((0, 0, 0), self.box.shape), self.group)


@dataclass(frozen=True)
class Scores:
    """Dice of one object, 0 to 1, within its box: as a user works, step by step."""

    network: float  # the network alone
    cut: float  # one cut
    unsupervised: float | None  # fine-tuned without scribbles; None where the parameters do not ask for it
    rounds: tuple[float, ...]  # after each round of scribbles

    @property
    def steps(self) -> tuple[float, ...]:
        """What the user gets to see: after the box, and after each round of scribbles."""
        return (self.cut if self.unsupervised is None else self.unsupervised, *self.rounds)


def evaluate(
    model: Model, crop: Crop, target: TuningTarget, parameters: Parameters, *, rounds: int = 2, seed: int = 0
) -> Scores:
    """Let a simulated user work on one object: the masks are those of a `Session` with these parameters.

    ``crop``: of the target's image and box. ``rounds``: of scribbles, each drawn on the mask of the round before.
    """
    truth = target.truth[target.box.slices]
    whole, free = Box((0, 0, 0), truth.shape), np.zeros(truth.shape, bool)

    def then(segment: Segment, refine: str) -> tuple[Segment, float]:
        segment = _result(adapt(segment, crop, model, refine=refine, locked=free, seed=seed))
        return segment, dice(segment.mask, truth)

    begun = begin("target", crop, model, parameters)
    _, network = then(begun, "none")
    current, cut = then(begun, "crf")
    unsupervised, scores = None, []
    if parameters.unsupervised:
        current, unsupervised = then(begun, "auto")
    for _ in range(rounds):
        new = simulated_scribbles(current.mask, truth, whole)
        current, score = then(replace(current, scribbles=np.where(new > 0, new, current.scribbles)), "auto")
        scores.append(score)
    return Scores(network, cut, unsupervised, tuple(scores))


def _result(rounds: Generator[Round, None, Segment]) -> Segment:
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            return end.value
