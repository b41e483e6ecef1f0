"""``bifseg batch``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from bifseg.batch.table import COLUMNS, read_table
from bifseg.cli.cluster import connected
from bifseg.cli.options import Changes, ModelName, Preset, Refine, Seed, TaskData
from bifseg.cli.outputs import check_folder
from bifseg.cli.progress import progress
from bifseg.cli.tasks import tasks_in
from bifseg.errors import InvalidInput
from bifseg.io.formats import written_endings

TABLE = "CSV, or a JSON list. " + " ".join(f"{name}: {about}." for name, about in COLUMNS.items())


def batch(
    table: Annotated[Path, typer.Argument(help=TABLE)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to, or to go on with.")],
    model: ModelName = "default",
    task_data: TaskData = None,
    preset: Preset = "fast",
    change: Changes = None,
    refine: Refine = "auto",
    margin: Annotated[
        float, typer.Option(min=0, max=2, help="By which share of its extent the box around a mask is wider.")
    ] = 0.1,
    ending: Annotated[str, typer.Option(help=f"Of the masks' files: {', '.join(written_endings())}.")] = ".nii.gz",
    seed: Seed = 0,
    jobs: Annotated[int, typer.Option(min=-1, help="Processes of one thread; -1: one per core.")] = 1,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS", help="tcp://HOST:8786 of Dask; ray://HOST:10001, auto or local of Ray.")
    ] = "",
) -> int:
    """Segment the objects that a table lists, one after the other: a mask, measures and a picture of each.

    A stopped batch goes on where it was when the same command is given again; rows that were passed over are tried
    again. Rows that cannot be worked on are named on stderr, and the exit code is then 2.
    """
    if ending not in written_endings():
        raise InvalidInput(f"--ending is {ending!r}; it must be one of {', '.join(written_endings())}.")
    check_folder(output)
    rows = read_table(table)

    from bifseg.batch.run import batch
    from bifseg.batch.work import Settings
    from bifseg.method.parameters import check_refinement, chosen, parsed
    from bifseg.networks.checkpoint import load_model

    parameters = {"preset": preset, **parsed(change or [])}
    for dimension in (2, 3):
        chosen(parameters, dimension)
    check_refinement(refine)
    load_model(model)
    tasks = str(tasks_in(task_data).folder.absolute()) if any(row.task for row in rows) else ""
    settings = Settings(model, parameters, refine, margin, seed, ending, tasks)
    backend = "loky" if not cluster else "dask" if cluster.startswith(("tcp://", "tls://")) else "ray"
    with connected(backend, jobs, cluster), progress(len(rows)) as say:
        made = batch(
            rows, output, settings, jobs=jobs, backend=backend,
            progress=lambda done, all_, name: say(f"Row {done} of {all_}: {name}"),
        )  # fmt: skip
    for entry in made.entries:
        if entry["status"] != "done":
            print(f"bifseg: row {entry['row']}, {entry['name']}: {entry['sentence']}", file=sys.stderr)
            print(entry.get("trace", ""), end="", file=sys.stderr)
    others = len(rows) - made.statuses["done"]
    print(f"{made.statuses['done']} of {len(rows)} masks are in {output / 'masks'}, {made.kept} of them from before")
    return 1 if made.statuses["failed"] else 2 if others else 0
