"""Macro means and how sure they are: structures count the same, data sets and patients are drawn anew.

The unit of a mean is a structure, a class of a data set: the mean over its patients of the mean over a patient's
objects. What is numbered only because a scan shows several of it, vertebral bodies and discs, is one class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.statistics import RESAMPLES, Thing

ALIKE = re.compile(r"(vertebral_body|disc)_\d+")
Values = Mapping[Thing, float]  # of every object, a mean over its seeds


@dataclass(frozen=True)
class Estimate:
    """A macro mean, its 95 % interval, and what it stands on."""

    mean: float
    low: float
    high: float
    sets: int
    structures: int
    patients: int
    objects: int


def told(one: Estimate) -> list[float | None]:
    """Mean, lower and upper end as JSON; the ends None of one patient, of whom no spread can be seen."""
    alone = one.patients == 1
    return [round(one.mean, 5), None if alone else round(one.low, 5), None if alone else round(one.high, 5)]


def class_of(thing: Thing) -> str:
    """The class of an object: its label, without the number of one among several alike."""
    match = ALIKE.fullmatch(thing.label)
    return match[1] if match else thing.label


def by_structure(values: Values) -> dict[tuple[str, str], dict[str, float]]:
    """(Data set, class) -> patient -> mean over the patient's objects."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for thing, value in values.items():
        found[thing.dataset, class_of(thing)][thing.patient].append(value)
    return {
        key: {patient: float(np.mean(own)) for patient, own in sorted(patients.items())}
        for key, patients in sorted(found.items())
    }


def macro(values: Values) -> float:
    """The mean over structures; InvalidInput where there are no objects."""
    if not values:
        raise InvalidInput("There are no objects to average; give one or more.")
    return float(np.mean([np.mean(list(patients.values())) for patients in by_structure(values).values()]))


def estimate(values: Values, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """The macro mean with its 95 % interval, a bootstrap on two levels.

    Every resample draws as many data sets as there are, with replacement, and within each of those its patients. A data
    set of one patient varies only by being drawn or not; with one of one, both ends are the mean. With fewer than some
    ten data sets such an interval is too narrow rather than too wide. The same seed gives the same interval. Raises
    InvalidInput where there are no objects.
    """
    mean = macro(values)
    tables = _tables(values)
    random = np.random.default_rng(seed)
    sums, counts = np.zeros(resamples), np.zeros(resamples)
    for _ in tables:
        chosen = random.integers(0, len(tables), resamples)
        for number, table in enumerate(tables):
            where = np.flatnonzero(chosen == number)
            means = _resampled(table, len(where), random)
            sums[where] += np.nansum(means, axis=1)
            counts[where] += np.count_nonzero(~np.isnan(means), axis=1)
    low, high = np.percentile(sums / counts, (2.5, 97.5))
    return Estimate(
        mean, float(low), float(high), len(tables), len(by_structure(values)),
        len({thing[:2] for thing in values}), len(values),
    )  # fmt: skip


def paired(ours: Values, theirs: Values, *, seed: int = 0, resamples: int = RESAMPLES) -> Estimate:
    """Ours less theirs on the objects that both have, see `estimate`; InvalidInput where there are none."""
    both = sorted(ours.keys() & theirs.keys())
    return estimate({thing: ours[thing] - theirs[thing] for thing in both}, seed=seed, resamples=resamples)


def _tables(values: Values) -> list[np.ndarray]:
    """Of every data set the values (patients, classes); NaN where a patient has no object of a class."""
    sets: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (dataset, name), patients in by_structure(values).items():
        sets[dataset][name] = patients
    tables = []
    for classes in sets.values():
        patients = sorted({patient for own in classes.values() for patient in own})
        tables.append(np.array([[own.get(patient, np.nan) for own in classes.values()] for patient in patients]))
    return tables


def _resampled(table: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Means of classes (count, classes) over patients drawn with replacement; NaN where none of the drawn has one."""
    people = len(table)
    times = random.multinomial(people, np.full(people, 1 / people), count)
    there = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return (times @ np.where(there, table, 0)) / (times @ there.astype(int))
