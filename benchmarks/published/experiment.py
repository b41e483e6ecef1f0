"""The paper's experiment on public data: ``python -m benchmarks.published.experiment judge DATA MODEL... -o ROWS``.

P-Net learns from some classes of a data set's develop fold, with the printed recipe (`EXPERIMENTS`: hearts, or organs).
``judge`` asks of every model what the paper's Tables I to III ask, on objects of the report fold, one scan of a patient
and one slice of that: the network alone, one cut (+CRF), fine-tuning without and with weights, first without scribbles,
then with one round of the same; and beside, what each part of the method is worth. ``tune`` finds the six parameters on
patients of the develop fold. Both go on where they were. ``report`` writes docs/results/paper.json, or organs.json, of
which docs and figure are made. The weights may not be published, since licences forbid it or nobody states one;
docs/explanation/paper.md has the commands that train them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.published import experiment_picture, experiment_tables, user_times
from bifseg.cli.data_sets import open_datasets
from bifseg.errors import InvalidInput
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.protocols.steps import Hand
from bifseg.evaluation.sample import sample
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.targets import Target, find_targets, in_fold
from bifseg.evaluation.tuning import Trial, search
from bifseg.io.atomic import write_json
from bifseg.method.crop import Crop
from bifseg.method.final_mask import final_mask
from bifseg.method.parameters import Parameters, preset
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Segment

RESULTS = Path(__file__).parents[2] / "docs" / "results"
USER = "careful"
LONGEST = 8  # rounds: twice as many as printed
SIX = {
    "lam": (0.5, 1.0, 2.0, 3.0, 5.0, 8.0), "sigma": (0.05, 0.1, 0.2), "t0": (0.1, 0.2, 0.3), "t1": (0.6, 0.7, 0.8, 0.9),
    "epsilon": (0.05, 0.1, 0.2), "omega": (2.0, 5.0, 10.0),
}  # fmt: skip
"""The six parameters that the paper found by grid search, and the values tried here; the printed are among them."""


@dataclass(frozen=True)
class Experiment:
    """What P-Net learns from, and the classes that it is judged on and never saw; ``dataset``: its folder's name."""

    dataset: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]


EXPERIMENTS = {
    "paper": Experiment("Dataset101_ACDC", ("LV", "MYO"), ("RV",)),
    "organs": Experiment(
        "Dataset107_AbdomenCT2D", ("liver", "spleen", "stomach", "aorta"), ("kidney_right", "kidney_left")
    ),
}
"""By the name of their file in docs/results."""


def variants(printed: Parameters) -> dict[str, Parameters]:
    """BIFSeg as printed and what is left without a part of it, by name.

    Of ``bifseg`` every label update is kept: the first is +CRF, the fifth what four rounds give, the last eight.
    ``once`` takes as many gradient steps, all of them on the first labels.
    """
    steps = printed.rounds * printed.iterations
    return {
        "bifseg": printed.but(rounds=LONGEST),
        "bifseg-w": printed.but(weighted=False),
        "without U_p": printed.but(t0=0.5, t1=0.5),
        "without U_s": printed.but(epsilon=0.0),
        "without omega": printed.but(omega=1.0),
        "once": printed.but(rounds=1, iterations=steps),
    }


SCRIBBLED = ("without U_s", "without omega")  # variants that without scribbles are BIFSeg itself
UNWEIGHTED = "without U_p"  # that without scribbles is BIFSeg(-w)


def masks_of(
    segment: Segment, crop: Crop, model: Model, parameters: Parameters, dropped: list[float] | None = None
) -> list[np.ndarray]:
    """The mask after every label update, in the box; the last is what a session would show.

    ``dropped`` is given the shares of object and background that have no weight in the first network update.
    """
    free, found = np.zeros(crop.box.shape, bool), []
    for step in adapt(replace(segment, parameters=parameters), crop, model, refine="auto", locked=free):
        if dropped is not None and step.index == 0 and step.weights is not None:
            parts = (step.weights[step.labels], step.weights[~step.labels])
            dropped += [round(float(np.mean(part == 0)), 4) if part.size else 0.0 for part in parts]
        mask = final_mask(crop, step.labels, step.probability, segment.scribbles, free, parameters)
        mask |= segment.scribbles == FOREGROUND
        mask &= segment.scribbles != BACKGROUND
        found.append(mask)
    return found


def judged(target: Target, model: Model, settings: Mapping[str, Parameters], seed: int = 0) -> dict:
    """Dice of one object by settings, then ``box`` or ``scribbles``, then variant; ``dropped`` as in `masks_of`.

    ``settings``: ``printed`` with all `variants`, others with BIFSeg and BIFSeg(-w) alone. The scribbles are a user's
    on the network's own mask, the same for all.
    """
    hand = Hand(user_of(USER), target, seed)
    box = hand.box()
    crop = Crop(target.image, box, model)
    truth, free = target.truth[box.slices], np.zeros(box.shape, bool)
    begun = begin("target", crop, model, next(iter(settings.values())))
    alone = _finished(adapt(begun, crop, model, refine="none", locked=free))
    whole = np.zeros_like(target.truth)
    whole[box.slices] = alone.mask
    drawing = hand.correct(1, whole, box)
    scribbled = replace(begun, scribbles=drawing.labels[box.slices])
    found: dict = {"network": round(dice(alone.mask, truth), 5), "strokes": drawing.effort.strokes}
    for name, parameters in settings.items():
        asked = variants(parameters)
        if name != "printed":
            asked = {"bifseg": parameters, "bifseg-w": parameters.but(weighted=False)}
        found[name] = {}
        for phase, segment in (("box", begun), ("scribbles", scribbled)):
            own: dict = {}
            for variant, changed in asked.items():
                if phase == "box" and variant in (*SCRIBBLED, UNWEIGHTED):
                    continue
                dropped: list[float] | None = [] if variant == "bifseg" else None
                masks = masks_of(segment, crop, model, changed, dropped)
                scores = [round(dice(mask, truth), 5) for mask in masks]
                if dropped is not None:
                    own["dropped"] = dropped
                own[variant] = scores if variant == "bifseg" else scores[-1]
            found[name][phase] = own
    return found


def _finished(steps: Iterable) -> Segment:
    steps = iter(steps)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def objects(folder: Path, labels: Sequence[str], patients: int) -> list[Target]:
    """One object of each class and patient of the report fold: a scan and a slice drawn by a hash of their names."""
    found = find_targets(open_datasets([folder], 0, [], labels), 2, classes=labels, fold="report").targets
    found.sort(key=lambda target: zlib.crc32(f"{target.case.dataset} {target.case.name}".encode()))
    chosen: dict[str, dict[str, Target]] = {}
    for target in found:
        chosen.setdefault(target.case.patient, {}).setdefault(target.label, target)
    return [own[label] for own in list(chosen.values())[:patients] for label in labels if label in own]


def settings_of(model: Model, tuned: Path | None) -> dict[str, Parameters]:
    """The printed parameters, those found by `tune`, and the preset that ships."""
    found = {"printed": preset("paper", 2)}
    if tuned is not None and tuned.exists():
        found["tuned"] = found["printed"].but(**json.loads(tuned.read_bytes())["found"])
    return found | {"ships": preset("fast", 2, model.tuned).but(unsupervised=True)}


def judge(
    folder: Path, models: Sequence[str], rows: Path, labels: Sequence[str], patients: int, tuned: Path | None
) -> None:
    """Add to ``rows`` what they do not hold yet, a line of JSON per model and object: settings that are new alone."""
    known = {_key(row, name, values) for row in read(rows) for name, values in row["settings"].items()}
    targets = objects(folder, labels, patients)
    for name in models:
        model = load_model(name)
        for target in targets:
            row = {
                "model": model.name, "sha256": model.sha256[:12], "steps": model.card.get("steps"),
                "learnt": str(model.card.get("data", "")), "hours": model.card.get("hours"),
                "case": target.case.name, "patient": target.case.patient, "label": target.label,
                "plane": target.plane and target.plane[1],
            }  # fmt: skip
            settings = {
                key: parameters for key, parameters in settings_of(model, tuned).items()
                if _key(row, key, parameters.as_dict()) not in known
            }  # fmt: skip
            if not settings:
                continue
            row["settings"] = {key: parameters.as_dict() for key, parameters in settings.items()}
            row |= judged(target, model, settings) | {
                "date": time.strftime("%Y-%m-%d"), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            }  # fmt: skip
            with rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{model.name}  {target.label} of {target.case.name}  network {100 * row['network']:.1f}", flush=True)


def read(path: Path) -> list[dict]:
    """The rows of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(row: Mapping, name: str, parameters: Mapping) -> str:
    told = [row[key] for key in ("sha256", "case", "label", "plane")]
    return json.dumps([*told, name, parameters], sort_keys=True)


def tune(data: Path, asked: Experiment, name: str, output: Path, count: int, samples: int) -> None:
    """Write the six parameters that a coordinate search finds, on classes and patients that were trained on.

    ``samples``: pixels of a network update; 0 for all, as printed.
    """
    model, start = load_model(name), preset("paper", 2).but(samples=samples)
    sets = [in_fold(one, "develop") for one in open_datasets([data / asked.dataset], 0, [], asked.seen)]
    drawn = sample(sets, 2, classes=asked.seen, objects=count, held_back=0.0)

    def say(trial: Trial) -> None:
        print(f"{trial.objective:.4f}", {key: getattr(trial.parameters, key) for key in SIX}, flush=True)

    found = search(model, drawn.tune, SIX, start=start, sweeps=1, rounds=1, progress=say)
    write_json(output, {
        "model": model.name, "sha256": model.sha256[:12], "steps": model.card.get("steps"), "objects": found.objects,
        "classes": list(asked.seen), "settings": len(found.trials), "before": round(found.before, 5),
        "after": round(found.after, 5), "found": {key: getattr(found.best, key) for key in SIX},
        "samples": samples, "date": time.strftime("%Y-%m-%d"),
    })  # fmt: skip


def report(experiment: str, rows: Path, tuned: Path | None, curves: Mapping[str, Path], folder: Path) -> None:
    """Write an experiment's numbers, of which tables of docs/explanation/paper.md are made, and a figure of hearts."""
    found = read(rows)
    if not found:
        raise InvalidInput(f"There are no rows in {rows}; judge some models first.")
    before = folder / f"{experiment}.json"
    old = json.loads(before.read_bytes()) if before.exists() else {}
    numbers = {
        **experiment_tables.summary(found),
        "tuned": json.loads(tuned.read_bytes()) if tuned is not None and tuned.exists() else old.get("tuned"),
        "curves": {name: experiment_tables.curve(read(log)) for name, log in curves.items()} or old.get("curves", {}),
    }
    if experiment == "paper":
        numbers["users"] = user_times.predictions(folder)
        experiment_picture.draw(numbers, folder)
    write_json(before, numbers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("judge", help="judge models, files or names")
    one.add_argument("data", type=Path, help="folder of the data sets")
    one.add_argument("models", nargs="+")
    one.add_argument("--labels", default="", help="classes, separated by commas; by default those it never saw")
    one.add_argument("--patients", type=int, default=12)
    two = commands.add_parser("tune", help="find the six parameters on patients trained on")
    two.add_argument("data", type=Path, help="folder of the data sets")
    two.add_argument("model")
    two.add_argument("--objects", type=int, default=12)
    two.add_argument("--samples", type=int, default=0, help="pixels of a network update; 0: all, as printed")
    two.add_argument("-o", "--output", type=Path, required=True)
    three = commands.add_parser(
        "report", help="write an experiment's numbers to docs/results, and the figure of hearts"
    )
    three.add_argument("--curve", nargs="+", default=[], metavar="NAME=LOG", help="logs of the training, .jsonl")
    for command in (one, two, three):
        command.add_argument("--experiment", choices=tuple(EXPERIMENTS), default="paper")
    for command in (one, three):
        command.add_argument("-o" if command is one else "--rows", dest="rows", type=Path, required=True, help=".jsonl")
        command.add_argument("--tuned", type=Path, help="what `tune` wrote")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    asked = EXPERIMENTS[arguments.experiment]
    if arguments.command == "judge":
        labels = [label.strip() for label in arguments.labels.split(",") if label] or asked.unseen
        judge(
            arguments.data / asked.dataset,
            arguments.models,
            arguments.rows,
            labels,
            arguments.patients,
            arguments.tuned,
        )
    elif arguments.command == "tune":
        tune(arguments.data, asked, arguments.model, arguments.output, arguments.objects, arguments.samples)
    else:
        curves = {name: Path(log) for name, _, log in (told.partition("=") for told in arguments.curve)}
        report(arguments.experiment, arguments.rows, arguments.tuned, curves, RESULTS)


if __name__ == "__main__":
    main()
