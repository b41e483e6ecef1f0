"""Write docs/reference from the code, and tables of results into other pages: ``python -m docs.generate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docs.generate import api, cli, formats, numbers, parameters

REFERENCE = Path(__file__).parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.page,
    "cli.md": cli.page,
    "formats.md": formats.page,
    "parameters.md": parameters.page,
}
NOTE = "<!-- Made of the code by `make docs`; do not edit. -->\n\n"


def text(name: str) -> str:
    """What the page of this name has to say, as the code is."""
    return NOTE + PAGES[name]().strip() + "\n"


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name in PAGES:
        (REFERENCE / name).write_text(text(name))
    for page in (numbers.ROOT / name for name in numbers.PAGES):
        page.write_text(numbers.filled(page.read_text(), page.parent))


if __name__ == "__main__":
    main()
