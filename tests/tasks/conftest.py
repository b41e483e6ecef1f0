"""Learning from few pixels takes a second."""

from collections.abc import Iterator

import pytest

from bifseg.tasks import learning


@pytest.fixture(autouse=True, scope="module")
def few_pixels() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(learning, "ROWS", 4000)
        yield
