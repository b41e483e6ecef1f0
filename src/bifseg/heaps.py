"""The heaps of glibc's malloc, as processes that live for months need them; another C library's stay as they are.

Each thread takes a heap of its own, up to eight for a core. What one of them frees is used again in its heap alone, so
that a process whose threads come and go holds many times what is in use.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Mapping

ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
FEW = 2  # one for threads that have begun to wait for the other
CHOICES = {"MALLOC_ARENA_MAX": "", "GLIBC_TUNABLES": "arena_max"}  # by these a user says how many there are


def is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the user said in the environment how many heaps there are; that stands."""
    return any(word in environment[name] for name, word in CHOICES.items() if name in environment)


def share_heaps() -> None:
    """Have all threads of this process share a few heaps; to be called before there are threads."""
    if not is_chosen(os.environ):
        _call("mallopt", ARENA_MAX, FEW)


def give_back() -> None:
    """Give memory that is free back to the system: gaps between what is in use."""
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            getattr(ctypes.CDLL(None), name)(*numbers)
