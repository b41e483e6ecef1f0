"""``bifseg tune``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.cli.cluster import connected
from bifseg.cli.data_sets import names_of, open_datasets
from bifseg.cli.outputs import check_folder, check_model
from bifseg.errors import InvalidInput
from bifseg.io.atomic import write_json, write_together

if TYPE_CHECKING:
    from bifseg.evaluation.tuning import SearchResult, Trial
    from bifseg.method.parameters import Parameters


def tune(
    model: Annotated[str, typer.Argument(help="A name that `bifseg info` lists, or a .safetensors file.")],
    dataset: Annotated[
        list[Path], typer.Argument(help="nnU-Net raw folder, MONAI datalist, or folder with images/ and masks/.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write: .safetensors.")],
    seen: Annotated[str, typer.Option(help="Classes to tune on, separated by commas; all by default.")] = "",
    region: Annotated[
        list[str] | None, typer.Option(metavar="NAME=1,3,4", help="A class made of several label values.")
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="Which image of each case.")] = 0,
    objects: Annotated[int, typer.Option(min=4, help="At most so many in all, of all classes and patients.")] = 60,
    held_back: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the patients to confirm on.")] = 0.3,
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="lam=1,3,5", help="Values to try, instead of the built-in ones; repeat it."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Of scribbles by the simulated user.")] = 2,
    workers: Annotated[int, typer.Option(min=-1, help="Processes; -1: one per core.")] = 1,
    backend: Annotated[str, typer.Option(help="loky (this machine), ray or dask.")] = "loky",
    cluster: Annotated[str, typer.Option(help="Address of a running ray or dask cluster.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Fixes what is random, and who is held back.")] = 0,
    log: Annotated[Path | None, typer.Option(help="JSON file for every setting tried.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Find the parameters that suit a network on labelled images, with a simulated user.

    Starts from the model's `fast` preset and writes the model with what it found, which is then its `fast`. Where that
    does not win on patients held back, the parameters stay as they were.
    """
    _check_files(output, log, dataset)

    from bifseg.evaluation.sample import sample
    from bifseg.evaluation.tuning import SPACE, checked_space, save_tuned, search
    from bifseg.method.parameters import preset
    from bifseg.networks.checkpoint import load_model

    network = load_model(model)
    start = preset("fast", network.dimension, network.tuned)
    space = _space(vary, start) if vary else SPACE[network.dimension]
    space = checked_space(space, start)
    with connected(backend, workers, cluster):
        names = names_of(seen)
        sets = open_datasets(dataset, channel, region or [], names)
        drawn = sample(sets, network.dimension, classes=names, objects=objects, held_back=held_back, seed=seed)
        for sentence in drawn.skipped:
            print("bifseg:", sentence, file=sys.stderr)
        found = search(
            network, drawn.tune, space, start=start, confirm=drawn.confirm or None,
            rounds=rounds, seed=seed, workers=workers, backend=backend, progress=_progress(start),
        )  # fmt: skip
    best = found.best.as_dict()
    changes = {name: [value, best[name]] for name, value in start.as_dict().items() if value != best[name]}
    about = {"model": network.name, "sha256": network.sha256, "output": str(output), "changes": changes}
    writers = {output: lambda path: save_tuned(network, found, path)}
    if log:
        command = {"datasets": [str(path) for path in dataset], "channel": channel, "seed": seed}
        writers[log] = lambda path: write_json(path, {**about, **command, **found.as_dict()})
    for path in writers:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_together(writers)
    print(json.dumps({**about, **found.summary()}, indent=2) if as_json else _table(found, changes, output))


# ---- checked before anything is computed


def _check_files(output: Path, log: Path | None, datasets: Sequence[Path]) -> None:
    check_model(output)
    if log and log.suffix != ".json":
        raise InvalidInput(f"Cannot write {log}: the suffix of the log must be .json.")
    inputs = {path.resolve() / name for path in datasets for name in ("", "dataset.json", "labels.json")}
    if log and log.resolve() in inputs:
        raise InvalidInput(f"Cannot write {log}: it is an input of this command.")
    if log and log.is_dir():
        raise IsADirectoryError(f"Cannot write {log}: it is a folder.")
    if log:
        check_folder(log.parent)


def _space(texts: Sequence[str], start: Parameters) -> dict[str, list]:
    """The values of ``--vary lam=1,3,5``, each of its parameter's type."""
    space: dict[str, list] = {}
    for text in texts:
        name, _, values = (part.strip() for part in text.partition("="))
        if not names_of(values):
            raise InvalidInput(f"--vary is {text!r}; it must be a parameter and values: lam=1,3,5.")
        if name not in start.as_dict():
            start.but(**{name: values})  # says which are known
        space.setdefault(name, []).extend(_value(name, value) for value in names_of(values))
    return space


def _value(name: str, text: str) -> float | int | bool:
    from bifseg.method.parameters import Parameters

    kind = type(getattr(Parameters(), name))
    known = {"true": True, "1": True, "false": False, "0": False} if kind is bool else {}
    try:
        return known[text.lower()] if known else kind(text)
    except (KeyError, ValueError):
        needed = {bool: "true or false", int: "whole numbers", float: "numbers"}[kind]
        raise InvalidInput(f"--vary {name} has the value {text!r}; it takes {needed}.") from None


# ---- what is said


def _progress(start: Parameters) -> Callable[[Trial], None]:
    """A line on stderr for every setting."""
    tried: list[float] = []

    def say(trial: Trial) -> None:
        tried.append(trial.objective)
        changed = {n: v for n, v in trial.parameters.as_dict().items() if v != start.as_dict()[n]}
        setting = ", ".join(f"{name} {value}" for name, value in changed.items()) or "as it was"
        line = f"setting {len(tried)}: objective {trial.objective:.4f}, best {max(tried):.4f}  ({setting})"
        print(line, file=sys.stderr, flush=True)

    return say


def _table(best: SearchResult, changes: dict[str, list], output: Path) -> str:
    rows = [f"{name:<12} {old} -> {new}" for name, (old, new) in changes.items()]
    rows.append(f"{'objective':<12} {best.before:.4f} -> {best.after:.4f} on {best.objects} objects")
    if best.confirmed_before is not None:
        then, now = best.confirmed_before, best.confirmed_after
        rows.append(f"{'confirmed':<12} {then:.4f} -> {now:.4f} on {best.confirmed_objects} objects of other patients")
    if not changes:
        rows.append("Nothing was surely better: the parameters stay as they were.")
    elif best.chosen == best.start:
        rows.append("The best did not win on the patients held back: the parameters stay as they were.")
    return "\n".join([*rows, f"Wrote {output}."])
