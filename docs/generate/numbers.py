"""Tables of results between two comments of a page, made of evidence, paper and organs.json in docs/results."""

from __future__ import annotations

import os
import re
from pathlib import Path

from benchmarks.published import evidence_tables, experiment_tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGES = ("README.md", "docs/explanation/accuracy.md", "docs/explanation/paper.md")
BLOCKS = {name: source.block for source in (evidence_tables, experiment_tables) for name in source.BLOCKS}
MARKED = re.compile(r"(<!-- numbers: ([\w-]+);[^\n]*-->\n).*?(<!-- end of numbers -->)", re.S)


def filled(text: str, folder: Path) -> str:
    """A page's text with all that stands between its comments made anew. ``folder``: where the page lies."""

    def fill(match: re.Match) -> str:
        if match[2] not in BLOCKS:
            raise ValueError(f"There are no numbers {match[2]!r}; there are {', '.join(BLOCKS)}.")
        made = BLOCKS[match[2]](match[2], RESULTS)
        made = made.replace("{results}", Path(os.path.relpath(RESULTS, folder)).as_posix())
        return f"{match[1]}\n{made}\n\n{match[3]}"

    return MARKED.sub(fill, text)
