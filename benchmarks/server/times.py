"""How long calls took."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def spread(seconds: list[float]) -> dict:
    """How many there were, and their spread."""
    p50, p95 = np.percentile(seconds, (50, 95))
    return {"n": len(seconds), "p50": round(float(p50), 4), "p95": round(float(p95), 4), "max": round(max(seconds), 3)}
