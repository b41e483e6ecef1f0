"""``bifseg report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bifseg.cli.common import check_folder


def report(
    results: Annotated[list[Path], typer.Argument(help="Files that `bifseg benchmark` wrote: .jsonl.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    title: Annotated[str, typer.Option(help="Of the report.")] = "BIFSeg judged",
    figures: Annotated[bool, typer.Option("--figures/--no-figures", help="Draw curves and box plots.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Make tables and figures of benchmark results, laid out as the paper's: index.html, report.md, summary.json.

    Several files are read together: 2D and 3D, other users, other protocols.
    """
    check_folder(output)
    inputs = {path.resolve() for path in results}
    for name in ("index.html", "report.md", "summary.json"):
        if (output / name).resolve() in inputs:
            raise ValueError(f"Cannot write {output / name}: it is an input of this command.")

    from bifseg.evaluation.report import read_results, write_report

    rows, about = read_results(results)
    summary = write_report(rows, about, output, title=title, figures=figures)
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    for dimension, found in summary.get("target", {}).items():
        print(f"{dimension.upper()} target: {found['verdict']}")
    print(f"{len(rows)} rows of {len(results)} file{'s' * (len(results) > 1)} are in {output / 'index.html'}")
