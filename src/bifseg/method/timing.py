"""Where the time went: milliseconds per named stage; and how much memory it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch(dict[str, float]):
    """Milliseconds spent in each stage, summed over visits.

    >>> clock = Stopwatch()
    >>> with clock("cut"):
    ...     pass
    >>> list(clock)
    ['cut']
    """

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self[stage] = self.get(stage, 0.0) + 1e3 * (time.perf_counter() - start)

    def add(self, milliseconds: Mapping[str, float]) -> None:
        """Take over what another stopwatch measured.

        Parameters
        ----------
        milliseconds
            By stage.
        """
        for stage, spent in milliseconds.items():
            self[stage] = self.get(stage, 0.0) + spent


def peak_memory() -> int | None:
    """The most memory that this process ever held.

    Returns
    -------
    int or None
        MiB; None where the system does not tell it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)
