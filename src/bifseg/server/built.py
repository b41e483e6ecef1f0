"""The files of the page, where they were built; to ask for that takes no server."""

from __future__ import annotations

from pathlib import Path

STATIC = Path(__file__).with_name("static")  # what `make page` builds of web/
NOT_BUILT = (
    "The page was not built: type make app, which needs Node.js 20 or newer, or install a wheel, which contains it."
)


def is_built() -> bool:
    """Whether there is a page to show."""
    return (STATIC / "index.html").is_file()
