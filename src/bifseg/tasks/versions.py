"""Versions of tasks are made: learnt from all examples that there are, then written, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bifseg.errors import InvalidInput, NotFound
from bifseg.io.locked import locked
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.networks.shipped import default_sha256
from bifseg.tasks.learning import Learnt, Proof, learn
from bifseg.tasks.store import Task, Version

LEARNER = 1  # of `learning`: another one learns anew from the same examples


def pending(task: Task, dimension: int) -> bool:
    """Whether a task holds examples that it has not learnt from."""
    wanted = _wanted(task, dimension)
    return wanted is not None and _last(task, wanted) is None


def learn_version(task: Task, dimension: int) -> Version:
    """The version of the examples that there are: learnt now, unless it was before.

    Objects may be added meanwhile. Raises InvalidInput where there are none, and where another process learns at the
    same time; NotFound where the task, or one of the examples, was deleted meanwhile.
    """
    sentence = f"Another process learns from the task {task.name!r}; try again when it is done."
    with locked(task.folder / ".learning", sentence, seconds=10):
        wanted = _wanted(task, dimension)
        if wanted is None:
            raise InvalidInput(f"The task {task.name!r} has no example in {dimension}D; add one.")
        if (before := _last(task, wanted)) is not None:
            return before
        base = load_model("default", dimension)
        learnt = learn(base, [task.example(digest) for digest in wanted.examples])
        if not task.exists:
            raise NotFound(f"The task {task.name!r} was deleted meanwhile.")
        with task.locked():
            return _kept(task, wanted, base, learnt)


def model_in_use(task: Task, dimension: int) -> Model:
    """The current version's network or, where nothing better was learnt, the shipped one.

    Raises DamagedFile for weights that are not those that were learnt.
    """
    version = task.current(dimension)
    if version is None or not version.strength:
        return load_model("default", dimension)
    return load_model(task.checked_weights(version), dimension)


def _wanted(task: Task, dimension: int) -> Version | None:
    """What would be learnt now, without a number; None where there is no example."""
    known = task.remembered(dimension)
    digests, patients = tuple(about.digest for about in known), {about.patient for about in known}
    return Version(0, dimension, LEARNER, default_sha256(dimension), digests, len(patients)) if known else None


def _last(task: Task, wanted: Version) -> Version | None:
    """The task's last version, if nothing else would be learnt now."""
    before = [version for version in task.versions() if version.dimension == wanted.dimension]
    decided = {name: getattr(wanted, name) for name in ("learner", "base", "examples", "dimension", "patients")}
    return before[-1] if before and replace(before[-1], **decided) == before[-1] else None


def _kept(task: Task, wanted: Version, base: Model, learnt: Learnt) -> Version:
    if task.taken_out & set(wanted.examples):
        raise NotFound(f"An object was taken out of the task {task.name!r} meanwhile; learn anew.")
    version = replace(wanted, number=1 + max((one.number for one in task.versions()), default=0))
    if learnt.proof is not None:
        version = replace(version, **_proved(learnt.proof))
    if learnt.model is not None:
        card = {
            "task": task.name, "version": version.number, "base": base.name, "base_sha256": base.sha256,
            "examples": len(version.examples), "strength": learnt.strength, "gain": round(version.gain, 4),
            "data": f"{len(version.examples)} objects of the task {task.name}; {base.card.get('data', '')}",
        }  # fmt: skip
        path = task.weights(version)
        path.parent.mkdir(exist_ok=True)
        save_model(replace(learnt.model, card={**base.card, **card}), path)
        version = replace(version, strength=learnt.strength, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    task.keep(version)
    return version


def _proved(proof: Proof) -> dict[str, Any]:
    def rounded(scores: Sequence[float]) -> tuple[float, ...]:
        return tuple(round(score, 5) for score in scores)

    learnt = {str(strength): rounded(scores) for strength, scores in proof.learnt.items()}
    return {"shipped": rounded(proof.shipped), "learnt": learnt}
