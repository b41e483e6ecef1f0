"""Torch's threads in a process that may be another program's: nothing that it chose is touched, none waits awake."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bifseg.threads import is_chosen

_calm = threading.Event()  # set once `calm` has done its work
_lock = threading.Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on the calling thread alone: for products so small that threads would wait longer than they compute."""
    before = torch.get_num_threads()  # of this thread of Python's; each has its own
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def calm() -> None:
    """Have threads of GNU's OpenMP sleep while they wait, though it was loaded before anybody could tell it so.

    It does so by itself where it counts more threads than cores; so one more team of them is made, which sleeps until
    the process ends. Numbers of threads stay as they are, and so does what the user said in the environment.
    """
    if _calm.is_set() or sys.platform != "linux" or is_chosen() or torch.get_num_threads() == 1:
        return
    with _lock:
        if not _calm.is_set():
            threading.Thread(target=_team, name="bifseg-calm", daemon=True).start()
            _calm.wait()


def _team() -> None:
    torch.ones(1 << 17).add_(1)  # long enough for torch to ask for a team, which OpenMP keeps as long as this thread
    _calm.set()
    threading.Event().wait()
