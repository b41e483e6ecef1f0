"""``bifseg benchmark``."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bifseg.cli.cluster import connected
from bifseg.cli.data_sets import names_of, open_datasets
from bifseg.cli.outputs import check_folder
from bifseg.errors import InvalidInput
from bifseg.evaluation.methods import METHODS, STANDARD
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.io.atomic import write_json

if TYPE_CHECKING:
    from bifseg.evaluation.benchmark import Run

OTHERS = ", ".join(name for name in METHODS if name not in STANDARD)
ROUNDS = 5


def benchmark(
    context: typer.Context,
    dataset: Annotated[
        list[Path], typer.Argument(help="nnU-Net raw folder, MONAI datalist, or folder with images/ and masks/.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Results to write or go on with: .jsonl.")],
    methods: Annotated[str, typer.Option(help=f"Separated by commas; also {OTHERS}.")] = ",".join(STANDARD),
    users: Annotated[
        str, typer.Option(help="careful, sloppy, line, contour, clicks, human; careful:20 for looser boxes.")
    ] = "careful",
    dimension: Annotated[int, typer.Option(min=2, max=3, help="2: a slice per case and label. 3: volumes.")] = 2,
    labels: Annotated[str, typer.Option(help="Objects to segment, separated by commas; all by default.")] = "",
    region: Annotated[
        list[str] | None, typer.Option(metavar="NAME=1,3,4", help="An object made of several label values.")
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="Which image of each case.")] = 0,
    cases: Annotated[str, typer.Option(help="Names of the cases, with wildcards: 'FETAL_CRL*'.")] = "*",
    fold: Annotated[
        str, typer.Option(help="develop or report: the half of the patients to tune on, or the other.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Cases per data set.")] = None,
    networks: Annotated[
        str, typer.Option(help="Of methods that learn: names that `bifseg info` lists, or .safetensors files.")
    ] = "default",
    protocol: Annotated[
        str, typer.Option(help=" ".join(f"{name}: {entry.help}." for name, entry in PROTOCOLS.items()))
    ] = "rounds",
    rounds: Annotated[int, typer.Option(min=0, help="Of scribbles after the box, in the protocol rounds.")] = ROUNDS,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulated user: another one, another box.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Boxes per object: so many seeds, one after the other.")] = 1,
    jobs: Annotated[int, typer.Option(min=-1, help="Processes of one thread; -1: one per core.")] = 1,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS", help="tcp://HOST:8786 of Dask; ray://HOST:10001, auto or local of Ray.")
    ] = "",
    server: Annotated[str, typer.Option(help="Address of an nnInteractive server, for that method.")] = "",
) -> None:
    """Judge interactive methods on labelled objects with simulated users: one JSON line per step.

    A stopped run goes on where it was when the same command is given again. `bifseg report` makes tables of the rows.
    """
    names, people, nets = names_of(methods), names_of(users), names_of(networks)
    about = output.with_suffix(".about.json")
    _check_output(output, about, dataset)

    from bifseg.evaluation.benchmark import benchmark, plan
    from bifseg.evaluation.methods import check_methods
    from bifseg.evaluation.simulated_users import HUMAN, user_of
    from bifseg.evaluation.targets import find_targets

    check_methods(names)
    for person in people or [""]:
        user_of(person)
    backend = "loky" if not cluster else "dask" if cluster.startswith(("tcp://", "tls://")) else "ray"
    with connected(backend, jobs, cluster), _progress() as say:
        wanted = names_of(labels)
        sets = open_datasets(dataset, channel, region or [], wanted)
        found = find_targets(
            sets, dimension, classes=wanted, cases=cases, fold=fold, limit=limit,
            human=any(person.startswith(HUMAN) for person in people), progress=say,
        )  # fmt: skip
        for sentence in found.skipped:
            print("bifseg:", sentence, file=sys.stderr)
        runs = plan(
            found.targets, names, nets, people, range(seed, seed + repeats), protocol,
            _count(protocol, rounds), server,
        )  # fmt: skip
        output.parent.mkdir(parents=True, exist_ok=True)
        write_json(about, _joined(about, _about(runs, dataset, output, context.obj, jobs, backend, channel)))

        def progress(done: int, all_: int) -> None:
            at = runs[min(done, all_ - 1)]
            say(f"Run {done} of {all_}: {at.method}, {at.target.label} of {at.target.case.name}", done / all_)

        made = benchmark(runs, output, jobs=jobs, backend=backend, progress=progress)
    objects = f"{len(found.targets)} object{'s' * (len(found.targets) > 1)}"
    print(f"{len(runs)} runs on {objects} are in {output}, {made} of them new; bifseg report {output} -o DIR")


def _count(protocol: str, rounds: int) -> int:
    """Of steps after the start: what the protocol says, or the user."""
    fixed = PROTOCOLS[protocol].count if protocol in PROTOCOLS else None
    return rounds if fixed is None else fixed


def _check_output(output: Path, about: Path, datasets: Sequence[Path]) -> None:
    if output.suffix != ".jsonl":
        raise InvalidInput(f"Cannot write {output}: the suffix of the results must be .jsonl.")
    for path in (output, about):
        if path.is_dir():
            raise IsADirectoryError(f"Cannot write {path}: it is a folder.")
    if output.parent.resolve() in {path.resolve() for path in datasets}:
        raise InvalidInput(f"Cannot write {output}: that folder is a data set; choose another.")
    check_folder(output.parent)


def _about(
    runs: Sequence[Run],
    datasets: Sequence[Path],
    output: Path,
    words: Sequence[str],
    jobs: int,
    backend: str,
    channel: int,
) -> dict:
    """What `report` says of the run: when, where, with what; a machine's name and paths outside the command do not."""
    from importlib.metadata import version

    from bifseg.evaluation import metrics, simulated_users
    from bifseg.evaluation.methods import settings_of
    from bifseg.networks.checkpoint import load_model

    models = {network: load_model(network) for network in dict.fromkeys(run.network for run in runs) if network}
    settings: dict[str, dict] = {}
    for run in runs:
        if run.network:
            model = models[run.network]
            settings.setdefault(f"{run.method} ({model.name})", settings_of(run.method, model))
        else:
            settings.setdefault(run.method, settings_of(run.method, None, run.server))
    named = {str(path): path.name for path in (*datasets, output)}  # where they lie is nobody's business
    judged: dict[str, dict] = {}
    for run in runs:
        labels = judged.setdefault(run.target.case.dataset, {})
        labels[run.target.label] = {"channel": channel, "values": list(run.target.values)}
    packages = ("bifseg", "numpy", "scipy", "torch", "scikit-learn", "scikit-image")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "processes": jobs,
        "backend": backend,
        "versions": {"evaluator": metrics.VERSION, "users": simulated_users.VERSION, **_versions(packages, version)},
        "commands": [shlex.join(["bifseg", *(named.get(word, word) for word in words)])],
        "datasets": judged,
        "methods": settings,
        "models": {
            model.name: {
                "sha256": model.sha256, "dimension": model.dimension, "data": model.card.get("data", "unknown"),
                "hours": model.card.get("hours"), "parameters": sum(p.numel() for p in model.network.parameters()),
            }
            for model in models.values()
        },
    }  # fmt: skip


def _joined(path: Path, about: dict) -> dict:
    """What is told of this command, joined with what the file tells of others that wrote to the same results."""
    try:
        before = json.loads(path.read_bytes())
        joined: dict[str, Any] = {key: {**before[key], **about[key]} for key in ("datasets", "methods", "models")}
        for name, labels in about["datasets"].items():
            joined["datasets"][name] = {**before["datasets"].get(name, {}), **labels}
        joined["commands"] = list(dict.fromkeys([*before["commands"], *about["commands"]]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return about
    return {**about, **joined}


def _versions(packages: Sequence[str], version: Callable[[str], str]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError

    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar with the time left on stderr where that is a terminal; elsewhere a line now and then."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda text, share: bar.update(task, description=text, completed=share)
        return
    begun = time.monotonic()
    said = [begun]

    def say(text: str, share: float) -> None:
        now = time.monotonic()
        if now - said[0] >= 60:
            left = "" if share <= 0 else f", about {(now - begun) * (1 - share) / share / 60:.0f} min left"
            print(f"bifseg: {text}{left}", file=sys.stderr, flush=True)
            said[0] = now

    yield say
