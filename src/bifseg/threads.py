"""Threads that sleep while they wait for each other, so that a busy machine does not stop them.

OpenMP's threads wait awake for some milliseconds, again and again, after every small step. On cores that other
programs use, too, they keep each other from working: a refinement of 0.1 s then takes seconds. What is told to them
in the environment, they read when torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

WAITS = {
    "GOMP_SPINCOUNT": "1000",  # GNU's, on Linux: turns awake, some microseconds
    "KMP_BLOCKTIME": "0",  # LLVM's and Intel's, on macOS and Windows: milliseconds awake
}
CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # by any of them a user says how threads wait


def is_chosen(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the user said in the environment how threads wait; that stands."""
    environment = os.environ if environment is None else environment
    return any(name in environment for name in CHOICES)


def waits(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """What to add to the environment of a process that is ours, so that its threads sleep while they wait."""
    return {} if is_chosen(environment) else dict(WAITS)


def limited(count: int, *others: str) -> dict[str, str]:
    """What to add to the environment of a process that is ours, so that libraries use so many threads; ``others``:
    libraries beside those of NumPy, SciPy and torch."""
    return {f"{name}_NUM_THREADS": str(count) for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", *others)}


def sleep_while_waiting() -> None:
    """Say it in the environment of this process, and of those that it will start: before torch is loaded, and only
    where the process is ours (the command line, a server, a benchmark)."""
    os.environ.update(waits())
