"""Many scores summed up: means with their spread, and two methods compared on what both have done.

A `Thing` is one object in one case. Its value is its mean over seeds; objects of one patient are one unit of the
bootstrap, because they belong together. Nothing here is NaN: what is not defined is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bifseg.errors import InvalidInput

RESAMPLES = 10_000
DIGITS = 9  # differences are rounded so: what is the same but for floats is the same


class Thing(NamedTuple):
    """One object: where it is from."""

    dataset: str
    patient: str
    case: str
    label: str


Scores = dict[Thing, dict[int, float]]  # an object's value by seed


@dataclass(frozen=True)
class Summary:
    """n values. ``sd``: with n - 1; 0 where n is 1. ``low``, ``high``: the lower and the upper quartile."""

    n: int
    mean: float
    sd: float
    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Averages:
    """The three ways to count: every object the same, every case the same, every (data set, label) the same."""

    objects: Summary
    cases: Summary  # of the means of each case's objects
    macro: float  # mean of the means of each (data set, label)


@dataclass(frozen=True)
class Comparison:
    """Paired differences, ours minus theirs, of objects (or cases) averaged over the seeds that both have."""

    n: int  # objects, or cases
    units: int  # patients
    unpaired: int  # objects that only one of the two has: they count nowhere
    difference: float  # mean
    low: float  # its 95 % interval, bootstrap over units
    high: float
    t_test: float | None  # p, two-sided; None for one difference, and where all are equal
    wilcoxon: float | None  # p, signed ranks, two-sided; None for one difference, and where all are 0
    worse: float  # share that lost more than a point
    by_seed: dict[int, float]  # mean difference on each seed


def scores(
    rows: Iterable[Mapping],
    *,
    step: int,
    method: str,
    network: str | None = None,
    user: str | None = None,
    metric: str = "dice",
    **only: object,
) -> Scores:
    """The values of one method after one step, by object and seed, from rows of results.

    ``network``, ``user``, and any other field of a row (``protocol``, ``dataset``, ``dimension``, ``seen``, ...): take
    rows with that value only; None takes all. ``metric``: the field wanted; rows where it is None are left out.
    Raises InvalidInput for two rows of one object and seed, which more fields would tell apart, and for NaN.
    """
    fields = {"step": step, "method": method, "network": network, "user": user, **only}
    fixed = {key: value for key, value in fields.items() if value is not None}
    scores: Scores = defaultdict(dict)
    for row in rows:
        if any(row[key] != value for key, value in fixed.items()) or row[metric] is None:
            continue
        thing, seed, value = Thing(*(row[key] for key in Thing._fields)), row["seed"], float(row[metric])
        if seed in scores[thing]:
            raise InvalidInput(f"There are two rows of {thing} with seed {seed}; say which: {fixed} fits both.")
        if not np.isfinite(value):
            raise InvalidInput(f"The {metric} of {thing} with seed {seed} is {value}; it must be a number.")
        scores[thing][seed] = value
    return dict(scores)


def by_thing(scores: Scores) -> dict[Thing, float]:
    """Every object's mean over its seeds."""
    return {thing: float(np.mean(list(by_seed.values()))) for thing, by_seed in scores.items()}


def summarise(values: Iterable[float]) -> Summary:
    """Mean, standard deviation, median and quartiles; InvalidInput where there are no values."""
    values = np.array(list(values), float)
    if not len(values):
        raise InvalidInput("There are no values to sum up; give one or more.")
    sd = values.std(ddof=1) if np.ptp(values) > 0 else 0.0
    low, median, high = np.percentile(values, (25, 50, 75))
    return Summary(len(values), float(values.mean()), float(sd), float(median), float(low), float(high))


def grouped(scores: Scores, by: Sequence[str] = ("dataset", "label")) -> dict[tuple[str, ...], Summary]:
    """Objects that agree in some of a `Thing`'s fields, summed up; sorted."""
    groups = defaultdict(list)
    for thing, value in by_thing(scores).items():
        groups[tuple(getattr(thing, field) for field in by)].append(value)
    return {key: summarise(groups[key]) for key in sorted(groups)}


def averages(scores: Scores) -> Averages:
    """The averages over objects, cases and (data set, label); InvalidInput where there are no scores."""
    cases = grouped(scores, ("dataset", "patient", "case")).values()
    objects = summarise(by_thing(scores).values())
    macro = float(np.mean([group.mean for group in grouped(scores).values()]))
    return Averages(objects, summarise(case.mean for case in cases), macro)


def compare(ours: Scores, theirs: Scores, *, point: float = 0.01, cases: bool = False) -> Comparison | None:
    """What ``ours`` gains over ``theirs``, on the objects and seeds that both have; None where there are none.

    ``point``: a difference worth counting, in the scores' own units; more is better. ``cases``: the objects of a case
    are averaged first, so that every case counts the same.
    """
    by_unit: dict[tuple, list[float]] = defaultdict(list)
    by_seed: dict[Any, list[float]] = defaultdict(list)
    paired = 0
    for thing in sorted(ours.keys() & theirs.keys()):
        if seeds := sorted(ours[thing].keys() & theirs[thing].keys()):
            differences = [ours[thing][seed] - theirs[thing][seed] for seed in seeds]
            by_unit[thing[:3] if cases else thing].append(float(np.mean(differences)))
            paired += 1
            for seed, difference in zip(seeds, differences, strict=True):
                by_seed[seed].append(difference)
    if not by_unit:
        return None
    gaps = np.round([np.mean(values) for values in by_unit.values()], DIGITS)
    units = [key[:2] for key in by_unit]
    low, high = bootstrap(gaps, units)
    return Comparison(
        n=len(gaps),
        units=len(set(units)),
        unpaired=len(ours.keys() | theirs.keys()) - paired,
        difference=float(gaps.mean()),
        low=low,
        high=high,
        t_test=float(stats.ttest_1samp(gaps, 0).pvalue) if np.ptp(gaps) > 0 else None,
        wilcoxon=float(stats.wilcoxon(gaps).pvalue) if len(gaps) > 1 and gaps.any() else None,
        worse=float((gaps < -point).mean()),
        by_seed={seed: float(np.mean(values)) for seed, values in sorted(by_seed.items())},
    )


def bootstrap(
    values: Sequence[float] | np.ndarray, units: Sequence[Hashable], *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95 % interval of the mean: whole units are drawn, so that what belongs together stays together.

    ``units``: which one each value belongs to; with a single one there is no spread to see, and both ends are the
    mean. The same seed gives the same interval. Raises InvalidInput for lists that are empty or not of one length.
    """
    if not len(values) or len(values) != len(units):
        raise InvalidInput(f"There are {len(values)} values and {len(units)} units; give one unit for each value.")
    number = {unit: k for k, unit in enumerate(dict.fromkeys(units))}
    of = [number[unit] for unit in units]
    sums, counts = np.bincount(of, values), np.bincount(of)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (resamples, len(sums)))
    low, high = np.percentile(sums[drawn].sum(1) / counts[drawn].sum(1), (2.5, 97.5))
    return float(low), float(high)
