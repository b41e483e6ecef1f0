"""Results of `bifseg benchmark` as tables, figures and sentences: report.md, index.html and summary.json.

`rows` reads and checks, `groups` sorts; `paper`, `interactive`, `clicks`, `verdict` and `losses` compute what is shown;
`document` and `page` write it as Markdown and HTML from the same blocks, so that both hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bifseg.errors import InvalidInput
from bifseg.evaluation.figure import check_matplotlib
from bifseg.evaluation.report import clicks, interactive, losses, paper, verdict
from bifseg.evaluation.report.document import Document, Heading, Picture, Text, markdown, table_numbers
from bifseg.evaluation.report.groups import Group, group_rows
from bifseg.evaluation.report.header import header, how_it_was_run
from bifseg.evaluation.report.page import page
from bifseg.evaluation.report.rows import check_judges, read_about, read_results, read_rows
from bifseg.io.atomic import write_atomically, write_json, write_together

__all__ = ["make_document", "read_about", "read_results", "read_rows", "write_report"]

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
    title: str = "BIFSeg judged",
    figures: bool = True,
    pictures: Sequence[tuple[Path | tuple[str, bytes], str]] = (),
) -> dict:
    """Write report.md, index.html, summary.json and the figures into a folder, all or none; returns the summary.

    ``about``: what is known of each results file, as `read_results` returns it. ``pictures``: PNG files (paths, or
    names with contents) and their captions, to show as they are. Raises InvalidInput for no rows, for results of
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
    drawn: list[tuple[Picture, bytes]] = []
    if figures:
        from bifseg.evaluation.report.figures import draw_figures

        drawn = draw_figures(groups)
    document = make_document(rows, abouts, groups, title, [picture for picture, _ in drawn], [p for p, _ in files])
    summary = {
        "title": title, **document.numbers, "tables": {t.key: table_numbers(t) for t in document.tables},
        "about": abouts,
    }  # fmt: skip
    contents = {picture.file: content for picture, content in [*drawn, *files]}
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


def make_document(
    rows: Sequence[dict],
    abouts: Sequence[Mapping],
    groups: Sequence[Group],
    title: str,
    figures: Sequence[Picture] = (),
    pictures: Sequence[Picture] = (),
) -> Document:
    """The whole report, from what it comes down to, to how it was run."""
    document = Document()
    rounds = [group for group in groups if group.protocol == "rounds"]
    main = [group for k, group in enumerate(rounds) if group.dimension not in {g.dimension for g in rounds[:k]}]
    document.add(Heading(title, 1))
    blocks, document.numbers = header(rows, abouts, groups)
    if rounds:
        fastest, numbers = verdict.opening(main)
        document.numbers["fastest"] = numbers
        document.add(Heading("In short"), fastest)
        document.numbers["target"] = {}
        document.add(Heading("The target"), Text(_target_text()))
        for group in main:
            found, numbers = verdict.target(group)
            document.add(*found)
            document.numbers["target"][f"{group.dimension}d"] = numbers
    document.add(Heading("What was judged"), *blocks, Text(NOTE))
    if lost := [block for group in main for block in losses.losses(group)]:
        document.add(Heading("Where BIFSeg loses"), *lost)
    for group in main:
        document.add(
            Heading(f"{group.dimension}D"),
            *_figures(figures, f"curves-{group.dimension}d", f"boxes-{group.dimension}d"),
            *paper.paper_tables(group), *_figures(figures, f"ablation-{group.dimension}d"),
            *interactive.interactive_tables(group),
        )  # fmt: skip
    if users := interactive.users_tables(rounds):
        document.add(Heading("Users and boxes"), *users)
    if clicked := [group for group in groups if group.protocol != "rounds"]:
        document.add(Heading("Clicks"))
        for group in clicked:
            tables = {"challenge": clicks.challenge_tables, "noc": clicks.noc_tables}[group.protocol]
            start = {"challenge": "challenge-", "noc": "clicks-"}[group.protocol] + f"{group.dimension}d"
            document.add(*tables(group), *_figures(figures, start))
    if pictures:
        document.add(Heading("Pictures"), *pictures)
    document.add(*how_it_was_run(abouts))
    return document


def _target_text() -> str:
    return (
        "On objects of data sets that its network has not seen, BIFSeg is to reach Dice 0.90 in at most half "
        "the simulated user time of each of GrabCut, Random Walks, SlicSeg, GeoS and GrowCut, and never to end "
        "more than 0.01 of Dice below any of them on any structure."
    )


def _figures(figures: Sequence[Picture], *starts: str) -> list[Picture]:
    return [figure for figure in figures if figure.file.startswith(starts)]


def _named(pictures: Sequence[tuple[Path | tuple[str, bytes], str]]) -> list[tuple[Picture, bytes]]:
    found = []
    for source, caption in pictures:
        name, content = source if isinstance(source, tuple) else (Path(source).name, Path(source).read_bytes())
        found.append((Picture(name, caption), content))
    return found


def _writer(content: bytes):
    return lambda path: write_atomically(path, content)
