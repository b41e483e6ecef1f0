"""Shipped networks on a smaller grid: for tests of what is done with masks, not of how good they are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bifseg.networks import checkpoint
from bifseg.networks.checkpoint import Model

SIZES = {2: 48, 3: 24}


@contextmanager
def coarse_grids() -> Iterator[None]:
    """Have sessions of this process compute so."""
    read = checkpoint._read_shipped

    @cache
    def coarse(path: Path) -> Model:
        model = read(path)
        return replace(model, size=min(model.size, SIZES[model.dimension]))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(checkpoint, "_read_shipped", coarse)
        yield
