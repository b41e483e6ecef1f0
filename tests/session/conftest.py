"""What tests of sessions share: a scan, and a way to compute less."""

import pytest
from coarse_grids import coarse_grids

from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="session")
def scan():
    image, labels = phantom(seed=2, shape=(40, 36, 20))
    return image, labels


@pytest.fixture(scope="module")
def coarse():
    """Where it does not matter how good masks are."""
    with coarse_grids():
        yield
