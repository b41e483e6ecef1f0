"""The objects of public data sets that settings are chosen on, the fold "develop"; and others to report on, once.

A patient is in one fold only. No network that we ship learnt from any of these data sets
(`bifseg.training.training_set.PERMISSIVE` lists what they learnt from), but for the fold "learnt": more kinds of
objects, to choose what is no matter of the network. The fold "aside" is what networks in 2D learnt from and those in
3D did not.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from bifseg.evaluation.simulated_users import simulated_box
from bifseg.evaluation.targets import half
from bifseg.imaging.image import Image
from bifseg.io.datasets import Case, open_dataset
from bifseg.prompts.interaction import Box

DATA = Path(os.environ.get("BIFSEG_DATA", Path(__file__).parents[3] / "shared" / "data"))


@dataclass(frozen=True)
class Task:
    """Objects of one kind in one data set. ``labels`` name -> label values; empty: every label is an object."""

    dataset: str
    dimension: int
    fold: str  # all, or halves: of the patients only the half that is of the fold asked for
    labels: dict[str, tuple[int, ...]]
    channel: int = 0
    only: str = ""  # case names begin so
    cases: int = 1000  # at most so many
    objects: int = 1000  # at most so many per case (and label, in 2D: that many slices)
    largest: bool = False  # the object is the label's largest connected component


TASKS = (
    Task("Dataset101_ACDC", 2, "halves", {"RV": (1,), "MYO": (2,), "LV": (3,)}, cases=30, objects=1),
    Task("Dataset107_AbdomenCT2D", 2, "halves", {}, cases=15, objects=1),
    Task("Dataset120_MedScribble", 2, "all", {}, objects=1),
    Task("Dataset103_FetalBrainAtlas", 3, "all", {}, only="FETAL_SB", cases=3, objects=4),
    Task("Dataset108_Hippocampus", 3, "halves", {"hippocampus": (1, 2)}, cases=12),
    Task("Dataset101_ACDC", 3, "halves", {"RV": (1,), "MYO": (2,), "LV": (3,)}, cases=10, objects=1),
    Task("Dataset110_MSLesion", 3, "all", {"lesion": (1,)}, largest=True),
)  # fmt: skip
REPORTED = (
    Task("Dataset102_BRATS2013", 3, "all", {"core": (1, 3, 4)}),
    Task("Dataset102_BRATS2013", 3, "all", {"whole": (1, 2, 3, 4)}, channel=1),
    Task("Dataset103_FetalBrainAtlas", 3, "all", {}, only="FETAL_CRL", cases=2),
    Task("Dataset108_Hippocampus", 3, "halves", {"hippocampus": (1, 2)}, cases=8),
    Task("Dataset153_StrokeMR", 3, "all", {}),
    Task("Dataset163_VertebraMR_T2", 3, "all", {}),
    Task("Dataset164_IntervertebralDiscMR", 3, "all", {}),
    Task("Dataset166_DogBrain", 3, "all", {}, objects=10),
)  # fmt: skip
ASIDE = (
    Task("Dataset142_ReMIND", 3, "all", {}),
    Task("Dataset143_ThoraxAbdomenCT", 3, "all", {}, objects=9),
    Task("Dataset144_FetalStacks", 3, "all", {}),
    Task("Dataset146_OvuleMicroscopy", 3, "all", {}, objects=4),
    Task("Dataset147_PigBrain", 3, "all", {}, objects=3),
)  # fmt: skip
LEARNT = (
    Task("Dataset104_SarcomaMR", 3, "all", {}),
    Task("Dataset105_SarcomaCT", 3, "all", {}),
    Task("Dataset115_BodyCT", 3, "all", {}, objects=14),
    Task("Dataset116_BodyMR", 3, "all", {}, objects=8),
    Task("Dataset118_SpinalCord", 3, "all", {}, objects=2),
    Task("Dataset119_BrainTumourT1c", 3, "all", {}),
    *ASIDE,
)  # fmt: skip
FOLDS = {"develop": TASKS, "aside": ASIDE, "learnt": LEARNT, "report": REPORTED}
SMALLEST = {2: 60, 3: 400}  # voxels: below that there is nothing to scribble on


@dataclass(frozen=True, eq=False)
class Target:
    """One object in one image, with the box a simulated user drew."""

    dataset: str
    case: str
    patient: str  # cases of one patient are no independent witnesses
    label: str
    dimension: int
    image: Image
    truth: np.ndarray  # bool (x, y, z)
    box: Box


def targets(
    dimension: int, data: Path = DATA, margin: int = 10, seed: int = 0, fold: str = "develop"
) -> Iterator[Target]:
    """All objects of a fold, always the same ones with the same boxes; all but "develop" are in 3D alone.

    ``margin``: a side of a box lies 0 to so many voxels outside the object. ``seed``: another seed draws other boxes
    around the same objects. Scans are read once and kept: all of a fold are less than a gigabyte.
    """
    for task in FOLDS[fold]:
        if task.dimension == dimension:
            dataset = _opened(data / task.dataset, task.channel)
            chosen = [case for case in dataset.cases if case.name.startswith(task.only)]
            chosen = [c for c in chosen if task.fold == "all" or half(SAME.get(c.patient, c.patient)) == fold]
            for case in _some(chosen, task.cases, task.dataset):
                yield from _objects(task, case, dataset.labels, margin, seed)


def spread(dimension: int, folds: Sequence[str], limit: int, only: str = "") -> list[Target]:
    """At least so many objects, evenly spread over folds, or all; ``only``: of data sets whose names hold this."""
    every = [target for fold in folds for target in targets(dimension, fold=fold) if only in target.dataset]
    return every[:: max(1, len(every) // limit)]


_opened = lru_cache(open_dataset)
SAME = {"patient076": "patient074"}  # in ACDC: the same images annotated twice


def _some(items: list, count: int, key: str) -> list:
    order = np.random.default_rng(zlib.crc32(key.encode())).permutation(len(items))
    return [items[k] for k in sorted(order[:count])]


def _objects(task: Task, case: Case, names: Mapping[str, tuple[int, ...]], margin: int, seed: int) -> Iterator[Target]:
    labels = task.labels
    if not labels:
        present = set(np.unique(case.labels).tolist())
        labels = {name: values for name, values in names.items() if present & set(values)}
    found = []
    for name, values in labels.items():
        truth = np.isin(case.labels, values)
        key = zlib.crc32(f"{case.name} {name}".encode())
        rng = np.random.default_rng(key)
        hand = np.random.default_rng((key, seed)) if seed else rng
        if task.dimension == 3:
            truth = _largest(truth) if task.largest else truth
            if np.count_nonzero(truth) >= SMALLEST[3]:
                found.append((name, truth, simulated_box(truth, hand, margin)))
            continue
        areas = truth.sum(axis=(0, 1))
        slices = np.flatnonzero(areas >= SMALLEST[2])
        for z in rng.permutation(slices)[: task.objects]:
            plane = np.zeros_like(truth)
            plane[:, :, z] = truth[:, :, z]
            found.append((name, plane, simulated_box(plane, hand, margin, plane=(2, int(z)))))
    limit = task.objects if task.dimension == 3 else len(found)
    patient = SAME.get(case.patient, case.patient)
    for name, truth, box in _some(found, limit, case.name):
        yield Target(task.dataset, case.name, patient, name, task.dimension, case.image, truth, box)


def _largest(mask: np.ndarray) -> np.ndarray:
    numbered, count = ndimage.label(mask)
    return numbered == 1 + np.argmax(np.bincount(numbered.ravel(), minlength=count + 2)[1:])
