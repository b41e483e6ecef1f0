"""The published report: `bifseg report`, and what is said of this project alone: its target, its losses, the paper.

``python -m benchmarks.published.report docs/results/rounds.jsonl.gz -o docs/results/rounds`` makes the published tables
and figures of rows that are there; `judge` makes the rows.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from pathlib import Path

from PIL import Image as Picture

from benchmarks.published.losses import losses
from benchmarks.published.paper import BOX_PLOTS, paper_tables
from benchmarks.published.target import TEXT, target
from bifseg.evaluation.report import Material, read_results, sections, write_report
from bifseg.evaluation.report.document import Document, Heading, Text
from bifseg.evaluation.report.document import Picture as Figure
from bifseg.io.atomic import write_atomically

TITLE = "BIFSeg judged"
COLOURS = 64  # of a figure


def published(material: Material) -> Document:
    """The user's report with the target, where BIFSeg loses, and the paper's tables in their places."""
    document = Document()
    figures = {group: [_as_in_the_paper(p, group.dimension) for p in own] for group, own in material.figures.items()}
    parts = sections(replace(material, figures=figures), document.numbers, paper_tables)
    if material.main:
        document.numbers["target"] = {}
        parts["short"] += [Heading("The target"), Text(TEXT)]
        for group in material.main:
            blocks, document.numbers["target"][f"{group.dimension}d"] = target(group)
            parts["short"] += blocks
    if lost := [block for group in material.main for block in losses(group)]:
        parts["judged"] += [Heading("Where BIFSeg loses"), *lost]
    document.add(*(block for blocks in parts.values() for block in blocks))
    return document


def _as_in_the_paper(figure: Figure, dimension: int) -> Figure:
    if not figure.file.startswith("boxes-"):
        return figure
    return replace(figure, caption=f"{figure.caption} The counterpart of the paper's Fig. {BOX_PLOTS[dimension]}.")


def write(results: list[Path], folder: Path, figures: bool = True) -> None:
    """The published report of some results files, and its verdicts on standard output."""
    rows, abouts = read_results(results)
    summary = write_report(rows, abouts, folder, title=TITLE, figures=figures, compose=published)
    for path in folder.glob("*.png"):
        write_atomically(path, _small(path.read_bytes()))
    for dimension, verdict in summary.get("target", {}).items():
        print(f"{dimension.upper()} target: {verdict['verdict']}")
    print(f"{len(rows)} rows are in {folder / 'index.html'}")


def _small(png: bytes) -> bytes:
    """A figure in a quarter of its bytes: it has few colours."""
    picture = Picture.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Picture.Dither.NONE)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="+", help="files that `judge` wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--no-figures", action="store_true", help="tables only")
    arguments = parser.parse_args()
    try:
        write(arguments.results, arguments.output, not arguments.no_figures)
    except (ValueError, OSError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
