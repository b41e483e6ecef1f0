"""``bifseg train``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bifseg.cli.data_sets import names_of, open_datasets
from bifseg.cli.outputs import check_model
from bifseg.errors import InvalidInput
from bifseg.networks import trainable

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from bifseg.training.recipes import Recipe
    from bifseg.training.training_set import TrainingSet

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "bifseg"
LISTED = "Class names, separated by commas."
PLAIN = ("fast", "paper")  # recipes of so many steps, for any network and data


def train(
    dataset: Annotated[
        list[Path], typer.Argument(help="nnU-Net raw folder, MONAI datalist, or folder with images/ and masks/.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Model file to write: .safetensors.")],
    dimension: Annotated[int, typer.Option(min=2, max=3, help="2: slices; 3: volumes.")] = 2,
    network: Annotated[str, typer.Option(help=f"{trainable()}.")] = "multiscale",
    recipe: Annotated[
        str,
        typer.Option(
            help="fast; paper: as printed by Wang et al. 2018; or, for --minutes, one of ours: fcn2d, multiscale3d, "
            "halved3d and, for a GPU, large2d, large3d, which hear strokes; boxes2d, boxes3d, which hear none; or "
            "adapted2d, adapted3d, which hear none and learn to be fine-tuned to them; or rnet2d, rnet3d: an R-Net "
            "that hears them, behind the network of --start. For these DATASET is the folder of the public data sets, "
            "or what --pack made of it."
        ),
    ] = "fast",
    seen: Annotated[str, typer.Option(help=f"Classes to train on; all by default. {LISTED}")] = "",
    unseen: Annotated[str, typer.Option(help=f"Classes to validate on and never to train on. {LISTED}")] = "",
    region: Annotated[
        list[str] | None, typer.Option(metavar="NAME=1,3,4", help="A class made of several label values.")
    ] = None,
    channel: Annotated[int, typer.Option(min=0, help="Which image of each case.")] = 0,
    components: Annotated[bool, typer.Option(help="Every connected component is an object of its own.")] = False,
    slices: Annotated[int, typer.Option(min=1, help="In 2D: at most so many per class and case.")] = 24,
    fold: Annotated[
        str, typer.Option(help="develop or report: only that half of the patients, as `bifseg benchmark` halves them.")
    ] = "",
    held_back: Annotated[float, typer.Option(min=0, max=0.9, help="Share of the patients to validate on.")] = 0.2,
    synthetic: Annotated[float, typer.Option(min=0, max=1, help="Share of random scenes in what it sees.")] = 0.0,
    start: Annotated[str, typer.Option(help="A model to go on from: a name, or a .safetensors file.")] = "",
    steps: Annotated[int, typer.Option(min=0, help="0: as the recipe says.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Steps from one validation, and checkpoint, to the next.")] = 250,
    keep: Annotated[bool, typer.Option(help="Keep every model validated, too: OUTPUT's name with .stepN.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Fixes what is random, and who is held back.")] = 0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16 where that is faster.")] = False,
    cache: Annotated[Path, typer.Option(help="Folder where cut-out objects are kept.")] = CACHE,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None,
    shipped: Annotated[
        str,
        typer.Option(
            help="Train a model of the project again, such as pnet or unet; DATASET is the folder of the data sets."
        ),
    ] = "",
    minutes: Annotated[float, typer.Option(min=0.01, help="Of a recipe of ours: in all, earlier runs too.")] = 60,
    workers: Annotated[int, typer.Option(min=1, help="Of a recipe of ours: processes that draw strokes.")] = 1,
    pack: Annotated[
        bool, typer.Option(help="Only write to OUTPUT, in one file, all that a recipe of ours needs.")
    ] = False,
) -> None:
    """Train a network on labelled images: any object in a box, no classes.

    Give the same command again after an interruption: it goes on exactly where it was. Under torchrun the work is
    shared between processes. Writes OUTPUT (best validation), .last.safetensors, .jsonl (the log) and .state.
    """
    if pack:
        _pack(dataset[0], output)
        return
    check_model(output)
    if recipe not in PLAIN and not shipped:
        _by_the_clock(recipe, dataset[0], output, minutes, workers, device, seed, start, bf16)
        return

    import torch

    from bifseg.evaluation.targets import in_fold
    from bifseg.networks.checkpoint import load_model
    from bifseg.training import recipes
    from bifseg.training.train import join_processes, leave_processes
    from bifseg.training.train import train as steps_of
    from bifseg.training.training_set import TrainingSet

    _check_device(device)
    if threads:
        torch.set_num_threads(threads)
    begin = None
    if shipped:
        known = recipes.SHIPPED | recipes.COMPARED
        if shipped not in known:
            raise InvalidInput(f"Unknown model {shipped!r}; known are {', '.join(known)}.")
        plan = known[shipped]
        widely = any(phase.wider for phase in plan.phases)
        gather = TrainingSet.wider if widely else TrainingSet.permissive
        data, skipped = gather(dataset[0], plan.dimension, cache)
    else:
        begin = load_model(start, dimension) if start else None
        plan = recipes.own(network, dimension, recipe, steps=steps, synthetic=synthetic, started=begin is not None)
        classes = names_of(seen), names_of(unseen)
        sets = open_datasets(dataset, channel, region or [], [*classes[0], *classes[1]])
        if fold:
            sets = [half for one in sets if (half := in_fold(one, fold)).cases]
            if not sets:
                raise InvalidInput(f"No patient of these data sets belongs to the fold {fold!r}.")
        data, skipped = TrainingSet.labelled(
            sets, dimension, seen=classes[0], unseen=classes[1], components=components, slices=slices,
            held_back=held_back, seed=seed, cache=cache,
        )  # fmt: skip
    join_processes()
    leader = int(os.environ.get("RANK", 0)) == 0
    if leader:
        for sentence in skipped:
            print("bifseg:", sentence, file=sys.stderr)
    output.parent.mkdir(parents=True, exist_ok=True)
    records = steps_of(plan, output, data, seed=seed, start=begin, every=every, keep=keep, device=device, bf16=bf16)
    try:
        last = _follow(records, plan, leader, tensorboard)
    except KeyboardInterrupt:
        print("bifseg: stopped; give the same command again to go on from the last checkpoint.", file=sys.stderr)
        raise typer.Exit(130) from None
    if leader:
        _report(last, data, output, plan)
    leave_processes()


def _check_device(device: str) -> None:
    import torch

    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InvalidInput(f"There is no device {device!r} here; there is cpu{', cuda' * torch.cuda.is_available()}.")


def _pack(folder: Path, output: Path) -> None:
    from bifseg.training.bank import write_bank
    from bifseg.training.public_sets import permissive_volumes

    output.parent.mkdir(parents=True, exist_ok=True)
    size = write_bank(output, permissive_volumes(folder))
    print(f"Wrote {output}, {size / 1e6:.0f} MB.")


def _by_the_clock(
    name: str,
    source: Path,
    output: Path,
    minutes: float,
    workers: int,
    device: str,
    seed: int,
    start: str,
    bf16: bool,
) -> None:
    """`training.train_interactive.train`, shown line by line."""
    from bifseg.networks.checkpoint import load_model
    from bifseg.training.bank import read_bank
    from bifseg.training.interactive_recipes import RECIPES
    from bifseg.training.public_sets import learnt_from, permissive_volumes
    from bifseg.training.train_interactive import train

    if name not in RECIPES:
        raise InvalidInput(f"Unknown recipe {name!r}; known are {', '.join((*PLAIN, *RECIPES))}.")
    _check_device(device)
    recipe = RECIPES[name]
    began = load_model(start, recipe.dimension) if start else None
    packed = permissive_volumes(source) if source.is_dir() else read_bank(source, os.cpu_count() or 1)
    volumes = learnt_from(packed, recipe.dimension)
    output.parent.mkdir(parents=True, exist_ok=True)
    for record in train(
        recipe, volumes, output, minutes=minutes, workers=workers, device=device, seed=seed, start=began,
        bf16=bf16,
    ):  # fmt: skip
        if "loss" in record:
            dice = " ".join("  -  " if value is None else f"{value:.3f}" for value in record["dice"])
            print(
                f"step {record['step']}  {record['seconds']:.0f} s  loss {record['loss']:.3f}  Dice {dice}", flush=True
            )
    print(f"Wrote {output}.")


def _follow(records: Iterable[dict], plan: Recipe, leader: bool, tensorboard: Path | None) -> dict:
    """Drain a run, showing a bar with the time left; returns the last record of a validation."""
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    last: dict = {}
    with ExitStack() as stack:
        board = stack.enter_context(_board(tensorboard)) if leader and tensorboard else None
        shown = leader and sys.stderr.isatty()
        bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True, disable=not shown))
        task = bar.add_task("training", total=plan.steps)
        for record in records:
            bar.update(task, completed=record["step"])
            if board:
                board.add_scalar("loss", record["loss"], record["step"])
            if "score" in record:
                last = record
                bar.update(task, description=f"validation Dice {record['score']:.3f}")
                if leader and not shown:
                    print(f"step {record['step']}/{plan.steps}  validation Dice {record['score']:.3f}", flush=True)
                if board:
                    for name in ("dice", "score"):
                        board.add_scalar(name, record[name], record["step"])
    return last


def _board(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InvalidInput("--tensorboard needs TensorBoard: pip install tensorboard.") from None
    return SummaryWriter(str(folder))


def _report(last: dict, data: TrainingSet, output: Path, plan: Recipe) -> None:
    if not last:
        print(f"{output} is finished: it has all {plan.steps} steps.")
        return
    for name in ("seen", "unseen"):
        for label, value in last.get(name, {}).items():
            print(f"{name:<7} {label:<28} Dice {value:.3f}")
    print(f"Wrote {output}" + (f" and {output.with_suffix('.last.safetensors')}." if "seen" in last else "."))
