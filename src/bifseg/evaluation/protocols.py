"""How a user and a method work together, step by step: the field's protocols, each a generator of steps.

- ``rounds``: a box, then rounds of corrective scribbles; as in the paper, the refinements of one network get the same
  scribbles in the first round, drawn on the network's own mask.
- ``challenge``: the CVPR 2025 interactive challenge: a 3D box by its rule, then five clicks by its rule.
- ``noc``: clicks on a 2D slice until the IoU is 0.90, at most 20; a box counts as two (Sofiiuk et al., RITM).

A method that begins with scribbles is shown no box: in ``rounds`` its user draws the first scribbles instead, in the
others its work begins with the first click. Every run of a protocol has the same number of steps: of a user who is
content the last mask counts on, and costs nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation import challenge as rules
from bifseg.evaluation.clicks import next_click
from bifseg.evaluation.cost import measured
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.humans import drawing_of, human_labels, scribble_files
from bifseg.evaluation.metrics import iou
from bifseg.evaluation.targets import Target
from bifseg.evaluation.users import HUMAN, Drawing, User, longest_extent, simulated_box
from bifseg.prompts.interaction import Box, InteractiveMethod

CLICKS = {"challenge": rules.CLICKS, "noc": 20}
ENOUGH = 0.90  # IoU, the highest level of NoC
BOX_CLICKS = 2  # its two corners


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


def rounds(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """The start, then ``count`` rounds of scribbles by a user; the same seed draws the same box and strokes."""
    hand = _Hand(user, target, seed)
    step = _begun(method, target, hand.box(), hand.opening)
    yield step
    where = target.view if _scribbles_first(method) else step.box
    for index in range(1, count + 1):
        seen = getattr(method, "initial", step.mask) if index == 1 else step.mask
        drawing = hand.correct(index, seen, where)
        step = _refined(method, step, drawing) if drawing else step.again()
        yield step


def challenge(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """The CVPR 2025 challenge on one object: box, five clicks, their rules and seeds (another ``seed``, another box).

    All classes of a scan are clicked at once there; here each is a run of its own, which comes to the same for methods
    that segment one object at a time. The box is that of the object's middle slice, so a click may lie outside it: then
    the method begins again with a box that reaches as far as the click and a tenth of its side beyond, and with all
    clicks so far.
    """
    box = rules.challenge_box(target.truth, rules.box_numbers(seed))
    step = _begun(method, target, box)
    yield step
    clicks = np.zeros(target.truth.shape, np.uint8)
    for _ in range(count):
        if found := rules.challenge_click(step.mask, target.truth):
            drawing = _clicked(found, target)
            clicks = np.where(drawing.labels > 0, drawing.labels, clicks)
            wider = _reaching(step.box, found[0], clicks.shape)
            step = _refined(method, step, drawing) if wider == step.box else _again(method, target, wider, step, clicks)
        else:
            step = step.again()
        yield step


def noc(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """Clicks on the largest error of a slice until the IoU is 0.90 or ``count`` clicks are spent, a box being two."""
    hand = _Hand(user, target, seed)
    scribbles_first = _scribbles_first(method)
    step = _begun(method, target, hand.box())
    if not scribbles_first:
        step = Step(
            0, step.mask, step.box, Effort(strokes=BOX_CLICKS, box=target.dimension), step.seconds, step.peak_mib
        )
    yield step
    axis, index = target.plane
    truth = target.view.crop(target.truth)
    clicked: list[tuple[int, int]] = []
    for _ in range(count - (0 if scribbles_first else BOX_CLICKS)):
        mask = target.view.crop(step.mask)
        found = next_click(mask, truth, clicked) if iou(mask, truth) < ENOUGH else None
        if found:
            point, label = found
            clicked.append(point)
            found = (*point[:axis], index, *point[axis:]), label
        step = _refined(method, step, _clicked(found, target)) if found else step.again()
        yield step


PROTOCOLS = {"rounds": rounds, "challenge": challenge, "noc": noc}


@dataclass(frozen=True)
class _Hand:
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


def _scribbles_first(method: InteractiveMethod) -> bool:
    return getattr(method, "begins_with", "box") == "scribbles"


def _begun(method: InteractiveMethod, target: Target, box: Box, opening=None) -> Step:
    """The start: by the box; or, for a method that begins with scribbles, by the first of them, if there are any."""
    if not _scribbles_first(method):
        mask, seconds, peak = measured(lambda: method.start(target.image, box))
        return Step(0, mask, box, Effort(box=target.dimension), seconds, peak)
    drawing = opening() if opening else None

    def begin() -> np.ndarray:
        mask = method.start(target.image, target.view)
        return method.refine(drawing.labels) if drawing else mask

    mask, seconds, peak = measured(begin)
    return Step(0, mask, target.view, drawing.effort if drawing else Effort(), seconds, peak)


def _refined(method: InteractiveMethod, step: Step, drawing: Drawing) -> Step:
    mask, seconds, peak = measured(lambda: method.refine(drawing.labels))
    return Step(step.index + 1, mask, step.box, drawing.effort, seconds, peak)


def _reaching(box: Box, point: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The box itself where a point lies in it; else one that holds the point, and a tenth of its side beyond it."""
    ranges = []
    for a, b, p, n in zip(box.start, box.stop, point, shape, strict=True):
        beyond = -(-(b - a) // 10)
        ranges.append((a if p >= a else max(0, p - beyond), b if p < b else min(n, p + 1 + beyond)))
    return Box.of(ranges, shape)


def _again(method: InteractiveMethod, target: Target, box: Box, step: Step, scribbles: np.ndarray) -> Step:
    def begin() -> np.ndarray:
        method.start(target.image, box)
        return method.refine(scribbles)

    mask, seconds, peak = measured(begin)
    return Step(step.index + 1, mask, box, Effort(strokes=1, planes=1), seconds, peak)


def _clicked(found: tuple[tuple[int, ...], int], target: Target) -> Drawing:
    point, label = found
    labels = np.zeros(target.truth.shape, np.uint8)
    labels[point] = label
    return Drawing(labels, Effort(strokes=1, planes=1))
