"""A sample of the objects in labelled data sets, spread over classes and patients, some of the patients held back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bifseg.errors import BifsegError, InvalidInput
from bifseg.evaluation.loop import TuningTarget
from bifseg.evaluation.simulated_users import simulated_box
from bifseg.imaging.image import Image
from bifseg.io.datasets import Case, Dataset
from bifseg.training.instances import MARGIN, Instance, cut, hold_back

SLICES = 8  # in 2D: so many per class and case, evenly spread, are cut out to pick from
Patient = list[tuple[Dataset, Case]]


@dataclass
class Sample:
    """Objects to tune on, those of other patients to confirm on, and a sentence for each case that was left out."""

    tune: list[TuningTarget] = field(default_factory=list)
    confirm: list[TuningTarget] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def sample(
    sets: Sequence[Dataset],
    dimension: int,
    *,
    classes: Iterable[str] = (),
    objects: int = 60,
    held_back: float = 0.3,
    seed: int = 0,
) -> Sample:
    """At most so many ``objects`` in all, each in a box as a simulated user draws it, in 2D on a slice of its own.

    ``classes``: those wanted; all where none is named. ``held_back``: share of the patients, and of the objects, to
    confirm on. Every patient gives as many objects as any other, of the classes that have fewest so far; no more
    cases are read than that needs.

    Raises InvalidInput for a share outside [0, 1), too few objects, nobody to hold back, and where nothing is found.
    """
    if objects < (4 if held_back else 2):
        raise InvalidInput(
            f"At most {objects} objects are asked for; it must be 4 or more, or 2 with nobody held back."
        )
    names, rng, result = list(classes), np.random.default_rng(seed), Sample()
    tuning, confirming = _patients(sets, held_back, seed)
    count = min(max(1, round(held_back * objects)), objects - 2) if held_back else 0
    result.tune = _picked(tuning, objects - count, names, dimension, rng, result.skipped)
    result.confirm = _picked(confirming, count, names, dimension, rng, result.skipped)
    kind, why = f"{dimension}D object of {', '.join(names) or 'any class'}", " ".join(result.skipped[:1])
    if len(result.tune) < 2:
        few = "one" if result.tune else "no"
        raise InvalidInput(f"There is {few} {kind} to tune on; it takes two or more. {why}".strip())
    if held_back and not result.confirm:
        raise InvalidInput(f"There is no {kind} in the patients held back, and there must be. {why}".strip())
    return result


def _patients(sets: Sequence[Dataset], held_back: float, seed: int) -> tuple[list[Patient], list[Patient]]:
    """The cases of the patients to tune on and of those held back: shuffled, and the data sets in turn."""
    cases: dict[str, Patient] = defaultdict(list)
    for dataset in sets:
        for case in dataset.cases:
            cases[case.patient].append((dataset, case))
    held, others = hold_back(cases, held_back, seed)
    if held_back and not held:
        raise InvalidInput("There is one patient only, so nobody can be held back.")
    return _in_turn([cases[name] for name in others]), _in_turn([cases[name] for name in held])


def _in_turn(patients: list[Patient]) -> list[Patient]:
    met: Counter[str] = Counter()
    ranks = []
    for patient in patients:
        name = patient[0][0].name
        ranks.append(met[name])
        met[name] += 1
    return [patients[k] for k in np.argsort(ranks, kind="stable")]


def _picked(
    patients: list[Patient], count: int, names: list[str], dimension: int, rng: np.random.Generator, skipped: list[str]
) -> list[TuningTarget]:
    chosen: list[TuningTarget] = []
    taken: Counter[str] = Counter()
    for k, patient in enumerate(patients):
        quota = -(-(count - len(chosen)) // (len(patients) - k))
        if not quota:
            break
        candidates = [one for pair in patient for one in _objects(*pair, names, dimension, quota, skipped)]
        candidates = [candidates[i] for i in rng.permutation(len(candidates))]
        while candidates and quota:
            one = min(candidates, key=lambda one: taken[_group(one)])
            candidates = [other for other in candidates if other is not one]
            try:
                chosen.append(_target(one, rng))
            except InvalidInput:  # the image is constant inside the box: nobody could segment that
                continue
            taken[_group(one)] += 1
            quota -= 1
    return chosen


def _objects(
    dataset: Dataset, case: Case, names: list[str], dimension: int, quota: int, skipped: list[str]
) -> list[Instance]:
    labels = {name: values for name, values in dataset.labels.items() if not names or name in names}
    case = replace(case)  # a new one, whose arrays are gone after this call
    try:
        case.image.check_scan()
        return list(cut(case, labels, dimension, most=max(SLICES, quota)))
    except (BifsegError, OSError) as error:
        skipped.append(f"The case {case.name} is left out: {str(error).rstrip('.')}.")
        return []


def _group(one: Instance) -> str:
    return f"{one.dataset} {one.label}"


def _target(one: Instance, rng: np.random.Generator) -> TuningTarget:
    image, truth, spacing, plane = one.image, one.truth, one.spacing, None
    if one.dimension == 2:
        image, truth, spacing, plane = image[..., None], truth[..., None], (*spacing, 1.0), (2, 0)
    return TuningTarget(Image(image, spacing), truth, simulated_box(truth, rng, MARGIN, plane), _group(one))
