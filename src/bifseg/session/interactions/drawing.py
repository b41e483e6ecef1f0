"""What draws an object: a box, scribbles, another box, and more fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.parameters import check_refinement
from bifseg.method.timing import Stopwatch
from bifseg.prompts.interaction import AXES, Box, Labels, overlap
from bifseg.prompts.scribbles import merge, only_label
from bifseg.session.interactions.base import (
    Arrays,
    Interaction,
    Rounds,
    check_free,
    current,
    first_free,
    scribbles_of,
    text_of,
)
from bifseg.session.state import Prior, State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.session.workbench import Workbench


@dataclass(frozen=True, eq=False)
class DrawBox(Interaction):
    """Begin an object: see `Session.box`."""

    kind = "box"
    ranges: Box | Sequence | None
    name: str | None = None
    _: KW_ONLY
    refine: str = "auto"
    initial: Labels | None = None
    scribbles: Labels | None = None
    prior: Prior | None = None

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> DrawBox:
        initial = request.get("initial")
        box = None if request.get("box") is None else Box.parse(text_of(request, "box"), shape)
        return cls(
            box, request.get("name"), refine=request.get("refine", "auto"),
            initial=None if initial is None else arrays(initial), scribbles=scribbles_of(request, arrays),
            prior=_prior_of(request),
        )  # fmt: skip

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.scribbles, None if self.ranges is None else Box.of(self.ranges, shape)

    def apply(self, state: State, bench: Workbench) -> Rounds:
        box = bench.first_box(self.scribbles) if self.ranges is None else Box.of(self.ranges, bench.image.shape)
        name = self.name or first_free((f"object {k}" for k in count(len(state.names) + 1)), state)
        check_free(name, state)
        initial = None
        if self.initial is not None:
            initial = only_label(bench.patch(self.initial).inside(box))
            if not initial.any():
                raise InvalidInput(f"The initial mask is empty inside the box {box}.")
        opened = bench.settings(box).opened() if self.ranges is None and self.prior is None else None
        return bench.begun(
            state, box, name, self.refine, initial=initial, scribbles=self.scribbles, prior=self.prior,
            parameters=opened,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scribble(Interaction):
    """Correct the current object: see `Session.scribble`."""

    kind = "scribble"
    labels: Labels | None = None
    _: KW_ONLY
    foreground: np.ndarray | None = None
    background: np.ndarray | None = None
    refine: str = "auto"

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Scribble:
        return cls(scribbles_of(request, arrays), refine=request.get("refine", "auto"))

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.labels, current(state).box

    def apply(self, state: State, bench: Workbench) -> Rounds:
        segment, labels = current(state), self.labels
        if labels is None:
            masks = self.foreground, self.background
            labels = merge(*(None if mask is None else bench.shaped(mask) for mask in masks))
        elif self.foreground is not None or self.background is not None:
            raise InvalidInput("Scribbles are given as labels and as masks; give one of the two.")
        corrected = bench.scribbled(segment, labels, state)
        if not ((segment.scribbles > 0) & (corrected.scribbles == 0)).any():
            return bench.refined(state, corrected, self.refine)
        # The classifier has learnt from what is no longer said: the object begins again as it began.
        check_refinement(self.refine)
        bench.model_of(segment)
        clock = Stopwatch()
        fresh = bench.fresh(
            segment.box, segment.name, clock, parameters=segment.parameters, part_of=segment.part_of,
            start=segment.start, prior=segment.prior,
        )  # fmt: skip
        again = replace(fresh, scribbles=corrected.scribbles, packed=segment.packed, given=segment.given)
        return bench.refined(state, again, self.refine, clock=clock)


@dataclass(frozen=True, eq=False)
class Resize(Interaction):
    """Give the current object another box: see `Session.resize`."""

    kind = "resize"
    ranges: Box | Sequence
    _: KW_ONLY
    scribbles: Labels | None = None
    refine: str = "auto"
    prior: Prior | None = None

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Resize:
        return cls(
            Box.parse(text_of(request, "box"), shape), scribbles=scribbles_of(request, arrays),
            refine=request.get("refine", "auto"), prior=_prior_of(request),
        )  # fmt: skip

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.scribbles, Box.of(self.ranges, shape)

    def apply(self, state: State, bench: Workbench) -> Rounds:
        old, box = current(state), Box.of(self.ranges, bench.image.shape)
        plane = _plane(old.box)
        if old.part_of and plane is not None and _plane(box) != plane:
            axis, index = plane
            raise InvalidInput(
                f"{old.name!r} is {old.part_of!r} in the plane {index} along {AXES[axis]}; give it a box in that plane."
            )
        here, there = overlap(box, old.box)
        kept, initial = np.zeros(box.shape, np.uint8), None
        kept[here] = old.scribbles[there]
        if old.given:
            initial = np.zeros(box.shape, bool)
            initial[here] = old.mask[there]
        network = bench.model_for(box).sha256
        start, prior = (old.start, old.prior) if old.model.sha256 == network else (None, None)
        asked = self.prior
        if asked is not None and old.prior is not None and (asked.task, asked.base) == (old.prior.task, network):
            start, prior = start if asked.version == old.prior.version else None, asked
        return bench.begun(
            state, box, old.name, self.refine, initial=initial, scribbles=self.scribbles, kept=kept,
            parameters=bench.parameters_for(box, old),
            part_of=old.part_of, start=start, prior=prior,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Refine(Interaction):
    """Go on fine-tuning the current object with the scribbles it has."""

    kind = "refine"

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Refine:
        return cls()

    def apply(self, state: State, bench: Workbench) -> Rounds:
        return bench.refined(state, current(state), "auto")


def _prior_of(request: Mapping) -> Prior | None:
    prior = request.get("prior")
    if prior is not None and not isinstance(prior, Prior):  # whoever keeps sessions puts it in its place
        raise InvalidInput("What a task learnt cannot be given in JSON; name the task.")
    return prior


def _plane(box: Box) -> tuple[int, int] | None:
    """Along which axis a box is a plane, and which one."""
    return None if box.plane is None else (box.plane, box.start[box.plane])
