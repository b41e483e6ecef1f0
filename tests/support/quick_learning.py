"""What a task learns in a second: the classifier alone, from few pixels, where it does not matter on a small grid."""

from dataclasses import replace

import pytest

from bifseg.networks.checkpoint import Model, load_model
from bifseg.tasks import cross_validation, fitting, versions


def quicken(patched: pytest.MonkeyPatch) -> None:
    """Have tasks learn so while this is patched; tests/tasks has the trunk learn, too."""
    patched.setattr(fitting, "ROWS", 4000)
    patched.setattr(fitting, "learns_in_trunk", lambda network: False)


def coarsen(patched: pytest.MonkeyPatch) -> None:
    """Have tasks learn coarsely: on a quarter of the pixels that sessions without a task use, in few steps, and all of
    what they learnt is used or nothing."""
    patched.setattr(fitting, "ROWS", 2000)
    patched.setattr(fitting, "ITERATIONS", 40)
    patched.setattr(cross_validation, "STRENGTHS", (0.0, 1.0))
    patched.setattr(versions, "load_model", _coarse)


def _coarse(name: str, dimension: int) -> Model:
    model = load_model(name, dimension)
    return replace(model, size=min(model.size, 64))
