"""When a user would accept: the first mask with a Dice of 0.90; one that never comes is accepted at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bifseg.evaluation.report.groups import Column, Group, Trace
from bifseg.evaluation.statistics import Thing

LEVEL = 0.90


class Reach(NamedTuple):
    """The user's seconds to the level; where it is never reached, all that was spent, and ``there`` is False."""

    seconds: float
    there: bool
    dice: float  # when the user accepts


Times = dict[tuple[Thing, int], Reach]  # by object and seed


def reach(trace: Trace, level: float = LEVEL) -> Reach:
    """The user's seconds until the Dice is at ``level`` for the first time, and whether that ever is."""
    dice, seconds = trace.values("dice"), np.cumsum(trace.values("user_seconds"))
    there = np.flatnonzero(dice >= level)
    at = there[0] if len(there) else len(dice) - 1
    return Reach(float(seconds[at]), bool(len(there)), float(dice[at]))


def times(traces: Iterable[Trace]) -> Times:
    return {(trace.thing, trace.seed): reach(trace) for trace in traces}


def median(reaches: Iterable[Reach]) -> float | None:
    """The median time to the level; None where half of the runs or more never get there, or where there are none."""
    seconds = [one.seconds if one.there else np.inf for one in reaches]
    middle = float(np.median(seconds)) if seconds else np.inf
    return middle if np.isfinite(middle) else None


def reached(reaches: Iterable[Reach]) -> float:
    return float(np.mean([one.there for one in reaches]))


def times_of(group: Group, column: Column, datasets: Iterable[str], label: str | None = None) -> Times:
    """Of a column's runs on some data sets, or on one label there."""
    names = set(datasets)
    return times(
        t for t in group.traces.get(column, ()) if t.thing.dataset in names and label in (None, t.thing.label)
    )  # fmt: skip
