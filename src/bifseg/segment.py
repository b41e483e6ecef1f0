"""One object of a session as it stands, and how refining it makes the next."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from bifseg.checkpoint import Model
from bifseg.crop import Crop
from bifseg.finetune import Round, copy_of, fine_tune, foreground_probability
from bifseg.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.parameters import Parameters
from bifseg.stopwatch import Stopwatch


@dataclass(frozen=True, eq=False)
class Segment:
    """One object: immutable. Arrays have the box's shape, three axes; those named "grid" lie on the crop's grid."""

    name: str
    box: Box
    model: Model
    parameters: Parameters
    classifier: nn.Module  # adapted to this object; never changed once it is stored here
    scribbles: np.ndarray  # uint8: 1 foreground, 2 background
    packed: np.ndarray  # the mask, 8 voxels a byte
    grid_probability: np.ndarray
    grid_weights: np.ndarray | None = None
    rounds: tuple[dict, ...] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def begin(cls, name: str, crop: Crop, model: Model, parameters: Parameters) -> Segment:
        """An object of which only the box is known: no mask yet."""
        classifier = model.network.classifier
        return cls(
            name, crop.box, model, parameters, classifier,
            scribbles=np.zeros(crop.box.shape, np.uint8),
            packed=np.zeros(0, np.uint8),
            grid_probability=foreground_probability(classifier, crop),
        )  # fmt: skip

    @property
    def mask(self) -> np.ndarray:
        """bool, the box's shape."""
        count = int(np.prod(self.box.shape))
        return np.unpackbits(self.packed, count=count).view(bool).reshape(self.box.shape)

    def report(self) -> dict:
        """What was done and what it cost, ready for JSON."""
        return {
            "name": self.name,
            "box": str(self.box),
            "voxels": int(np.count_nonzero(self.mask)),
            "model": {"name": self.model.name, "sha256": self.model.sha256},
            "parameters": self.parameters.as_dict(),
            "milliseconds": {stage: round(ms, 2) for stage, ms in self.milliseconds.items()},
            "rounds": list(self.rounds),
        }


def adapt(
    segment: Segment,
    crop: Crop,
    *,
    refine: str,
    locked: np.ndarray,
    initial: np.ndarray | None = None,
    seed: int = 0,
    clock: Stopwatch | None = None,
) -> Generator[Round, None, Segment]:
    """Fit a segment to its scribbles: yields the rounds, returns the new segment; the old one is untouched.

    ``refine``: as in `Session.box`; ``none`` keeps the mask there is, if any, but for the scribbles. ``locked``:
    bool, voxels of other objects. ``initial``: bool, a mask to start from. Both have the box's shape. Whatever the
    rounds say, the returned mask has the scribbled label on every scribbled voxel and no locked voxel.
    """
    clock = Stopwatch() if clock is None else clock
    classifier, records, weights = copy_of(segment.classifier), [], segment.grid_weights
    probability = segment.grid_probability
    if refine != "none":
        fit = refine == "auto" and (segment.scribbles.any() or segment.parameters.unsupervised)
        for step in fine_tune(
            crop, classifier, segment.parameters if fit else segment.parameters.but(rounds=0),
            scribbles=crop.scribbles_on_grid(segment.scribbles),
            locked=crop.mask_on_grid(locked) if locked.any() else None,
            initial=None if initial is None else crop.mask_on_grid(initial),
            trained=segment.model.network.classifier, seed=seed,
        ):  # fmt: skip
            clock.add(step.milliseconds)
            records.append(_record(step))
            labels, probability = step.labels, step.probability
            weights = weights if step.weights is None else step.weights
            yield step
    with clock("paste"):
        if refine != "none":
            inside = crop.mask_in_box(labels)
        elif initial is not None:
            inside = initial
        else:
            inside = segment.mask if segment.packed.size else crop.mask_in_box(probability >= 0.5)
        mask = np.where(locked, False, inside)
        mask[segment.scribbles == FOREGROUND] = True
        mask[segment.scribbles == BACKGROUND] = False
    return replace(
        segment, classifier=classifier, packed=np.packbits(mask), grid_probability=probability,
        grid_weights=weights, rounds=tuple(records), milliseconds=dict(clock),
    )  # fmt: skip


def _record(step: Round) -> dict:
    record = {"round": step.index, "energy": round(step.energy, 3), "foreground": int(step.labels.sum())}
    if step.loss is not None:
        record["loss_before"], record["loss_after"] = (round(value, 5) for value in step.loss)
    return record
