"""Where the time went: milliseconds per named stage."""

from __future__ import annotations

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
        """Take over what another stopwatch measured."""
        for stage, spent in milliseconds.items():
            self[stage] = self.get(stage, 0.0) + spent
