"""``bifseg tasks``."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.cli.app import own_folder
from bifseg.cli.outputs import check_model
from bifseg.errors import InvalidInput

if TYPE_CHECKING:
    from bifseg.tasks.store import Task, Tasks
    from bifseg.tasks.version import Version

tasks_app = typer.Typer(name="tasks", help="Teach the network a kind of object by those that you finished.")
Data = Annotated[Path | None, typer.Option(help="The folder of the tasks; by default in your own.")]
Name = Annotated[str, typer.Argument(help="Of the task: 'left kidney, CT'.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Dimension = Annotated[int, typer.Option(min=2, max=3, help="2: objects in planes. 3: in volumes.")]


def tasks_in(data: Path | None) -> Tasks:
    """The tasks of a folder, or of this user."""
    from bifseg.tasks.store import Tasks

    return Tasks(own_folder() / "tasks" if data is None else data)


@tasks_app.command()
def add(
    name: Name,
    image: Annotated[Path, typer.Argument(help="The scan.")],
    mask: Annotated[Path, typer.Argument(help="Of a finished object in it; it should be right everywhere.")],
    box: Annotated[
        str | None,
        typer.Option(metavar="40:80,52:90,12", help="As you drew it; by default the mask's extent and 10 %."),
    ] = None,
    label: Annotated[int | None, typer.Option(min=1, help="Of several labels in the mask, the object's.")] = None,
    patient: Annotated[
        str,
        typer.Option(help="Whose it is, for objects of one patient are no two witnesses; by default the scan's name."),
    ] = "",
    series: Annotated[
        str | None, typer.Option(help="Of several DICOM series in a folder or zip: its UID, number or description.")
    ] = None,
    learning: Annotated[bool, typer.Option("--learn/--no-learn", help="Learn from it at once.")] = True,
    data: Data = None,
) -> None:
    """Add a finished object to a task, which its first object begins, and learn from all there are.

    The part of the scan in the box is copied into the task's folder. Nothing leaves this machine.
    """
    from bifseg.io.images import read_image, read_labels
    from bifseg.prompts.interaction import Box
    from bifseg.prompts.scribbles import only_label
    from bifseg.tasks.example import Example
    from bifseg.tasks.versions import learn_version

    task = tasks_in(data).task(name, new=True)
    scan = read_image(image, series=series)
    found = only_label(read_labels(mask, scan), label, name=str(mask), option="--label ")
    around = Box.around(found) if box is None else Box.parse(box, scan.shape)
    example = Example.of(scan, found, around, patient or image.name, {"image": image.name, "mask": mask.name})
    task.add(example)
    count = len(task.remembered(example.dimension))
    print(f"The task {name!r} remembers {count} object{'s' * (count > 1)} in {example.dimension}D")
    if learning:
        print(_sentence(task, learn_version(task, example.dimension)))


@tasks_app.command()
def learn(name: Name, dimension: Dimension, data: Data = None) -> None:
    """Learn from the objects of a task, unless that was done; the result is a version of the task."""
    from bifseg.tasks.versions import learn_version

    task = tasks_in(data).task(name)
    print(_sentence(task, learn_version(task, dimension)))


@tasks_app.command(name="list")
def list_(data: Data = None, as_json: AsJson = False) -> None:
    """Print all tasks, what they remember, and which version is in use."""
    tasks = tasks_in(data)
    rows = [_about(tasks.task(name)) for name in tasks.names()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        told = ", ".join(f"{row['examples'][d]} in {d}D ({row['in_use'][d]})" for d in row["examples"])
        print(f"{row['name']}: {told}")


@tasks_app.command()
def show(name: Name, data: Data = None, as_json: AsJson = False) -> None:
    """Print what a task remembers, and what each version learnt, was proved on and gained."""
    task = tasks_in(data).task(name)
    examples, versions = task.remembered(), task.versions()
    if as_json:
        told = [
            {"digest": e.digest, "patient": e.patient, "box": str(e.box), "dimension": e.dimension, **e.source}
            for e in examples
        ]
        print(json.dumps({**_about(task), "objects": told, "versions": [asdict(v) for v in versions]}, indent=2))
        return
    for example in examples:
        print(f"{example.digest}  {example.dimension}D  {example.patient}  {example.box}")
    for version in versions:
        print(_sentence(task, version))


@tasks_app.command()
def export(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write: .safetensors.")],
    dimension: Dimension,
    data: Data = None,
) -> None:
    """Write the network of the version in use as a model for every command; it holds no image."""
    from bifseg.io.atomic import write_together

    task = tasks_in(data).task(name)
    version = task.exportable(dimension)
    if version is None:
        raise InvalidInput(f"The task {name!r} uses the shipped network in {dimension}D; there is nothing to export.")
    check_model(output)
    weights = task.checked_weights(version)
    write_together({output: lambda path: shutil.copyfile(weights, path)})


@tasks_app.command()
def reject(
    name: Name, version: Annotated[int, typer.Argument(help="Its number, as show prints it.")], data: Data = None
) -> None:
    """Use a version no more; the one before it is used instead, or the shipped network."""
    tasks_in(data).task(name).reject(version)


@tasks_app.command()
def restore(
    name: Name, version: Annotated[int, typer.Argument(help="Its number, as show prints it.")], data: Data = None
) -> None:
    """Use a version again that was rejected."""
    tasks_in(data).task(name).restore(version)


@tasks_app.command()
def remove(
    name: Name, digest: Annotated[str, typer.Argument(help="Of the object, as show prints it.")], data: Data = None
) -> None:
    """Take an object out of a task; versions that learnt from it are used no more."""
    tasks_in(data).task(name).remove(digest)


@tasks_app.command()
def delete(name: Name, data: Data = None) -> None:
    """Forget a task: its copies of scans, its masks and versions."""
    tasks_in(data).delete(name)


def _about(task: Task) -> dict:
    examples = {d: len(task.remembered(d)) for d in (2, 3)}
    used = {d: task.improved(d) for d in examples}
    in_use = {d: f"version {v.number}" if v else "the shipped network" for d, v in used.items()}
    return {
        "name": task.name, "examples": {d: n for d, n in examples.items() if n},
        "in_use": {d: told for d, told in in_use.items() if examples[d]},
    }  # fmt: skip


def _sentence(task: Task, version: Version) -> str:
    from bifseg.tasks.learning import LEAST

    known = f"{len(version.examples)} objects of {version.patients} patients"
    head = f"Version {version.number}, {version.dimension}D, {known}: "
    if not version.shipped:
        return head + f"the shipped network stays, for it takes {LEAST} patients to tell whether another is better"
    shipped = 100 * sum(version.shipped) / len(version.shipped)
    if not version.better:
        return (
            head
            + f"the shipped network stays (first masks with Dice {shipped:.1f} %); nothing was better beyond chance"
        )
    told = (
        f"first masks of objects left out go from Dice {shipped:.1f} to {shipped + 100 * version.gain:.1f} % "
        f"(the network goes {version.strength:.0%} of the way, their place counts {version.shape:.0%}"
        f"{f', the reach of strokes is {version.reach}' if version.reach else ''})"
    )
    return head + told + (", rejected" if version.rejected else "")
