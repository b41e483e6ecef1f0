"""What a task learns in a second: in few steps and, where it does not matter, on a small grid."""

from dataclasses import replace

import pytest

from bifseg.networks.checkpoint import Model, load_model
from bifseg.tasks import cross_validation, fitting, versions


def quicken(patched: pytest.MonkeyPatch) -> None:
    """Have tasks learn so while this is patched."""
    patched.setattr(fitting, "STEPS", {2: 20, 3: 4})


def coarsen(patched: pytest.MonkeyPatch) -> None:
    """Have tasks learn coarsely: on a quarter of the pixels that sessions without a task use, and all of what they
    learnt is used or nothing."""
    patched.setattr(fitting, "STEPS", {2: 60, 3: 4})
    patched.setattr(cross_validation, "STRENGTHS", (0.0, 1.0))
    patched.setattr(versions, "load_model", _coarse)


def _coarse(name: str, dimension: int) -> Model:
    model = load_model(name, dimension)
    return replace(model, size=min(model.size, 64))
