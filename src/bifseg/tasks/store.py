"""Tasks on the disk: examples and versions, each a file that is written once, whole, and never changed.

A version counts from the moment that its JSON is there, which is written last; whatever is stopped before that leaves
the task as it was. An example that is another's correction replaces it when it is read: so no moment between the
writing of the one and the removal of the other matters.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bifseg.errors import DamagedFile, InvalidInput, NotFound
from bifseg.io.atomic import write_atomically, write_json
from bifseg.io.locked import locked
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.tasks.example import Example
from bifseg.tasks.learning import Proof, learn

MOST = 32  # examples of a dimension that are remembered; the oldest are forgotten
LEARNER = 1  # of `learning`: another one learns anew from the same examples


@dataclass(frozen=True)
class Version:
    """What a task learnt at one moment.

    ``base``: SHA-256 of the shipped network that it began with. ``examples``: digests. ``patients``: how many.
    ``strength``: how far it went from that network; 0: it stayed, and there are no weights. ``sha256``: of the weights.
    ``shipped``, ``learnt``: Dice of the examples by the network and, for each strength, by what was learnt from others;
    none with too few patients.
    """

    number: int
    dimension: int
    learner: int
    base: str
    examples: tuple[str, ...]
    patients: int
    strength: float = 0.0
    sha256: str = ""
    shipped: tuple[float, ...] = ()
    learnt: Mapping[str, tuple[float, ...]] | None = None
    rejected: bool = False

    @property
    def gain(self) -> float:
        """Mean gain in Dice, 0 to 1, on examples that it had not learnt from."""
        if not self.strength or not self.learnt:
            return 0.0
        scores = self.learnt[str(self.strength)]
        return sum(scores) / len(scores) - sum(self.shipped) / len(self.shipped)


class Task:
    """Objects of one kind: what is remembered of them, and what was learnt. Made by `Tasks.task`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name

    def examples(self, dimension: int | None = None) -> list[Example]:
        """Finished objects in the order they were added, of one dimension or all; corrected ones once."""
        return [example for _, example in self._remembered(dimension)]

    def add(self, example: Example) -> None:
        """Remember an object; an earlier state of the same one, and the oldest beyond `MOST`, are forgotten."""
        with self._locked():
            number = 1 + max((int(path.name[:6]) for path in self._files("examples/*.npz")), default=0)
            path = self.folder / f"examples/{number:06d}-{example.digest}.npz"
            write_atomically(path, example.packed())
            kept = {path for path, _ in self._remembered(None)}
            for other in self._files("examples/*.npz"):
                if other not in kept:
                    other.unlink()

    def learn(self, dimension: int) -> Version:
        """The version of the examples that there are: learnt now, unless it was before.

        Raises InvalidInput where there are none, and where another process learns at the same time.
        """
        with self._locked():
            examples = self.examples(dimension)
            if not examples:
                raise InvalidInput(f"The task {self.name!r} has no example in {dimension}D; add one.")
            base, digests = load_model("default", dimension), tuple(example.digest for example in examples)
            version = Version(
                1 + max((one.number for one in self.versions()), default=0), dimension, LEARNER, base.sha256, digests,
                len({example.patient for example in examples}),
            )  # fmt: skip
            before = [one for one in self.versions() if one.dimension == dimension]
            if before and replace(before[-1], **_decided(version)) == before[-1]:
                return before[-1]
            learnt = learn(base, examples)
            if learnt.proof is not None:
                version = replace(version, **_proved(learnt.proof))
            if learnt.model is not None:
                card = {
                    "task": self.name, "version": version.number, "base": base.name, "base_sha256": base.sha256,
                    "examples": len(examples), "strength": learnt.strength, "gain": round(version.gain, 4),
                    "data": f"{len(examples)} objects of the task {self.name}; {base.card.get('data', '')}",
                }  # fmt: skip
                path = self.weights(version)
                path.parent.mkdir(exist_ok=True)
                save_model(replace(learnt.model, card={**base.card, **card}), path)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                version = replace(version, strength=learnt.strength, sha256=digest)
            told = asdict(version)
            del told["rejected"]
            (self.folder / "versions").mkdir(exist_ok=True)
            write_json(self._told(version.number), told)
            return version

    def versions(self) -> list[Version]:
        """All there are, in their order."""
        return [self._version(path) for path in self._files("versions/*.json")]

    def version(self, number: int) -> Version:
        """The one of a number; NotFound lists those that there are."""
        known = {version.number: version for version in self.versions()}
        if number not in known:
            there = ", ".join(map(str, known)) or "none"
            raise NotFound(f"The task {self.name!r} has no version {number}; there is {there}.")
        return known[number]

    def reject(self, number: int) -> None:
        """Use a version no more; the one before it is used instead."""
        self.version(number)
        write_atomically(self.folder / f"versions/{number:04d}.rejected", b"")

    def current(self, dimension: int) -> Version | None:
        """The version in use: the newest that was not rejected and began with the network that ships today."""
        base = load_model("default", dimension).sha256
        usable = [v for v in self.versions() if (v.dimension, v.base, v.rejected) == (dimension, base, False)]
        return usable[-1] if usable else None

    def model(self, dimension: int) -> Model:
        """What a new object begins with: the current version's network or, where nothing better was learnt, the shipped
        one. Raises DamagedFile for weights that are not those that were learnt."""
        version = self.current(dimension)
        if version is None or not version.strength:
            return load_model("default", dimension)
        model = load_model(self.weights(version), dimension)
        if model.sha256 != version.sha256:
            raise DamagedFile(self.weights(version), "is damaged: its weights are not those that were learnt.")
        return model

    def weights(self, version: Version) -> Path:
        """The file of a version's network, which there is where its strength is not 0."""
        return self.folder / f"versions/{self.name}-v{version.number}-{version.dimension}d.safetensors"

    def _told(self, number: int) -> Path:
        return self.folder / f"versions/{number:04d}.json"

    def _version(self, path: Path) -> Version:
        try:
            told = json.loads(path.read_bytes())
            told |= {name: tuple(told[name]) for name in ("examples", "shipped")}
            if told["learnt"] is not None:
                told["learnt"] = {strength: tuple(scores) for strength, scores in told["learnt"].items()}
            return Version(**told, rejected=path.with_suffix(".rejected").exists())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedFile(path, f"is damaged: {error}.") from error

    def _remembered(self, dimension: int | None) -> list[tuple[Path, Example]]:
        remembered: list[tuple[Path, Example]] = []
        for path in reversed(self._files("examples/*.npz")):  # the newest first
            try:
                example = Example.unpacked(path.read_bytes())
            except InvalidInput as error:
                raise DamagedFile(path, str(error)) from error
            alike = [other for _, other in remembered if other.dimension == example.dimension]
            if len(alike) < MOST and not any(other.same_object(example) for other in alike):
                remembered.append((path, example))
        return [pair for pair in reversed(remembered) if dimension in (None, pair[1].dimension)]

    def _files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(pattern) if not path.name.startswith("."))

    def _locked(self) -> AbstractContextManager[None]:
        (self.folder / "examples").mkdir(parents=True, exist_ok=True)
        sentence = f"Another process works on the task {self.name!r}; try again when it is done."
        return locked(self.folder / ".lock", sentence, seconds=10)


class Tasks:
    """All tasks in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Of all tasks, sorted."""
        return sorted(
            path.parent.name for path in self.folder.glob("*/examples") if not path.parent.name.startswith(".")
        )

    def task(self, name: str, *, new: bool = False) -> Task:
        """The task of a name, which is begun by its first example; NotFound, unless it may be ``new``."""
        if not re.fullmatch(r"\w([\w.,+=@ -]{0,78}[\w+=@-])?", name):
            raise InvalidInput(
                f"A task cannot be named {name!r}; give up to 80 letters, digits, blanks and . , _ + = @ -"
            )
        if not new and name not in self.names():
            raise NotFound(f"There is no task {name!r}; there is {', '.join(self.names()) or 'none'}.")
        return Task(self.folder / name)

    def delete(self, name: str) -> None:
        """Forget a task, its examples and versions; it is gone at once, whatever stops the rest."""
        folder = self.task(name).folder
        gone = folder.with_name(f".{name}.gone")
        if gone.exists():
            shutil.rmtree(gone)
        folder.rename(gone)
        shutil.rmtree(gone)


def _decided(version: Version) -> dict[str, Any]:
    """What decides what is learnt."""
    return {name: getattr(version, name) for name in ("learner", "base", "examples", "dimension", "patients")}


def _proved(proof: Proof) -> dict[str, Any]:
    def rounded(scores: Sequence[float]) -> tuple[float, ...]:
        return tuple(round(score, 5) for score in scores)

    learnt = {str(strength): rounded(scores) for strength, scores in proof.learnt.items()}
    return {"shipped": rounded(proof.shipped), "learnt": learnt}
