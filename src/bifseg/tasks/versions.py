"""Versions of tasks are made: learnt from all examples that there are, then written, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bifseg.errors import InvalidInput, NotFound
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.tasks.cross_validation import Proof
from bifseg.tasks.learning import Learnt, learn
from bifseg.tasks.store import Task
from bifseg.tasks.version import Version, named


def learn_version(task: Task, dimension: int) -> Version:
    """The version of the examples that there are: learnt now, unless it was before.

    Objects may be added meanwhile. Raises InvalidInput where there are none, and where another process learns at the
    same time; NotFound where the task, or one of the examples, was deleted meanwhile.
    """
    sentence = f"Another process learns from the task {task.name!r}; try again when it is done."
    with task.holding(".learning", sentence) as lock:
        held = lock.stat().st_ino  # while it is held, no other file has this number
        wanted = task.wanted(dimension)
        if wanted is None:
            raise InvalidInput(f"The task {task.name!r} has no example in {dimension}D; add one.")
        if (before := task.made(wanted)) is not None:
            return before
        base = load_model("default", dimension)
        learnt = learn(base, [task.example(digest) for digest in wanted.examples])
        with task.locked():
            if not lock.exists() or lock.stat().st_ino != held:  # one that was begun since under the same name
                raise NotFound(f"The task {task.name!r} was deleted meanwhile.")
            return _kept(task, wanted, base, learnt)


def model_in_use(task: Task, dimension: int) -> Model:
    """The current version's network or, where nothing better was learnt, the shipped one.

    Raises DamagedFile for weights that are not those that were learnt.
    """
    version = task.improved(dimension)
    if version is None:
        return load_model("default", dimension)
    return load_model(task.checked_weights(version), dimension)


def _kept(task: Task, wanted: Version, base: Model, learnt: Learnt) -> Version:
    if task.taken_out & set(wanted.examples):
        raise NotFound(f"An object was taken out of the task {task.name!r} meanwhile; learn anew.")
    version = replace(wanted, number=1 + max((one.number for one in task.versions()), default=0))
    if learnt.proof is not None:
        version = replace(version, strength=learnt.strength, shape=learnt.shape, **_proved(learnt.proof))
    if learnt.model is not None:
        card = {
            "task": task.name, "version": version.number, "base": base.name, "base_sha256": base.sha256,
            "examples": len(version.examples), "strength": version.strength, "reach": version.reach,
            "gain": _by_weights(learnt),
            "data": f"{len(version.examples)} objects of the task {task.name}; {base.card.get('data', '')}",
        }  # fmt: skip
        path = task.weights(version)
        path.parent.mkdir(exist_ok=True)
        save_model(replace(learnt.model, card={**base.card, **card}), path)
        version = replace(version, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    task.keep(version)
    return version


def _by_weights(learnt: Learnt) -> float:
    """What a file of weights gains, which does not know where in their boxes objects lie."""
    if learnt.proof is None or not learnt.strength:
        return 0.0
    return round(float(learnt.proof.gains((learnt.strength, 0.0)).mean()), 4)


def _proved(proof: Proof) -> dict[str, Any]:
    def rounded(scores: Sequence[float]) -> tuple[float, ...]:
        return tuple(round(score, 5) for score in scores)

    learnt = {named(*share): rounded(scores) for share, scores in proof.learnt.items()}
    drawn_on = {reach: rounded(scores) for reach, scores in proof.drawn_on.items()}
    return {"shipped": rounded(proof.shipped), "learnt": learnt, "reach": proof.reach, "drawn_on": drawn_on}
