"""Learning in few steps takes some seconds."""

from collections.abc import Iterator

import pytest

from bifseg.tasks import cross_validation, fitting


@pytest.fixture(autouse=True, scope="module")
def few_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting, "STEPS", {2: 8, 3: 5})
        patched.setattr(cross_validation, "STRENGTHS", (0.0, 0.5, 1.0))
        yield
