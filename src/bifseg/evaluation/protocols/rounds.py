"""A box, then rounds of corrective scribbles."""

from __future__ import annotations

from collections.abc import Iterator

from bifseg.evaluation.protocols.steps import Hand, Step, begun, refined, scribbles_first
from bifseg.evaluation.simulated_users import User
from bifseg.evaluation.targets import Target
from bifseg.prompts.interaction import InteractiveMethod


def rounds(method: InteractiveMethod, target: Target, user: User, seed: int, count: int) -> Iterator[Step]:
    """The start, then ``count`` rounds of scribbles by a user; the same seed draws the same box and strokes."""
    hand = Hand(user, target, seed)
    step = begun(method, target, hand.box(), hand.opening)
    yield step
    where = target.view if scribbles_first(method) else step.box
    for index in range(1, count + 1):
        seen = getattr(method, "initial", step.mask) if index == 1 else step.mask
        drawing = hand.correct(index, seen, where)
        step = refined(method, step, drawing) if drawing else step.again()
        yield step
