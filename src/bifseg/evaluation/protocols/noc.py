"""Clicks on a 2D slice until the IoU is 0.90, at most 20; a box counts as two (Sofiiuk et al., RITM)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from bifseg.evaluation.clicks import next_click
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.metrics import iou
from bifseg.evaluation.protocols import BOX_CLICKS
from bifseg.evaluation.protocols.steps import Hand, Step, begun, clicked, refined, scribbles_first
from bifseg.evaluation.simulated_users import User
from bifseg.evaluation.targets import Target
from bifseg.prompts.interaction import InteractiveMethod

ENOUGH = 0.90  # IoU, the highest level of NoC


def noc(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """Clicks on the largest error of a slice until the IoU is 0.90 or ``count`` clicks are spent, a box being two."""
    hand = Hand(user, target, seed)
    boxed = not scribbles_first(method)
    step = begun(method, target, hand.box())
    if boxed:
        step = Step(
            0, step.mask, step.box, Effort(strokes=BOX_CLICKS, box=target.dimension), step.seconds, step.peak_mib
        )
    yield step
    axis, index = cast("tuple[int, int]", target.plane)  # the protocol is for slices
    truth = target.view.crop(target.truth)
    points: list[tuple[int, int]] = []
    for _ in range(count - (BOX_CLICKS if boxed else 0)):
        mask = target.view.crop(step.mask)
        click = next_click(mask, truth, points) if iou(mask, truth) < ENOUGH else None
        if click is None:
            step = step.again()
        else:
            point, label = click
            points.append(point)
            step = refined(method, step, clicked(((*point[:axis], index, *point[axis:]), label), target))
        yield step
