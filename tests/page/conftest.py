"""What tests of the page share: a browser, and a server that shows the page, for all files until the last is done."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OPENED = ExitStack()
BROWSERS: list = []  # one, while it is open


@pytest.fixture(scope="module")
def browser() -> object:
    """A real browser, for all tests of the page; skips where there is none."""
    from chromium import browsing

    if not BROWSERS:
        BROWSERS.append(OPENED.enter_context(browsing()))
    return BROWSERS[0]


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Close the browser after the last test of the page: what drives it keeps an event loop running in this thread, and
    no other test could run its own."""
    if nextitem is None or HERE not in nextitem.path.parents:
        BROWSERS.clear()
        OPENED.close()


@pytest.fixture(scope="module")
def session(server, request) -> str:
    """A session on the ``SCAN`` of the test file."""
    from page_reader import begun

    return begun(server, request.module.SCAN)


@pytest.fixture
def reader(browser, server, session, request) -> Iterator:
    """A page at that session, at the voxel ``HERE`` of the test file."""
    from page_reader import reading

    with reading(browser, server.url) as reader:
        reader.open(server, request.module.SCAN, session)
        reader.go_to(request.module.HERE)
        yield reader


@pytest.fixture(scope="package")
def server(tmp_path_factory) -> Iterator:
    """A server that shows the page to whoever has a token, as often as they ask."""
    from serving import serving

    from bifseg.server.settings import Limits, Settings

    limits = Limits(requests_per_second=10_000)
    settings = Settings(tmp_path_factory.mktemp("page") / "store", require_tokens=True, threads=1, limits=limits)
    with serving(settings) as server:
        yield server
