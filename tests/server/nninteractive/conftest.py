"""What tests of the nnInteractive protocol share: a server of their own, a scan, and a client that has sent it."""

import pytest
from nninteractive_clients import ORGAN, KillableServer, begin

from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="session")
def scan():
    """What a client has: image (1, z, y, x), spacing, and where the organ is."""
    image, labels = phantom(11)
    return image.array.T[None], image.spacing[::-1], labels.T == ORGAN


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = KillableServer(tmp_path_factory.mktemp("served") / "store")
    yield server
    server.close()


@pytest.fixture
def client(server, scan):
    with server.connect() as client:
        begin(client, scan)
        yield client
