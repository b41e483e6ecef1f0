"""Tasks on the disk: examples and versions, each a file that is written once, whole, and never changed.

A version counts from the moment that its JSON is there, which is written last; whatever is stopped before that leaves
the task as it was. An example that is another's correction names it in a file that is written before: so no moment
between the writing of the one and the removal of the other matters. Nothing here needs torch; see `tasks.versions`.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from functools import lru_cache
from math import prod
from pathlib import Path

from bifseg.errors import BifsegError, DamagedFile, InvalidInput, NotFound
from bifseg.io.atomic import write_atomically, write_json
from bifseg.io.locked import locked
from bifseg.networks.shipped import default_sha256
from bifseg.tasks.example import About, Example
from bifseg.tasks.version import Version

KNOWN = 1 << 14  # examples of which is kept in memory where they came from: a kilobyte each
NAME, FILE = 240, 200  # bytes of a task's name, and of it in the names of files: systems take 255
MOST = 32  # examples of a dimension that are remembered; the oldest are forgotten
LEARNER = 8  # of `learning`: another one learns anew from the same examples


class Task:
    """Objects of one kind: what is remembered of them, and what was learnt. Made by `Tasks.task`."""

    def __init__(self, folder: Path, *, new: bool = False) -> None:
        self.folder, self.name = folder, folder.name
        self._new = new

    # ---- what is remembered

    def remembered(self, dimension: int | None = None) -> list[About]:
        """Finished objects in the order they were added, of one dimension or all; corrected ones once."""
        found = [self._about(path) for path in self._example_files()]
        bounded: list[About] = []
        for about in reversed(found):  # the newest first
            if sum(other.dimension == about.dimension for other in bounded) < MOST:
                bounded.append(about)
        return [about for about in reversed(bounded) if dimension in (None, about.dimension)]

    def examples(self, dimension: int | None = None) -> list[Example]:
        """The same with their arrays."""
        return [self.example(about.digest) for about in self.remembered(dimension)]

    def example(self, digest: str) -> Example:
        """The one of a digest; NotFound where it is not remembered."""
        path = self._path_of(digest)
        try:
            return Example.unpacked(path.read_bytes())
        except InvalidInput as error:
            raise DamagedFile(path, str(error)) from error

    def voxels(self, digest: str) -> int:
        """How many voxels the box of an example has; NotFound as of `example`."""
        return prod(self._about(self._path_of(digest)).box.shape)

    def add(self, example: Example) -> None:
        """Remember an object; an earlier state of the same one, and the oldest beyond `MOST`, are forgotten.

        Raises NotFound where the task was deleted meanwhile.
        """
        content = example.packed()
        with self.locked():
            files = self._example_files()
            number = 1 + max((int(path.name[:6]) for path in files), default=0)
            path = self.folder / f"examples/{number:06d}-{example.digest}.npz"
            self._tombstone(example.digest).unlink(missing_ok=True)
            older = [
                other for other in self._example_files()
                if self._about(other).scan == example.scan
                and self.example(self._digest(other)).same_object(example)
            ]  # fmt: skip
            if older:
                write_json(path.with_suffix(".replaces"), {"names": [other.name for other in older]})
            write_atomically(path, content)
            kept = {about.digest for about in self.remembered()}
            for other in self._files("examples/*.npz"):
                if other in older or self._digest(other) not in kept:
                    other.unlink()
                    other.with_suffix(".replaces").unlink(missing_ok=True)

    def remove(self, digest: str) -> None:
        """Forget an object; versions that learnt from it are used no more, from the same moment on."""
        with self.locked():
            path = self._path_of(digest)
            write_atomically(self._tombstone(digest), b"")
            path.unlink()

    @property
    def taken_out(self) -> set[str]:
        """Digests of examples that were removed."""
        return {path.stem for path in self._files("examples/*.removed")}

    # ---- what was learnt

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
        write_atomically(self._rejection(number), b"")

    def restore(self, number: int) -> None:
        """Use a version that was rejected again. InvalidInput where an object that it learnt from was taken away."""
        if self.taken_out & set(self.version(number).examples):
            raise InvalidInput(f"Version {number} learnt from an object that was taken out of the task.")
        self._rejection(number).unlink(missing_ok=True)

    def current(self, dimension: int) -> Version | None:
        """The version in use: the newest that was not rejected and began with the network that ships today."""
        wanted = dimension, default_sha256(dimension), False
        usable = [v for v in self.versions() if (v.dimension, v.base, v.rejected) == wanted]
        return usable[-1] if usable else None

    def improved(self, dimension: int) -> Version | None:
        """The version in use, where it proved better than the shipped network."""
        version = self.current(dimension)
        return version if version is not None and version.better else None

    def exportable(self, dimension: int) -> Version | None:
        """The version in use, where its network is another than the shipped one."""
        version = self.improved(dimension)
        return version if version is not None and version.strength else None

    def pending(self, dimension: int) -> bool:
        """Whether there are examples that were not learnt from yet."""
        wanted = self.wanted(dimension)
        return wanted is not None and self.made(wanted) is None

    def wanted(self, dimension: int) -> Version | None:
        """What would be learnt now, without a number; None where there is no example."""
        known = self.remembered(dimension)
        digests, patients = tuple(about.digest for about in known), {about.patient for about in known}
        return Version(0, dimension, LEARNER, default_sha256(dimension), digests, len(patients)) if known else None

    def made(self, wanted: Version) -> Version | None:
        """The last version, if it is of the same examples, network and learner."""
        before = [version for version in self.versions() if version.dimension == wanted.dimension]
        decided = {name: getattr(wanted, name) for name in ("learner", "base", "examples", "patients")}
        return before[-1] if before and replace(before[-1], **decided) == before[-1] else None

    def weights(self, version: Version) -> Path:
        """The file of a version's network, which there is where it is better."""
        name = self.name.encode()[:FILE].decode(errors="ignore")
        return self.folder / f"versions/{name}-v{version.number}-{version.dimension}d.safetensors"

    def checked_weights(self, version: Version) -> Path:
        """The same file. DamagedFile where its weights are not those that were learnt."""
        path = self.weights(version)
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != version.sha256:
            raise DamagedFile(path, "is damaged: its weights are not those that were learnt.")
        return path

    def keep(self, version: Version) -> None:
        """Write what is said of a version, which counts from then on."""
        told = asdict(version)
        del told["rejected"]
        (self.folder / "versions").mkdir(exist_ok=True)
        write_json(self.folder / f"versions/{version.number:04d}.json", told)

    # ---- files

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While it is held, no other process changes the task. NotFound where it was deleted since it was looked up."""
        if self._new:
            (self.folder / "examples").mkdir(parents=True, exist_ok=True)
            self._new = False  # from now on it may be deleted
        with self.holding(".lock", f"Another process works on the task {self.name!r}; try again when it is done."):
            self.check_exists()
            yield

    @contextmanager
    def holding(self, name: str, sentence: str) -> Iterator[Path]:
        """Hold one of its locks, a file of this name; InvalidInput with this sentence where another process does.

        NotFound where the task was deleted since it was looked up, whose folder then moves away.
        """
        self.check_exists()
        path = self.folder / name
        with ExitStack() as held:
            try:
                held.enter_context(locked(path, sentence, seconds=10))
            except FileNotFoundError:
                self.check_exists()
                raise
            yield path

    @property
    def exists(self) -> bool:
        """Whether it was begun, and not deleted since."""
        return (self.folder / "examples").is_dir() and not self.deleted.exists()

    @property
    def deleted(self) -> Path:
        """A file that is there from the moment on that the task is deleted."""
        return self.folder / ".deleted"

    def check_exists(self) -> None:
        """NotFound where it was deleted."""
        if not self.exists:
            raise NotFound(f"The task {self.name!r} was deleted meanwhile.")

    def _tombstone(self, digest: str) -> Path:
        return self.folder / f"examples/{digest}.removed"

    def _rejection(self, number: int) -> Path:
        return self.folder / f"versions/{number:04d}.rejected"

    def _version(self, path: Path) -> Version:
        try:
            told = json.loads(path.read_bytes())
            told |= {name: tuple(told[name]) for name in ("examples", "shipped")}
            for kind in ("learnt", "drawn_on"):
                if told.get(kind) is not None:
                    told[kind] = {name: tuple(scores) for name, scores in told[kind].items()}
            rejected = path.with_suffix(".rejected").exists() or bool(self.taken_out & set(told["examples"]))
            return Version(**told, rejected=rejected)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedFile(path, f"is damaged: {error}.") from error

    def _example_files(self) -> list[Path]:
        """Of all examples that no other one is a correction of."""
        paths, gone = self._files("examples/*.npz"), set()
        for path in paths:
            if (told := path.with_suffix(".replaces")).exists():
                gone |= set(json.loads(told.read_bytes())["names"])
        removed = self.taken_out
        return [path for path in paths if path.name not in gone and self._digest(path) not in removed]

    def _about(self, path: Path) -> About:
        try:
            return _about(path, self._digest(path), path.stat().st_mtime_ns)
        except InvalidInput as error:
            raise DamagedFile(path, str(error)) from error

    def _path_of(self, digest: str) -> Path:
        found = [path for path in self._example_files() if self._digest(path) == digest]
        if not found:
            raise NotFound(f"The task {self.name!r} does not hold the object {digest[:32]!r}.")
        return found[-1]

    @staticmethod
    def _digest(path: Path) -> str:
        return path.stem[7:]

    def _files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self.folder.glob(pattern) if not path.name.startswith("."))


class Tasks:
    """All tasks in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Of all tasks, sorted."""
        folders = [path.parent for path in self.folder.glob("*/examples") if not path.parent.name.startswith(".")]
        return sorted(folder.name for folder in folders if Task(folder).exists)

    def task(self, name: str, *, new: bool = False) -> Task:
        """The task of a name, which is begun by its first example; NotFound, unless it may be ``new``."""
        if not re.fullmatch(r"\w([\w.,+=@ -]{0,78}[\w+=@-])?", name) or len(name.encode()) > NAME:
            raise InvalidInput(
                f"A task cannot be named {name!r}; give up to 80 letters, digits, blanks and .,_+=@- in between."
            )
        if not new and name not in self.names():
            raise NotFound(f"There is no task {name!r}; there is {', '.join(self.names()) or 'none'}.")
        return Task(self.folder / name, new=new)

    def unlearnt(self) -> Iterator[tuple[Task, Version]]:
        """What was not learnt yet; a damaged task, which its owner hears of, keeps no others from learning."""
        for name in self.names():
            with suppress(BifsegError):
                task = self.task(name)
                versions = [wanted for wanted in map(task.wanted, (2, 3)) if wanted is not None]
                yield from [(task, wanted) for wanted in versions if task.made(wanted) is None]

    def begin(self, name: str) -> Task:
        """A new task, without an example yet; InvalidInput where there is one of that name."""
        task = self.task(name, new=True)
        if task.exists:
            raise InvalidInput(f"There is a task {name!r} already; choose another name.")
        if task.deleted.exists():  # whoever deleted it was stopped
            self._put_away(task)
        (task.folder / "examples").mkdir(parents=True)
        return Task(task.folder)

    def delete(self, name: str) -> None:
        """Forget a task, its examples and versions; it is gone at once, whatever stops the rest."""
        task = self.task(name)
        with task.locked():
            task.deleted.touch()
        self._put_away(task)

    def _put_away(self, task: Task) -> None:
        """Delete the folder of a task that is deleted, and what was left of earlier ones."""
        with suppress(FileNotFoundError):  # another does the same
            task.folder.rename(self.folder / f".{secrets.token_hex(8)}.gone")
        for left in self.folder.glob(".*.gone"):
            shutil.rmtree(left, ignore_errors=True)


@lru_cache(maxsize=KNOWN)
def _about(path: Path, digest: str, written: int) -> About:
    """What is known of an example; its file, written once, is opened once."""
    return About.read(path, digest)
