"""What tests of the storage share: a session, and a store with the file that its session is exported to."""

import contextlib

import pytest
from coarse_grids import coarse_grids
from stored_sessions import begun, scan

from bifseg.storage import Store
from bifseg.storage.transfer import export


@pytest.fixture(autouse=True, scope="module")
def coarse():
    """It does not matter how good the masks are that are stored."""
    with coarse_grids():
        yield


@pytest.fixture
def id(store):
    return store.create(store.add_image(scan(), "ann"), "ann")


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """A store with a session, and the file that it is exported to."""
    folder = tmp_path_factory.mktemp("transfer")
    with contextlib.closing(Store(folder / "store")) as store:
        id = begun(store)
        export(store, id, folder / "session.zip")
        yield store, id, folder / "session.zip"


@pytest.fixture
def other(tmp_path):
    with contextlib.closing(Store(tmp_path / "other")) as store:
        yield store
