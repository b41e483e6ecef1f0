"""A report as a list of blocks, which are written as Markdown here and as HTML in `page`: one source, same numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """One entry of a table. ``numbers``: what ``text`` says, for `summary.json`. ``best``: in bold."""

    text: str
    numbers: Mapping | float | int | str | None = None
    best: bool = False


EMPTY = Cell("–")


@dataclass(frozen=True)
class Heading:
    """``level``: 1 is the title of the page."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; ``**bold**`` and ```code``` are all it knows."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list with dots."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """``key``: its name in `summary.json`. ``heads``: of all columns, the first ``fixed`` of which name the row."""

    key: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    fixed: int = 1
    notes: str = ""
    folded: bool = False  # long: the page shows it on demand


@dataclass(frozen=True)
class Picture:
    """A PNG file of the report's folder."""

    file: str
    caption: str


Block = Heading | Text | Items | Table | Picture


@dataclass
class Document:
    """``numbers``: what `summary.json` holds beside the tables' numbers."""

    blocks: list[Block] = field(default_factory=list)
    numbers: dict = field(default_factory=dict)

    def add(self, *blocks: Block) -> None:
        self.blocks += blocks

    @property
    def tables(self) -> list[Table]:
        return [block for block in self.blocks if isinstance(block, Table)]


def markdown(blocks: Iterable[Block]) -> str:
    """The whole report as GitHub's Markdown."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {_escaped(block.text)}")
        elif isinstance(block, Text):
            parts.append(_escaped(block.text))
        elif isinstance(block, Items):
            parts.append("\n".join(f"- {_escaped(text)}" for text in block.texts))
        elif isinstance(block, Picture):
            parts.append(f"![{_escaped(block.caption)}]({block.file})\n\n{_escaped(block.caption)}")
        else:
            parts.append(_table(block))
    return "\n\n".join(parts) + "\n"


def table_numbers(table: Table) -> dict:
    """A table for `summary.json`: its caption, and a mapping from head to number for every row."""
    rows = []
    for row in table.rows:
        rows.append(
            {
                head: cell.text if cell.numbers is None and k < table.fixed else cell.numbers
                for k, (head, cell) in enumerate(zip(table.heads, row, strict=True))
            }
        )
    return {"caption": table.caption, "rows": rows}


def plain(text: str) -> str:
    """Text without its marks."""
    return re.sub(r"\*\*|`", "", text)


def _table(table: Table) -> str:
    sides = ["---"] * table.fixed + ["---:"] * (len(table.heads) - table.fixed)
    lines = [
        f"**{_escaped(table.caption)}**",
        "",
        "| " + " | ".join(_escaped(head) for head in table.heads) + " |",
        "|" + "|".join(sides) + "|",
        *("| " + " | ".join(_bold(_escaped(cell.text), cell.best) for cell in row) + " |" for row in table.rows),
    ]
    return "\n".join(lines + (["", _escaped(table.notes)] if table.notes else []))


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _escaped(text: str) -> str:
    """Text that cannot break a table or become HTML; single stars are marks of significance and stay stars."""
    text = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"(?<!\*)\*(?!\*)", r"\\*", text)
