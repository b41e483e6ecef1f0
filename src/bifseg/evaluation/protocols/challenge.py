"""The CVPR 2025 interactive challenge: a 3D box by its rule, then five clicks by its rule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bifseg.evaluation import challenge as rules
from bifseg.evaluation.cost import measured
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.protocols.steps import Step, begun, clicked, refined
from bifseg.evaluation.simulated_users import User
from bifseg.evaluation.targets import Target
from bifseg.prompts.interaction import Box, InteractiveMethod


def challenge(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """The CVPR 2025 challenge on one object: box, five clicks, their rules and seeds (another ``seed``, another box).

    All classes of a scan are clicked at once there; here each is a run of its own, which comes to the same for methods
    that segment one object at a time. The box is that of the object's middle slice, so a click may lie outside it: then
    the method begins again with a box that reaches as far as the click and a tenth of its side beyond, and with all
    clicks so far.
    """
    box = rules.challenge_box(target.truth, rules.box_numbers(seed))
    step = begun(method, target, box)
    yield step
    clicks = np.zeros(target.truth.shape, np.uint8)
    for _ in range(count):
        if found := rules.challenge_click(step.mask, target.truth):
            drawing = clicked(found, target)
            clicks = np.where(drawing.labels > 0, drawing.labels, clicks)
            wider = _reaching(step.box, found[0], clicks.shape)
            step = refined(method, step, drawing) if wider == step.box else _again(method, target, wider, step, clicks)
        else:
            step = step.again()
        yield step


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
