"""What reads one file of a stranger's, and then ends: forked from a template that has all libraries and no data, or
started, ``-m bifseg.server.uploads.reader_process``, a job on standard input.

The process holds nothing of anybody else, so that no reader, however it is cheated, has anything to give away; and it
may use so much memory, time and disk, so that whatever a file does to it costs one sentence. See
`bifseg.server.uploads.reading` for the other end.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import math
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

from bifseg.errors import BifsegError, StorageFull, TooLarge
from bifseg.io.archive import RATIO, SLACK, ZIP_FILES, check_apart, check_growth, opened
from bifseg.io.untrusted import check_listing, mapped

try:
    import resource
except ImportError:  # where there are no such limits, the parent's patience is the only one
    resource = None  # type: ignore[assignment]  # a module or None is what there is no type for

ARRAY, HEADERS, ANSWER = "array.npy", "headers", "answer.json"
HEADERS_BYTES = 256 << 20  # packed: they are kept, and read as a whole
RESERVE = 16 << 20  # bytes of the disk that are left free
CANNOT_RESERVE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # what some systems' disks answer
NICE = 10  # who draws comes first, and whose strokes are computed (`bifseg.server.workers.main`)
NO_NEW_PRIVILEGES, DEATH_SIGNAL, KILL = 38, 1, 9  # of Linux's prctl


def main(job: dict, parent: int | None = None) -> None:
    """Do a job: what came of it lies in its folder, ``answer.json`` last. ``parent``: the process it is to end with."""
    _confine(job)
    if parent is not None and os.getppid() != parent:  # which ended before it could be said that this shall, too
        return
    folder = Path(job["folder"])
    try:
        answer = _do(job, folder)
    except MemoryError:
        answer = {"refused": TooLarge(job["path"], f"needs more memory to be {job['verb']} than is allowed.").as_dict()}
    except Exception as error:
        answer = _told(error, job)
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _do(job: dict, folder: Path) -> dict:
    path, limits = Path(job["path"]), job["limits"]
    if job["kind"] not in ("array", "image", "labels"):
        from bifseg.server.uploads.jobs import JOBS

        _limit_memory(limits["memory"])
        return JOBS[job["kind"]](path, job, folder)
    if job["kind"] == "array":
        from bifseg.server.nninteractive.nnia import unpack
        from bifseg.server.uploads.channel import channel

        _limit_memory(limits["memory"])
        size = path.stat().st_size
        array = unpack(
            memoryview(mapped(path)), min(limits["bytes"], SLACK + RATIO * size)
        )  # no scan becomes so much larger
        keep(channel(array, limits["voxels"]), folder)
        return {"shape": array.shape}
    from bifseg.imaging.colours import joined
    from bifseg.io import images
    from bifseg.server.uploads.scan import geometry_of, image_from_upload, placed

    _limit_memory(limits["memory"])
    if job["kind"] == "labels":
        like = placed(np.broadcast_to(np.uint8(0), job["like"].pop("shape")), job["like"])
        keep(images.read_labels(path, like, allowed=(limits["voxels"], limits["bytes"])), folder)
        return {}
    if path.suffix == ".zip":
        _check_zip(path)
    words = _Words()
    logging.getLogger("bifseg.io").addHandler(words)
    room = RoomInFile(folder)
    image, headers = image_from_upload(path, limits["voxels"], limits["bytes"], series=job["series"], room=room)
    if not room.holds(image.array):
        keep(joined(image.array, image.colours), folder)
    answer = {"words": words.said, "geometry": geometry_of(image), "series": None}
    if headers is not None:
        if len(headers) > HEADERS_BYTES:
            raise TooLarge(path, f"has more than {HEADERS_BYTES >> 20} MiB of DICOM headers beside its pixels.")
        (folder / HEADERS).write_bytes(headers)
        from bifseg.server.uploads.jobs import facts

        with contextlib.suppress(Exception):  # who asks for them tries again, by itself
            answer["series"] = facts(headers)
    return answer


class _Words(logging.Handler):
    """What readers say of a file that they could read all the same."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _check_zip(path: Path) -> None:
    """Refuse a zip that would unpack to what it is not; one that is none is refused by who unpacks it."""
    check_listing(path, ZIP_FILES)
    try:
        with opened(path) as archive:
            check_apart(archive)
            size = check_growth(archive, path.stat().st_size)
    except TooLarge as error:
        raise error.of(path) from None
    _check_room(path.parent, size)


def _check_room(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size + RESERVE:
        raise OSError(errno.ENOSPC, "no room")


def keep(array: np.ndarray, folder: Path) -> None:
    """Put an array where the parent looks for it."""
    _check_room(folder, array.nbytes)
    draft = folder / f"draft-{ARRAY}"  # for the array may be made of what lies there
    np.save(draft, array, allow_pickle=False)
    draft.replace(folder / ARRAY)


class RoomInFile:
    """Room for a volume where the parent looks for it: it is read into that file, and never copied there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._array: np.ndarray | None = None  # (x, y, z), as it lies there

    def __call__(self, shape: tuple[int, ...], dtype: np.dtype, /) -> np.ndarray:
        """An array in C order; that of colours, and a second one, in memory."""
        if len(shape) != 3 or self._array is not None or not hasattr(os, "posix_fallocate"):
            return np.empty(shape, dtype)
        _check_room(self._folder, math.prod(shape) * dtype.itemsize)
        path = self._folder / ARRAY
        array = np.asarray(np.lib.format.open_memmap(path, "w+", dtype, shape[::-1], fortran_order=True))
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)  # a full disk is said here, no crash later
        except OSError as error:
            if error.errno not in CANNOT_RESERVE:
                raise
            return np.empty(shape, dtype)
        self._array = array
        return array.T

    def holds(self, array: np.ndarray) -> bool:
        """Whether an array is the one in the file, and all of it."""
        same = self._array
        return same is not None and (array.ctypes.data, array.shape, array.dtype, array.strides) == (
            same.ctypes.data, same.shape, same.dtype, same.strides,
        )  # fmt: skip


def _told(error: Exception, job: dict) -> dict:
    """An error as the parent hears of it: words for the user, or of a fault of ours the kind and the place alone."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        from bifseg.storage.full_disk import FULL  # here, for what belongs to it costs every reader half of its start

        return {"refused": StorageFull(FULL).as_dict()}
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        verb = "unpacks" if job["verb"] == "read" else "would come"
        return {"refused": TooLarge(job["path"], f"{verb} to more than is allowed.").as_dict()}
    if isinstance(error, BifsegError):
        return {"refused": error.as_dict()}
    place = traceback.extract_tb(error.__traceback__)[-1]
    return {"fault": f"{type(error).__name__} at {place.name}, line {place.lineno} of {Path(place.filename).name}"}


def _confine(job: dict) -> None:
    """Give up what a reader does not need."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(DEATH_SIGNAL, KILL)
        libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        with contextlib.suppress(OSError):  # where memory ends all the same, this process goes, and none that serves
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    if resource is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails
        seconds, size = int(job["limits"]["seconds"]), job["limits"]["bytes"] + (1 << 20)
        _limit(resource.RLIMIT_CPU, seconds)
        _limit(resource.RLIMIT_FSIZE, size)
        _limit(resource.RLIMIT_CORE, 0)  # what is in memory is about a patient


def _limit_memory(more: int) -> None:
    """Let the process have so many bytes beside what its libraries took."""
    if resource is not None and sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + more)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(json.load(sys.stdin))
