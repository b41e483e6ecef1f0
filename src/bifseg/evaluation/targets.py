"""The labelled objects that methods are judged on: found by reading label maps, opened where they are needed."""

from __future__ import annotations

import fnmatch
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bifseg.errors import BifsegError, InvalidInput
from bifseg.evaluation.humans import human_labels, scribble_files
from bifseg.imaging.image import Image
from bifseg.io.datasets import Case, Dataset
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.training.instances import SMALLEST, across

FOLDS = ("develop", "report")


@dataclass(frozen=True)
class Target:
    """One object of one case: where it is, and the arrays when they are first asked for.

    ``values``: the label values of its class. ``plane``: (axis, index) in 2D.
    """

    case: Case
    label: str
    values: tuple[int, ...]
    plane: tuple[int, int] | None = None

    @property
    def dimension(self) -> int:
        return 3 if self.plane is None else 2

    @property
    def image(self) -> Image:
        return self.case.image

    @cached_property
    def truth(self) -> np.ndarray:
        """bool (x, y, z); in 2D only on the plane."""
        truth = np.isin(self.case.labels, self.values)
        if self.plane is not None:
            whole, truth = truth, np.zeros_like(truth)
            at = (slice(None),) * self.plane[0] + (self.plane[1],)
            truth[at] = whole[at]
        return truth

    @property
    def view(self) -> Box:
        """All that can be seen: the plane, or the whole scan."""
        ranges: list = [(0, n) for n in self.image.shape]
        if self.plane is not None:
            ranges[self.plane[0]] = self.plane[1]
        return Box.of(ranges, self.image.shape)

    def unread(self) -> Target:
        """The same target without its arrays, for another process."""
        return Target(replace(self.case), self.label, self.values, self.plane)


@dataclass
class TargetSearch:
    """Targets in the order of data sets, cases and classes; and a sentence for each case that was left out."""

    targets: list[Target]
    skipped: list[str]


def find_targets(
    sets: Sequence[Dataset],
    dimension: int,
    *,
    classes: Iterable[str] = (),
    cases: str = "*",
    fold: str = "",
    limit: int | None = None,
    human: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> TargetSearch:
    """The objects of data sets: one per class and case, in 2D on one plane that shows it, drawn by a hash of its name.

    ``classes``: those wanted; all where none is named. ``cases``: a pattern for their names. ``fold``: ``develop`` or
    ``report``, the half of the patients to tune on or the half to report; empty for all. ``limit``: cases per data set
    that show a wanted object, drawn by a hash of their names so that a smaller limit is a part of a larger one.
    ``human``: only objects on which people scribbled foreground and background. ``progress``: called with a text and
    the share done. Objects below `SMALLEST` voxels are passed over; a case that cannot be read is left out and named.

    Raises InvalidInput for an unknown fold, a class that no case shows, and where nothing is found.
    """
    names = list(classes)
    sets = [in_fold(one, fold) for one in sets] if fold else sets
    if limit is not None and limit < 1:
        raise InvalidInput(f"The limit is {limit} cases; it must be 1 or more.")
    result, shown = TargetSearch([], []), set()
    for dataset in sets:
        chosen = [case for case in dataset.cases if fnmatch.fnmatchcase(case.name, cases)]
        chosen.sort(key=lambda case: zlib.crc32(f"{case.dataset} {case.name}".encode()))
        found: list[list[Target]] = []
        for k, case in enumerate(chosen):
            if limit is not None and len(found) == limit:
                break
            if progress is not None:
                progress(f"Reading {case.name}", k / len(chosen))
            try:
                own = _targets_of(replace(case), dataset, names, dimension, human)
            except (BifsegError, OSError) as error:
                result.skipped.append(f"The case {case.name} is left out: {str(error).rstrip('.')}.")
                continue
            shown |= {target.label for target in own}
            if own:
                found.append(own)
        result.targets += [target for own in sorted(found, key=lambda own: own[0].case.name) for target in own]
    why = " ".join(result.skipped[:1])
    if missing := [name for name in names if name not in shown]:
        raise InvalidInput(
            f"No case shows {missing[0]!r} in {SMALLEST[dimension]} voxels or more; it must be one of the labels that "
            f"the cases do show. {why}".strip()
        )
    if not result.targets:
        kind = "with real scribbles on it" if human else f"of {SMALLEST[dimension]} voxels or more"
        raise InvalidInput(f"There is no {dimension}D object {kind} in these cases. {why}".strip())
    return result


def half(patient: str) -> str:
    """The fold of a patient, for ever: by a hash of the name."""
    return FOLDS[zlib.crc32(patient.encode()) % 2]


def in_fold(dataset: Dataset, fold: str) -> Dataset:
    """The data set with the cases of one half of its patients: of ``develop`` or of ``report``."""
    if fold not in FOLDS:
        raise InvalidInput(f"Unknown fold {fold!r}; known are {', '.join(FOLDS)}, or none for all cases.")
    return replace(dataset, cases=tuple(case for case in dataset.cases if half(case.patient) == fold))


def _targets_of(case: Case, dataset: Dataset, names: Sequence[str], dimension: int, human: bool) -> list[Target]:
    image, labels = case.image.check_scan(), case.labels
    axis = across(image)
    files = scribble_files(case) if human else []
    found = []
    for name, values in dataset.labels.items():
        if (names and name not in names) or (human and not files):
            continue
        truth = np.isin(labels, values)
        drawn = human_labels(files[0], image, values) if human else None
        if dimension == 3:
            if np.count_nonzero(truth) >= SMALLEST[3] and _thick(truth) and (drawn is None or _both(drawn)):
                found.append(Target(replace(case), name, tuple(values)))
            continue
        areas = truth.sum(axis=tuple({0, 1, 2} - {axis}))
        planes = np.flatnonzero(areas >= SMALLEST[2])
        for k in np.random.default_rng(zlib.crc32(f"{case.name} {name}".encode())).permutation(planes):
            at = (slice(None),) * axis + (int(k),)
            if _thick(truth[at]) and np.ptp(image.array[at]) > 0 and (drawn is None or _both(drawn[at])):
                found.append(Target(replace(case), name, tuple(values), (axis, int(k))))
                break
    return found


def _thick(truth: np.ndarray) -> bool:
    """Whether the object is two voxels or more along every axis."""
    axes = range(truth.ndim)
    return all(np.count_nonzero(truth.any(axis=tuple(b for b in axes if b != a))) > 1 for a in axes)


def _both(drawn: np.ndarray) -> bool:
    return bool((drawn == FOREGROUND).any() and (drawn == BACKGROUND).any())
