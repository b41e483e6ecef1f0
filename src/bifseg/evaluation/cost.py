"""What a call costs the machine: seconds, and the peak of its memory."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from bifseg.heaps import give_back

T = TypeVar("T")
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def measured(call: Callable[[], T]) -> tuple[T, float, float | None]:
    """The result of a call, its seconds, and by how many MiB its peak exceeded what the process held before.

    The peak is Linux's own (VmHWM, reset before the call, after memory that was freed went back to the system, so that
    what is used again counts); None where the system does not tell it.
    """
    before = _start()
    begun = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - begun
    if before is None or (peak := _kib("VmHWM:")) is None:
        return result, seconds, None
    return result, seconds, max(0.0, (peak - before) / 1024)


@contextlib.contextmanager
def only_new_garbage() -> Iterator[None]:
    """In the block `measured` looks for garbage among what was made in it alone, not among all that was imported."""
    ours = not _frozen_before()
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


@cache
def _frozen_before() -> bool:
    """Whether somebody else in this process froze objects; asked once, for they are counted one by one."""
    return gc.get_freeze_count() > 0


def _start() -> int | None:
    gc.collect()
    give_back()
    try:
        CLEAR.write_text("5", encoding="utf-8")  # forgets the peak so far
        return _kib("VmRSS:")
    except OSError:
        return None


def _kib(name: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)
