"""What tests of the server share: a running one with two workers, and clients of its users."""

from collections.abc import Iterator

import httpx
import pytest
from api_calls import API, BOX, begin, do
from serving import Served, serving

from bifseg.server.settings import Limits, Settings

LIMITS = Limits(upload_bytes=4 << 20, array_bytes=16 << 20, voxels=2 << 20, requests_per_second=10_000)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory) -> Iterator[Served]:
    """One server for all files whose tests need no settings of their own; each test has sessions of its own."""
    with serving(Settings(tmp_path_factory.mktemp("server") / "store", threads=1, workers=2, limits=LIMITS)) as server:
        yield server


@pytest.fixture(scope="module")
def server(shared_server) -> Served:
    """The server a test talks to; a file whose tests need other settings has a fixture of this name."""
    return shared_server


@pytest.fixture(scope="module")
def ann(server) -> Iterator[httpx.Client]:
    """A client of the user ann."""
    with server.client("ann") as client:
        yield client


@pytest.fixture(scope="module")
def bob(server) -> Iterator[httpx.Client]:
    """A client of the user bob."""
    with server.client("bob") as client:
        yield client


@pytest.fixture
def lease(ann) -> Iterator[dict[str, str]]:
    """The header that says which of ann's clients of the nnInteractive protocol speaks."""
    headers = {"X-Lease-Token": ann.post("/claim").json()["lease_token"]}
    yield headers
    ann.post("/release", headers=headers)


@pytest.fixture
def id(ann) -> Iterator[str]:
    """A session of ann's on the phantom, with one object."""
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    do(ann, id, "box", {**BOX, "refine": "none"})
    yield id
    ann.delete(f"{API}/sessions/{id}")
