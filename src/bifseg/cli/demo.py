"""``bifseg demo``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bifseg.cli.outputs import check_folder
from bifseg.cli.progress import progress
from bifseg.io.atomic import write_json, write_together


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")] = Path("demo-output"),
    image: Annotated[Path | None, typer.Option(help="A real scan instead of the synthetic one.")] = None,
    truth: Annotated[Path | None, typer.Option(help="The label map of that scan.")] = None,
    label: Annotated[int | None, typer.Option(min=1, help="The object in it; if not given, the largest.")] = None,
    dimension: Annotated[int | None, typer.Option(min=2, max=3, help="2 or 3; if not given, both.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the synthetic scan and the simulated user.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print Dice and times as JSON.")] = False,
) -> None:
    """Show the whole loop: a simulated user draws a box and scribbles where the mask is wrong.

    The default synthetic scan is picked for illustration; its Dice is no evidence of accuracy.
    """
    check_folder(output)

    from bifseg.evaluation import demo, figure

    figure.check_matplotlib()
    with progress(4) as say:
        say("Opening" if image else "Making a synthetic scan")
        case = demo.open_case(image, truth, label, seed)
        loops = []
        for d in [dimension] if dimension else case.dimensions:
            say(f"Segmenting in {d}D")
            loops.append(demo.run(case, d))
        say("Writing")
        result = {"seed": case.seed, "label": case.label, "loops": [loop.report() for loop in loops]}
        writers = demo.writers(case, loops) | {"demo.json": lambda path: write_json(path, result)}
        output.mkdir(parents=True, exist_ok=True)
        write_together({output / name: write for name, write in writers.items()})
    if as_json:
        print(json.dumps(result, indent=2))
        return
    from rich.console import Console

    Console().print(demo.table(loops))
    print(f"{len(writers)} files are in {output}; look at {output / 'demo.png'} first.")
