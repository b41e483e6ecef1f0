import gc
import logging
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
KINDS = {
    "server": "server", "cli/test_cli_app.py": "server", "cli/test_cli_program.py": "server",
    "cli/test_cli_serve.py": "server", "page": "browser", "benchmarks": "benchmark", "test_deploy.py": "deploy",
    "test_loading.py": "server", "test_plain_cpu.py": "server", "test_portable.py": "server",
    "test_threads.py": "server",
}  # fmt: skip

# Files that share a server; and those that make an optimiser, for which torch loads as much again as it does at first.
TOGETHER = {
    "server/api/*": "api", "server/nninteractive/*": "nninteractive", "server/test_server_*": "server",
    "server/test_work.py": "server", "server/monailabel/test_slicer_passwords.py": "server",
    "training/test_train*": "training", "training/test_join.py": "training", "training/test_recipes.py": "training",
    "cli/test_cli_train.py": "training", "tasks/test_fitting.py": "training", "test_contributing.py": "training",
    "networks/test_networks.py": "training", "networks/test_checkpoint.py": "training",
}  # fmt: skip

# Folders of tests that compute or start most. In the others, no file takes more than a few seconds.
LONG = ("server", "training", "batch", "evaluation", "tasks")

# Read when torch is loaded, here and in the processes that tests start. Threads that wait for work do not spin, and
# where pytest-xdist runs several tests at once each has one core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whether a commit passes is no matter of luck: the same cases each time. `pytest --hypothesis-profile=search` draws
# others, for whoever wants to find what nobody thought of.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by where it lies, but for those marked already, and those that need real images.

    Those that start programs or browsers come first, then what else takes long, lest one worker of pytest-xdist be left
    with it at the end.
    """
    for item in items:
        file = item.path.relative_to(HERE)
        if item.get_closest_marker("server") is None:
            item.add_marker(_kind(file) or "unit")
        if "data" in item.fixturenames:
            item.add_marker("data")
    items.sort(key=lambda item: _rank(item.path.relative_to(HERE)))


def pytest_collection() -> None:
    """While modules are imported there is no garbage to look for."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was imported is no garbage: to look through it took a fifth of a second, hundreds of times.

    And what does not pass its messages on, as torch's seventy loggers, would be told to pytest six times a test.
    """
    gc.freeze()
    gc.enable()
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.propagate = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """With ``-n 4``, tests of browsers are one after the other, and so are those that start programs, and those of
    files that share a server or what they load; others are dealt out by file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = nodeid.partition("::")[0]
            file = Path(name).relative_to(HERE.name)
            if _starts_programs(file):
                return "browsers" if _kind(file) == "browser" else "programs"
            return next((TOGETHER[files] for files in TOGETHER if file.match(files)), name)

    return ByFile(config, log)


@cache
def _kind(file: Path) -> str | None:
    return next((KINDS[str(part)] for part in (file, *file.parents) if str(part) in KINDS), None)


@cache
def _rank(file: Path) -> int:
    if _starts_programs(file):
        return 0
    return 1 if file.parts[0] in LONG or len(file.parts) == 1 else 2


def _starts_programs(file: Path) -> bool:
    return _kind(file) in ("browser", "benchmark", "deploy") or (_kind(file) == "server" and file.parts[0] == "cli")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real labelled images: $BIFSEG_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("BIFSEG_DATA", HERE.parents[1] / "shared" / "data"))
    if not any(folder.glob("Dataset*")):
        pytest.skip(f"no shared data in {folder}; set BIFSEG_DATA to the folder that holds Dataset*")
    return folder


@pytest.fixture(scope="module")
def coarse() -> Iterator[None]:
    """Sessions compute less in a module where it does not matter how good masks are."""
    from coarse_grids import coarse_grids

    with coarse_grids():
        yield


@pytest.fixture
def store(tmp_path) -> Iterator:
    """An empty store."""
    from bifseg.storage import Store

    store = Store(tmp_path / "store")
    yield store
    store.close()
