"""What tests of sessions share: a scan."""

import pytest

from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="session")
def scan():
    image, labels = phantom(seed=2, shape=(40, 36, 20))
    return image, labels
