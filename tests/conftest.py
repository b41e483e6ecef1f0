import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bifseg.store import Store


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real labelled images: $BIFSEG_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("BIFSEG_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not any(folder.glob("Dataset*")):
        pytest.skip(f"no shared data in {folder}; set BIFSEG_DATA to the folder that holds Dataset*")
    return folder


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    """An empty store."""
    store = Store(tmp_path / "store")
    yield store
    store.close()
