"""Files of strangers become arrays in a process of their own, which `bifseg.server.uploads.reader_process` is."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bifseg.errors import DamagedFile, FileError, StorageFull, TooLarge, from_dict
from bifseg.imaging.image import Image
from bifseg.io.arrays import mapped_array
from bifseg.io.dicom_display import Display
from bifseg.server.settings import Limits
from bifseg.server.uploads.reader_process import ANSWER, ARRAY, HEADERS
from bifseg.server.uploads.scan import geometry_of, placed
from bifseg.server.uploads.scratch import scratch
from bifseg.server.uploads.template import ALONE, LostError, Template
from bifseg.server.workers.child import WorkError
from bifseg.storage.full_disk import FULL

COMMAND = (sys.executable, "-m", "bifseg.server.uploads.reader_process")
WORDS = 1 << 16  # bytes of the disk without which a process cannot even say that it is full
ROOM = 1 << 30  # bytes of memory beside three times what an image may have


class SeriesFacts(NamedTuple):
    """How a series wants to be seen, and whose it is, as `bifseg.io.dicom_display.patient_of` says it."""

    display: Display = Display()
    patient: str | None = None

    @classmethod
    def told(cls, facts: Mapping | None) -> SeriesFacts | None:
        """What a process said of them (`bifseg.server.uploads.jobs.facts`)."""
        return None if facts is None else cls(Display(**facts["display"]), facts["patient"])


class Reading(NamedTuple):
    """An image, the headers of its series, where it is one, and what these say, where they could be looked at."""

    image: Image
    headers: bytes | None
    facts: SeriesFacts | None


def read_image(
    path: Path, folder: Path, limits: Limits, *, name: str = "The upload", series: str | None = None,
    template: Template | None = None, hear: Callable[[str], None] = lambda words: None,
) -> Reading:  # fmt: skip
    """As `bifseg.server.uploads.scan.image_from_upload`, in a process of its own.

    ``folder``: the store's; ``name``: what errors call the file; ``template``: what the process is forked from, where
    that is possible, else one is started; ``hear``: is told what is to be said of a file that could be read.

    The array is mapped from a file that has no name any more. Raises InvalidInput, also where the process crashed or
    took too long, TooLarge, StorageFull, and WorkError for a fault of ours.
    """
    with asked("image", path, folder, limits, name, template, series=series) as (told, at):
        headers = (at / HEADERS).read_bytes() if (at / HEADERS).exists() else None
        for words in told["words"]:
            hear(words)
        return Reading(placed(mapped_array(at / ARRAY), told["geometry"]), headers, SeriesFacts.told(told["series"]))


def read_labels(
    path: Path, folder: Path, limits: Limits, like: Image, *, name: str, template: Template | None = None
) -> np.ndarray:
    """A label map on the grid of ``like``, integers (x, y, z); errors as `read_image`."""
    grid = {"shape": like.shape, **geometry_of(like)}
    with asked("labels", path, folder, limits, name, template, like=grid) as (_, at):
        return mapped_array(at / ARRAY)


def read_array(
    path: Path, folder: Path, limits: Limits, *, template: Template | None = None
) -> tuple[np.ndarray, tuple[int, ...]]:
    """An image that came as NNIA, in colours (x, y, z, 3), and the shape that it came in; errors as `read_image`."""
    with asked("array", path, folder, limits, "The image", template) as (told, at):
        return mapped_array(at / ARRAY), tuple(told["shape"])


@contextmanager
def asked(
    kind: str, path: Path, folder: Path, limits: Limits, name: str, template: Template | None, *, verb: str = "read",
    **told: object,
) -> Iterator[tuple[Mapping, Path]]:  # fmt: skip
    """What a process says of a file, and the folder where its results lie until the end of the block.

    ``kind``: of job; ``verb``: what is done to the file, for errors, which are those of `read_image`.
    """
    path = path.absolute()
    bounds = {
        "voxels": limits.voxels, "bytes": limits.array_bytes, "seconds": limits.seconds_per_reading,
        "memory": 3 * limits.array_bytes + ROOM,
    }  # fmt: skip
    job = {"kind": kind, "path": str(path), "limits": bounds, "verb": verb, **told}
    with _answer(job, folder.absolute(), name, template) as (answer, at):
        if "fault" in answer:
            logging.getLogger("bifseg.failures").error("level=error reader=%s", answer["fault"].replace(" ", "_"))
            raise WorkError(f"{name} was not {verb}, for a reason that is the server's: {answer['fault']}.")
        if "refused" in answer:
            refused = from_dict(answer["refused"])
            raise refused.of(name) if isinstance(refused, FileError) and refused.file == str(path) else refused
        yield answer, at


CRASHED = 1 << 31  # from here on, an exit status is Windows' word for a crash


@contextmanager
def _answer(job: dict, folder: Path, name: str, template: Template | None) -> Iterator[tuple[Mapping, Path]]:
    """Have a process do a job: its answer, and a folder of its own; InvalidInput where it gave none."""
    with folder_of(folder) as at:
        try:
            status = _status({**job, "folder": str(at)}, at, name, template)
        except LostError:
            lost = True  # whatever became of the process, it has nothing to do with the next one
        else:
            lost = False
            yield _told(status, at, name, job), at
    if lost:
        with _answer(job, folder, name, None) as answer:
            yield answer


@contextmanager
def folder_of(folder: Path) -> Iterator[Path]:
    """A folder of our own in a store's, until the end of the block."""
    at = scratch(folder, ".reading")
    at.mkdir(mode=0o700)
    try:
        yield at
    finally:
        shutil.rmtree(at, ignore_errors=True)


def _status(job: dict, at: Path, name: str, template: Template | None) -> int:
    """The exit status of a process that did a job, forked or, where there is no template, started; LostError where
    that died."""
    try:
        return _started(job, at) if template is None else template.run(job)
    except (subprocess.TimeoutExpired, TimeoutError):
        raise _too_long(name, job) from None


def _started(job: dict, at: Path) -> int:
    silent, env = subprocess.DEVNULL, {**os.environ, **ALONE, "TMPDIR": str(at)}  # libraries say what they read
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=silent, stderr=silent, env=env) as process:
        try:
            process.communicate(json.dumps(job).encode(), timeout=job["limits"]["seconds"])
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _told(status: int, at: Path, name: str, job: dict) -> Mapping:
    """What a process that ended so left as its answer."""
    if (at / ANSWER).is_file() and not status:
        return json.loads((at / ANSWER).read_text(encoding="utf-8"))
    if status in (-getattr(signal, "SIGXCPU", 24), -getattr(signal, "SIGKILL", 9)):
        raise _too_long(name, job)
    if status and shutil.disk_usage(at).free < WORDS:
        raise StorageFull(FULL)
    if 0 <= status < CRASHED:
        raise WorkError(f"{name} was not {job['verb']}: the process for it ended with the status {status}.")
    raise DamagedFile(name, f"cannot be {job['verb']}: the process that tried to crashed ({_crash(status)}).")


def _crash(status: int) -> str:
    """How a process that crashed ended: by a signal or, on Windows, with a status that says so."""
    return f"signal {-status}" if status < 0 else f"status 0x{status:08X}"


def _too_long(name: str, job: dict) -> TooLarge:
    return TooLarge(
        name,
        f"cannot be {job['verb']}: it took more than the {job['limits']['seconds']:g} s or the memory that one may.",
    )
