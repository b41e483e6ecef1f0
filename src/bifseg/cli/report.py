"""``bifseg report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bifseg.cli.outputs import check_folder
from bifseg.cli.progress import progress
from bifseg.errors import InvalidInput


def report(
    results: Annotated[list[Path], typer.Argument(help="Files that `bifseg benchmark` wrote: .jsonl, or .jsonl.gz.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    title: Annotated[str, typer.Option(help="Of the report.")] = "Interactive segmentation compared",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw curves and box plots.")] = True,
    pictures: Annotated[
        list[Path] | None,
        typer.Option(metavar="DATASET", help="Draw the worst, median and best objects of every method from this data."),
    ] = None,
    outlines: Annotated[
        bool, typer.Option(help="In those, outlines only: for scans that must not be passed on.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make tables and figures of benchmark results: index.html, report.md, summary.json.

    Several files are read together: 2D and 3D, other users, other protocols.
    """
    check_folder(output)
    inputs = {path.resolve() for path in results}
    for name in ("index.html", "report.md", "summary.json"):
        if (output / name).resolve() in inputs:
            raise InvalidInput(f"Cannot write {output / name}: it is an input of this command.")

    from bifseg.evaluation.report import read_results, write_report

    rows, about = read_results(results)
    sheets = _sheets(rows, about, pictures, not outlines) if pictures else []
    summary = write_report(rows, about, output, title=title, figures=figures, pictures=sheets)
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    print(f"{len(rows)} rows of {len(results)} file{'s' * (len(results) > 1)} are in {output / 'index.html'}")


def _sheets(rows: list[dict], abouts: list[dict], paths: list[Path], images: bool) -> list:
    """Pictures for the report, of data sets told apart by the names of their folders."""
    from functools import cache

    from bifseg.evaluation.sheets import draw_sheets
    from bifseg.io.datasets import Dataset, open_dataset

    folders = {path.absolute().name: path for path in paths}
    told = {name: labels for about in abouts for name, labels in about.get("datasets", {}).items()}
    opened = cache(open_dataset)

    @cache
    def find(name: str, label: str) -> Dataset | None:
        where = told.get(name, {}).get(label)
        if where is None or name not in folders:
            return None
        found = opened(folders[name], where["channel"])
        return Dataset(found.name, {label: tuple(where["values"])}, found.cases)

    with progress(6 * len({row["method"] for row in rows})) as say:
        return [((name, png), caption) for name, png, caption in draw_sheets(rows, find, images=images, progress=say)]
