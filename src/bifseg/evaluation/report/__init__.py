"""Results of `bifseg benchmark` as tables, figures and sentences: report.md, index.html and summary.json.

`rows` reads and checks, `groups` sorts; `fastest`, `refinements`, `interactive`, `comparisons` and `clicks` compute
what is shown; `document` and `page` write it as Markdown and HTML from the same blocks: both hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bifseg.errors import InvalidInput
from bifseg.evaluation.figure import check_matplotlib
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.report import interactive
from bifseg.evaluation.report.document import Block, Document, Heading, Picture, Text, markdown, table_numbers
from bifseg.evaluation.report.fastest import fastest
from bifseg.evaluation.report.groups import Group, group_rows
from bifseg.evaluation.report.header import header, how_it_was_run
from bifseg.evaluation.report.page import page
from bifseg.evaluation.report.refinements import refinement_tables
from bifseg.evaluation.report.rows import check_judges, read_about, read_results, read_rows
from bifseg.io.atomic import write_atomically, write_json, write_together

if TYPE_CHECKING:
    from bifseg.evaluation.report.figures import Figures

__all__ = ["Material", "make_document", "read_about", "read_results", "read_rows", "sections", "write_report"]

TITLE = "Interactive segmentation compared"
NOTE = (
    "Dice and NSD (surface Dice at 2 mm) in %: mean ± standard deviation over n objects, each averaged over "
    "its seeds (a seed is another box). **all**: the objects of a data set; **all objects**, **all cases**: "
    "each counts the same; **macro**: the mean of the means of (data set, object), so that each structure "
    "counts the same. **start**: the box, or for a method that begins with scribbles its first scribbles."
)


def write_report(
    rows: Sequence[dict],
    about: Sequence[Mapping] | Mapping,
    folder: Path,
    *,
    title: str = TITLE,
    figures: bool = True,
    pictures: Sequence[tuple[Path | tuple[str, bytes], str]] = (),
    compose: Callable[[Material], Document] | None = None,
) -> dict:
    """Write report.md, index.html, summary.json and the figures into a folder, all or none; returns the summary.

    ``about``: what is known of each results file, as `read_results` returns it. ``pictures``: PNG files (paths, or
    names with contents) and their captions, to show as they are. ``compose``: makes the document instead of
    `make_document`, from the same material. Raises InvalidInput for no rows, for results of
    different evaluators, and for figures without matplotlib; OSError where the folder cannot be written.
    """
    abouts = [about] if isinstance(about, Mapping) else list(about)
    if not rows:
        raise InvalidInput("There are no results to report; let `bifseg benchmark` write some.")
    check_judges(abouts, rows)
    if figures:
        check_matplotlib()
    groups = group_rows(rows)
    files = _named(pictures)
    drawn: Figures = {}
    if figures:
        from bifseg.evaluation.report.figures import draw_figures

        drawn = draw_figures(groups)
    shown = {group: [picture for picture, _ in pairs] for group, pairs in drawn.items()}
    material = Material(rows, abouts, groups, title, shown, [picture for picture, _ in files])
    document = (compose or make_document)(material)
    summary = {
        "title": title, **document.numbers, "tables": {t.key: table_numbers(t) for t in document.tables},
        "about": abouts,
    }  # fmt: skip
    contents = {picture.file: content for picture, content in [*chain(*drawn.values()), *files]}
    contents["report.md"] = markdown(document.blocks).encode()
    contents["index.html"] = page(document.blocks).encode()
    writers = {folder / name: _writer(content) for name, content in contents.items()}
    writers[folder / "summary.json"] = lambda path: write_json(path, summary)
    for path in writers:
        if path.is_dir():
            raise IsADirectoryError(f"Cannot write {path}: it is a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_together(writers)
    return summary


@dataclass(frozen=True)
class Material:
    """What a report is made of. ``figures``: by the group whose runs they draw. ``pictures``: shown as they are."""

    rows: Sequence[dict]
    abouts: Sequence[Mapping]
    groups: Sequence[Group]
    title: str
    figures: Mapping[Group, Sequence[Picture]]
    pictures: Sequence[Picture]

    @property
    def main(self) -> list[Group]:
        """Of the protocol ``rounds`` the first user's runs, in each dimension."""
        rounds = [group for group in self.groups if group.protocol == "rounds"]
        return [group for k, group in enumerate(rounds) if group.dimension not in {g.dimension for g in rounds[:k]}]


def make_document(material: Material) -> Document:
    """The whole report, from what it comes down to, to how it was run."""
    document = Document()
    parts = sections(material, document.numbers)
    document.add(*(block for blocks in parts.values() for block in blocks))
    return document


def sections(
    material: Material, numbers: dict, refinements: Callable[[Group], list[Block]] = refinement_tables
) -> dict[str, list[Block]]:
    """The report's sections by name, in their order; what they count is added to ``numbers``.

    ``refinements``: how networks and their refinements are told.
    """
    parts: dict[str, list[Block]] = {"title": [Heading(material.title, 1)]}
    if material.main:
        sentences, numbers["fastest"] = fastest(material.main)
        parts["short"] = [Heading("In short"), sentences]
    blocks, counts = header(material.rows, material.groups)
    numbers |= counts
    parts["judged"] = [Heading("What was judged"), *blocks, Text(NOTE)]
    for group in material.main:
        figures = material.figures.get(group, ())
        ablations = [figure for figure in figures if figure.file.startswith("ablation-")]
        parts[f"{group.dimension}d"] = [
            Heading(f"{group.dimension}D"), *(figure for figure in figures if figure not in ablations),
            *refinements(group), *ablations, *interactive.interactive_tables(group),
        ]  # fmt: skip
    if users := interactive.users_tables([group for group in material.groups if group.protocol == "rounds"]):
        parts["users"] = [Heading("Users and boxes"), *users]
    if others := [group for group in material.groups if group.protocol != "rounds"]:
        parts["clicks"] = [Heading("Clicks")]
        for group in others:
            parts["clicks"] += PROTOCOLS[group.protocol].load("tables")(group)
            parts["clicks"] += material.figures.get(group, ())
    if material.pictures:
        parts["pictures"] = [Heading("Pictures"), *material.pictures]
    parts["run"] = how_it_was_run(material.abouts)
    return parts


def _named(pictures: Sequence[tuple[Path | tuple[str, bytes], str]]) -> list[tuple[Picture, bytes]]:
    named = []
    for source, caption in pictures:
        name, content = source if isinstance(source, tuple) else (Path(source).name, Path(source).read_bytes())
        named.append((Picture(name, caption), content))
    return named


def _writer(content: bytes) -> Callable[[Path], None]:
    return lambda path: write_atomically(path, content)
