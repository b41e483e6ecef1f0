"""``bifseg segment``."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.cli.options import Changes, ModelName, Preset, Refine, Seed, TaskData
from bifseg.cli.outputs import check_folder
from bifseg.cli.progress import progress
from bifseg.errors import InvalidInput, MissingFile
from bifseg.io.atomic import write_json, write_together
from bifseg.io.formats import titles, written_endings
from bifseg.loading import loading

if TYPE_CHECKING:
    import numpy as np

    from bifseg.imaging.image import Image
    from bifseg.prompts.interaction import Box
    from bifseg.session.session import Session
    from bifseg.tasks.store import Task

BOX = "Voxel ranges x,y,z in file order, half-open; a single index makes it a plane. Repeat it for several objects."

IMAGE = f"{titles()}; or a folder of DICOM slices."
OUTPUT = f"Mask to write: 0, 1; with several boxes 0, 1, 2... Its ending says how: {', '.join(written_endings())}."


def segment(
    image: Annotated[Path, typer.Argument(help=IMAGE)],
    output: Annotated[Path, typer.Option("-o", "--output", help=OUTPUT)],
    box: Annotated[list[str] | None, typer.Option(metavar="40:80,52:90,12", help=BOX)] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name of an object; one per box. Planes that have the same name are parts of one object."),
    ] = None,
    scribbles: Annotated[
        list[Path] | None,
        typer.Option(help="Label map: 1 foreground, 2 background; one per box. Without a box they make it."),
    ] = None,
    initial: Annotated[
        Path | None, typer.Option(help="Mask to start from; without a box, its extent and 10 % on every side.")
    ] = None,
    model: ModelName = "default",
    task: Annotated[
        str, typer.Option(help="Begin with what a task of `bifseg tasks` has learnt, in place of a model.")
    ] = "",
    task_data: TaskData = None,
    preset: Preset = "fast",
    change: Changes = None,
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Fill the planes between those that an object was drawn in.")
    ] = False,
    propagate: Annotated[
        str | None,
        typer.Option(metavar="end", help="Carry objects in planes on: until they end, to a range 5:20, to a plane 14."),
    ] = None,
    refine: Refine = "auto",
    probability: Annotated[Path | None, typer.Option(help="File for P(foreground), float32; one box only.")] = None,
    uncertainty: Annotated[Path | None, typer.Option(help="File for its entropy in bits; one box only.")] = None,
    report: Annotated[Path | None, typer.Option(help="JSON file for what was done and what it cost.")] = None,
    series: Annotated[
        str | None, typer.Option(help="Of several DICOM series in a folder or zip: its UID, number or description.")
    ] = None,
    label: Annotated[int | None, typer.Option(min=1, help="Of several labels in --initial, the object's.")] = None,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report instead of a line per object.")] = False,
) -> None:
    """Segment objects in a scan: a box for each, scribbles where its mask is wrong; or scribbles alone.

    Several boxes are worked on in their order; what is finished is background for those that follow. Objects in planes
    are then interpolated, and at last propagated, where that is asked for.
    """
    boxes, names, corrections = box or [], name or [], scribbles or []
    to = _planes(propagate)
    if task and model != "default":
        raise InvalidInput("--task and --model both name a network; give one of the two.")
    if label is not None and initial is None:
        raise InvalidInput("--label chooses one of the labels in --initial; give that, too.")
    _check_request(boxes, names, corrections, initial, alone=bool(probability or uncertainty))
    outputs = [path for path in (output, probability, uncertainty, report) if path]
    _check_files([path for path in (image, initial, *corrections) if path], outputs, report)

    with loading(keep=True):
        from bifseg.io.images import check_writable, headers_for, read_image, read_labels, write_image
        from bifseg.method.parameters import parsed
        from bifseg.method.timing import Stopwatch
        from bifseg.session.session import Session

    clock, changes = Stopwatch(), parsed(change or [])
    opening = None if boxes or initial else corrections.pop()
    with progress(2 + max(1, len(boxes)) + len(corrections)) as say:
        with clock("open"):
            say(f"Opening {image.name}")
            scan = read_image(image, series=series)
            for path in (output, probability, uncertainty):
                if path:
                    check_writable(path, scan)
            headers = headers_for(output, image, series)
            begun = _mask(initial, label, scan)
            first = None if opening is None else read_labels(opening, scan)
            found = _boxes(boxes, begun, first, scan)
            known = _task(task, task_data)
            session = Session(scan, model, {"preset": preset, **changes}, seed)
        with clock("segment"):
            wanted = zip_longest(found, names, corrections)
            objects = [_object(session, *each, begun, first, known, refine, say) for each in wanted]
            further = _further(session, interpolate, to, refine, say)

        def result() -> dict:
            named = {"task": task} if task else {"model": model}
            command = {"image": str(image), **named, "preset": preset, "refine": refine, "set": changes}
            times = {stage: round(ms, 2) for stage, ms in clock.items()}
            return {**session.report(), "command": command, "objects": objects, **further, "milliseconds": times}

        say("Writing")
        writers = {
            output: lambda path: write_image(path, session.labels, session.image, names=session.names, headers=headers),
            probability: lambda path: write_image(path, session.probability(), session.image),
            uncertainty: lambda path: write_image(path, session.uncertainty(), session.image),
            report: lambda path: write_json(path, result()),
        }
        write_together({path: clock("write")(writers[path]) for path in outputs})
    lines = [*map(_line, objects), *(f"{root}: {_told(about)}" for root, about in further.get("planes", {}).items())]
    print(json.dumps(result(), indent=2) if as_json else "\n".join(lines))


# ---- checked before anything is computed


def _check_request(
    boxes: list[str], names: list[str], corrections: list[Path], initial: Path | None, *, alone: bool
) -> None:
    if not boxes and not initial and not corrections:
        raise InvalidInput(
            "Say where the object is: give --box 40:80,52:90,12 (x,y,z), --initial MASK or --scribbles LABELS."
        )
    count = max(1, len(boxes))
    for option, given in (("--name", names), ("--scribbles", corrections)):
        if len(given) not in (0, count):
            raise InvalidInput(f"{option} is given {len(given)} times for {count} boxes; give one per box, or none.")
    if count > 1 and (alone or initial):
        raise InvalidInput("--initial, --probability and --uncertainty are about one object; give a single --box.")


def _check_files(inputs: list[Path], outputs: list[Path], report: Path | None) -> None:
    for path in inputs:
        if not path.exists():
            raise MissingFile(f"{path} does not exist.")
    for k, path in enumerate(outputs):
        possible = written_endings() if k == 0 else written_endings("numbers")
        if path != report and not path.name.lower().endswith(possible):
            raise InvalidInput(f"Cannot write {path}: the suffix must be one of {', '.join(possible)}.")
        if path.resolve() in [other.resolve() for other in (*inputs, *outputs[:k])]:
            raise InvalidInput(f"Cannot write {path}: it is an input, or another output, of this command.")
        if path.is_dir():
            raise IsADirectoryError(f"Cannot write {path}: it is a folder.")
        check_folder(path.parent)
        if not path.parent.is_dir():
            raise MissingFile(f"Cannot write {path}: the folder {path.parent} does not exist.")


# ---- segmenting


def _mask(initial: Path | None, label: int | None, scan: Image) -> np.ndarray | None:
    """The mask to start from; InvalidInput where it has several labels and none of them is chosen."""
    from bifseg.io.images import read_labels
    from bifseg.prompts.scribbles import only_label

    if initial is None:
        return None
    return only_label(read_labels(initial, scan), label, name=str(initial), option="--label ")


def _boxes(texts: list[str], initial: np.ndarray | None, first: np.ndarray | None, scan: Image) -> list[Box]:
    """The boxes that were given or, without any, the one around the initial mask or of the first scribbles."""
    from bifseg.prompts.first_scribbles import box_of
    from bifseg.prompts.interaction import Box, Patch

    if first is not None:
        return [box_of(Patch.of(first), scan.shape, scan.spacing)]
    boxes = [Box.parse(text, scan.shape) for text in texts]
    return boxes or ([] if initial is None else [Box.around(initial)])


def _task(name: str, folder: Path | None) -> Task | None:
    """The one of a name; None where none is named."""
    if not name:
        return None
    from bifseg.cli.tasks import tasks_in

    return tasks_in(folder).task(name)


def _object(
    session: Session,
    box: Box,
    name: str | None,
    scribbles: Path | None,
    initial: np.ndarray | None,
    first: np.ndarray | None,
    task: Task | None,
    refine: str,
    say: Callable[..., None],
) -> dict:
    """Begin an object by its box, a mask or its first scribbles, and correct it; what was done, ready for JSON."""
    from bifseg.io.images import read_labels
    from bifseg.tasks.priors import prior_of

    say(f"Box {box}")
    if name in session.names:
        _part(session, box, name, refine)
    else:
        prior = None if task is None else prior_of(task, session.image, box)
        ranges = box if first is None else None
        session.box(ranges, name, initial=initial, scribbles=first, refine=refine, prior=prior)
    reports = [session.report()["objects"][-1]]
    if scribbles:
        say("Scribbles")
        for step in session.rounds("scribble", read_labels(scribbles, session.image), refine=refine):
            say(f"Scribbles, round {step.index + 1}: energy {step.energy:.0f}", advance=0)
        reports.append(session.report()["objects"][-1])
    about = {key: value for key, value in reports[-1].items() if key not in ("milliseconds", "rounds")}
    if "millilitres" in about:
        about["millilitres"] = round(about["millilitres"], 3)
    begun = "initial mask" if initial is not None else "box" if first is None else "first scribbles"
    about["interactions"] = [
        {"with": kind, **{key: report[key] for key in ("voxels", "milliseconds", "rounds")}}
        for kind, report in zip((begun, "scribbles"), reports, strict=False)
    ]
    return about


def _part(session: Session, box: Box, name: str, refine: str) -> None:
    """Draw an object that there is in another plane, too."""
    session.select(name)
    first = session.state.objects[name].box
    if box.plane is None or box.plane != first.plane:
        raise InvalidInput(f"{name!r} has the boxes {first} and {box}; only planes across one axis are one object.")
    session.propagate(box.start[box.plane], refine="none")
    session.resize(box, refine=refine)


def _planes(text: str | None) -> int | str | tuple[int, int] | None:
    """Where --propagate leads."""
    if text is None or text == "end":
        return text
    try:
        start, colon, stop = text.partition(":")
        return (int(start), int(stop)) if colon else int(text)
    except ValueError:
        raise InvalidInput(f"--propagate is {text!r}; give end, a range such as 5:20, or a plane.") from None


def _further(
    session: Session, interpolate: bool, to: int | str | tuple[int, int] | None, refine: str, say: Callable[..., None]
) -> dict:
    """Interpolate and propagate every object that was drawn in planes; what that came to, ready for JSON."""
    if to is None and not interpolate:
        return {}
    planar = [name for name in session.names if session.state.objects[name].box.plane is not None]
    if not planar:
        raise InvalidInput("--interpolate and --propagate need an object in a plane: give a --box with a single index.")
    asked: list[tuple[str, dict]] = [("interpolate", {})] if interpolate else []
    asked += [] if to is None else [("propagate", {"to": to, "refine": refine})]
    for name in planar:
        for kind, arguments in asked:
            session.select(name)
            for step in session.rounds(kind, **arguments):
                say(f"{kind.capitalize()} {name}, round {step.index + 1}", advance=0)
    return {"planes": {name: _extent(session, name) for name in planar}}


def _extent(session: Session, name: str) -> dict:
    parts = session.state.family(name).values()
    axis = session.state.objects[name].box.plane
    assert axis is not None  # of an object in planes
    drawn = sorted(part.box.start[axis] for part in parts)
    return {"axis": "xyz"[axis], "indices": drawn, "voxels": int(sum(part.mask.sum() for part in parts))}


def _told(about: dict) -> str:
    """``14 planes, z 12 to 25, 3456 voxels``."""
    planes = about["indices"]
    return f"{len(planes)} planes, {about['axis']} {planes[0]} to {planes[-1]}, {about['voxels']} voxels"


def _line(about: dict) -> str:
    """One object for people: ``object 1: 1234 voxels, 5.62 ml, 0.31 s, energy 912 > 871 > 866``."""
    steps = about["interactions"]
    seconds = sum(sum(step["milliseconds"].values()) for step in steps) / 1000
    energies = [f"{record['energy']:.0f}" for record in steps[-1]["rounds"]]
    parts = [f"{about['voxels']} voxels", f"{seconds:.2f} s"]
    if "millilitres" in about:
        parts.insert(1, f"{about['millilitres']:.3g} ml")
    if "area_mm2" in about:
        parts.insert(1, f"{about['area_mm2']:.4g} mm²")
    if energies:
        parts.append(f"energy {' > '.join(energies)}")
    return f"{about['name']}: {', '.join(parts)}"
