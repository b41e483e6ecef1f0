"""How often somebody may do something: a bucket of tries per name that refills evenly."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

NAMES = 10_000  # remembered; those not heard of for longest are forgotten, and start with a full bucket


class RateLimit:
    """``rate`` per second on average, ``burst`` at once, one at least.

    >>> limit = RateLimit(rate=1, burst=2, clock=lambda: 0.0)
    >>> [limit.wait("ann") for _ in range(3)]
    [0.0, 0.0, 1.0]
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, max(1.0, burst), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name: (tries left, when)

    def wait(self, name: str) -> float:
        """Take one try: 0, or where there is none the seconds until there is one."""
        left = self.left(name)
        if left >= 1:
            self._set(name, left - 1)
            return 0.0
        return (1 - left) / self._rate

    def left(self, name: str) -> float:
        """Tries there are now."""
        left, since = self._left.get(name, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - since) * self._rate)

    def _set(self, name: str, left: float) -> None:
        self._left[name] = left, self._clock()
        self._left.move_to_end(name)
        while len(self._left) > NAMES:
            self._left.popitem(last=False)
