"""What protocols are made of: a step, a user at work on an object, and a method that begins and refines."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.cost import measured
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.humans import drawing_of, human_labels, scribble_files
from bifseg.evaluation.simulated_users import HUMAN, Drawing, User, longest_extent, simulated_box
from bifseg.evaluation.targets import Target
from bifseg.prompts.interaction import Box, InteractiveMethod


@dataclass(frozen=True, eq=False)
class Step:
    """What there is after one step, and what the step cost. ``mask``: bool (x, y, z)."""

    index: int
    mask: np.ndarray
    box: Box
    effort: Effort
    seconds: float = 0.0
    peak_mib: float | None = None

    def again(self) -> Step:
        """The next step of a user who has nothing to correct."""
        return Step(self.index + 1, self.mask, self.box, Effort(), 0.0, 0.0)


@dataclass(frozen=True)
class Hand:
    """A user at work on one object."""

    user: User
    target: Target
    seed: int

    def box(self) -> Box:
        return simulated_box(self.target.truth, self._rng("box"), self.user.margin, self.target.plane)

    def opening(self) -> Drawing:
        if self._human:
            return self._drawn(self.target.view)
        target = self.target
        return self.user.opening(target.truth, target.view, self._rng("opening"), target.image.spacing)

    def correct(self, index: int, mask: np.ndarray, where: Box) -> Drawing:
        """Round ``index``. A person's scribbles were drawn once, on no mask: they come in the first round alone."""
        target = self.target
        if self._human:
            first = index == 1 and where != target.view
            return self._drawn(where) if first else Drawing(np.zeros(target.truth.shape, np.uint8), Effort())
        return self.user.correct(mask, target.truth, where, self._rng(f"round {index}"), target.image.spacing)

    @property
    def _human(self) -> bool:
        return self.user.name.partition(":")[0] == HUMAN

    def _drawn(self, where: Box) -> Drawing:
        """What one of the people who scribbled on this case drew; another seed is another person."""
        target, files = self.target, scribble_files(self.target.case)
        if not files:
            raise InvalidInput(f"Nobody scribbled on {target.case.name}: there is no file for it in scribblesTr/.")
        labels = human_labels(files[self.seed % len(files)], target.image, target.values)
        inside = np.zeros_like(labels)
        inside[target.view.slices] = labels[target.view.slices]
        longest = longest_extent(target.truth, target.image.spacing)
        return drawing_of(inside, where, target.image.spacing, longest)

    def _rng(self, purpose: str) -> np.random.Generator:
        who = f"{self.target.case.dataset} {self.target.case.name} {self.target.label} {purpose}"
        return np.random.default_rng((zlib.crc32(who.encode()), self.seed))


def scribbles_first(method: InteractiveMethod) -> bool:
    return getattr(method, "begins_with", "box") == "scribbles"


def begun(method: InteractiveMethod, target: Target, box: Box, opening: Callable[[], Drawing] | None = None) -> Step:
    """The start: by the box; or, for a method that begins with scribbles, by the first of them, if there are any."""
    if not scribbles_first(method):
        mask, seconds, peak = measured(lambda: method.start(target.image, box))
        return Step(0, mask, box, Effort(box=target.dimension), seconds, peak)
    drawing = opening() if opening else None

    def begin() -> np.ndarray:
        mask = method.start(target.image, target.view)
        return method.refine(drawing.labels) if drawing else mask

    mask, seconds, peak = measured(begin)
    return Step(0, mask, target.view, drawing.effort if drawing else Effort(), seconds, peak)


def refined(method: InteractiveMethod, step: Step, drawing: Drawing) -> Step:
    mask, seconds, peak = measured(lambda: method.refine(drawing.labels))
    return Step(step.index + 1, mask, step.box, drawing.effort, seconds, peak)


def clicked(click: tuple[tuple[int, ...], int], target: Target) -> Drawing:
    point, label = click
    labels = np.zeros(target.truth.shape, np.uint8)
    labels[point] = label
    return Drawing(labels, Effort(strokes=1, planes=1))
