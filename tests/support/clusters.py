"""Clusters of two workers on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def ray_of_two() -> Iterator[None]:
    """A Ray cluster; a machine with other work may take more than the half minute that Ray gives it to start."""
    ray = pytest.importorskip("ray")
    for patience in (True, True, False):
        try:
            ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
            break
        except Exception:
            ray.shutdown()
            if not patience:
                raise
    try:
        yield
    finally:
        ray.shutdown()
