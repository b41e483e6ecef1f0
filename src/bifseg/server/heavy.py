"""Work that takes seconds or gigabytes: off the event loop, and little of it at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

AT_ONCE = 2  # images or results in memory; who comes later waits
Result = TypeVar("Result")

_limiter = CapacityLimiter(AT_ONCE)


async def heavily(work: Callable[..., Result], *arguments: object, **options: object) -> Result:
    """What ``work`` returns, done in a thread when it is its turn."""
    return await to_thread.run_sync(partial(work, *arguments, **options), limiter=_limiter)
