"""What an object begins with that belongs to a task; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bifseg.imaging.image import Image
from bifseg.method.label_fusion import Look, fused_shape, stretched
from bifseg.method.mean_shape import mean_shape
from bifseg.networks.shipped import SHAPE
from bifseg.prompts.interaction import Box
from bifseg.session.state import Prior
from bifseg.tasks.store import Task
from bifseg.tasks.version import Version
from bifseg.tasks.weights import learnt_arrays

SEEN = 256  # examples of which is kept in memory what they look like: a hundred kilobytes each


def prior_of(task: Task, image: Image, box: Box | Sequence) -> Prior | None:
    """What a task has learnt, for an object in a box.

    Parameters
    ----------
    task
        Whose version in use is asked.
    image, box
        The scan, and where the object lies in it.

    Returns
    -------
    Prior or None
        None: the object begins with the shipped network alone. No image of another object is in it. DamagedFile is
        raised for weights that are not those that were learnt, and for an example that cannot be read.
    """
    box = Box.of(box, image.shape)
    version = task.improved(box.dimension)
    if version is None:
        return None
    arrays = dict(_learnt(task, version))
    if version.shape and SHAPE not in arrays and (looks := _looks(task, version)):
        arrays[SHAPE] = np.float32(version.shape) * fused_shape(stretched(image, box), looks)
    return Prior.of(task.name, version.number, version.base, arrays)


def mean_shape_of(task: Task, version: Version) -> np.ndarray | None:
    """Where in their boxes the objects of a version lie in the mean: to be looked at.

    Parameters
    ----------
    task, version
        The task and one of its versions.

    Returns
    -------
    ndarray or None
        Log-odds, as `mean_shape.mean_shape` makes them; None where their place does not count.
    """
    if not version.shape:
        return None
    if (kept := _learnt(task, version).get(SHAPE)) is not None:  # by a learner before the sixth
        return kept
    masks = [look.mask for look in _looks(task, version)]
    upright = tuple((axis, False) for axis in range(version.dimension))
    return mean_shape(masks, [upright] * len(masks)) if masks else None


def _learnt(task: Task, version: Version) -> Mapping[str, np.ndarray]:
    return learnt_arrays(task.checked_weights(version), version.sha256, version.dimension)


def _looks(task: Task, version: Version) -> list[Look]:
    """Of the examples that it learnt from, as far as they are remembered."""
    there = {about.digest for about in task.remembered(version.dimension)}
    return [_look(task.folder, digest) for digest in version.examples if digest in there]


@lru_cache(maxsize=SEEN)
def _look(folder: Path, digest: str) -> Look:
    """Of an example of the task in a folder; what has a digest never changes."""
    return Task(folder).example(digest).look
