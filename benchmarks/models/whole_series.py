"""One object after another: ``python -m benchmarks.models.whole_series 3 -o whole.jsonl --fold report``.

For every class with at least `FEWEST` patients, one object of each patient in a random order, at most ``--length``: the
careful user works on it until Dice 0.90 or for ``--rounds`` rounds, once with the shipped network and once with what
the task has learnt from those before. Then it is finished, with its true mask, and the task learns anew (after as many
objects as `LEARNT` says; a server learns after each). A line of JSON for each object; at the end a table: strokes and a
user's time over the length of the series.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.models.objects import DATA
from benchmarks.models.series import GOOD, example_of, patient_of
from bifseg.evaluation.benchmark import Run, judge
from bifseg.evaluation.statistics import bootstrap
from bifseg.evaluation.targets import Target, find_targets
from bifseg.io.datasets import open_dataset
from bifseg.networks.checkpoint import load_model, save_model
from bifseg.tasks.learning import learn

SETS = {2: ("Dataset101_ACDC", "Dataset107_AbdomenCT2D"), 3: ("Dataset101_ACDC", "Dataset108_Hippocampus")}
FEWEST = 8  # patients of a class
LEARNT = (3, 4, 5, 6, 8, 10, 12, 16)  # finished objects
PARTS = ((0, 3), (3, 10), (10, None))  # of a series: before anything is learnt, its beginning, the rest


def one_of_each_patient(dimension: int, fold: str) -> Iterator[tuple[str, list[Target]]]:
    """Every class of which enough patients have an object, and the first such object of each."""
    for name in SETS[dimension]:
        of_class: dict[str, dict[str, Target]] = defaultdict(dict)
        for target in find_targets([open_dataset(DATA / name)], dimension, fold=fold).targets:
            of_class[target.label].setdefault(patient_of(target), target.unread())
        for label, own in of_class.items():
            if len(own) >= FEWEST:
                yield f"{name.split('_', 1)[1]} {label}", list(own.values())


def whole_series(name: str, targets: Sequence[Target], order: int, given: argparse.Namespace, folder: Path) -> Iterator:
    rng = np.random.default_rng((order, len(targets)))
    shipped = load_model("default", given.dimension)
    used, learnt = shipped.name, None
    finished: list = []
    for k, index in enumerate(rng.permutation(len(targets))[: given.length]):
        target = targets[index]
        if k in LEARNT:
            learnt = learn(shipped, finished)
            used = shipped.name
            if learnt.model is not None:
                used = str(folder / f"{name}-{order}-{k}.safetensors")
                save_model(learnt.model, used)
        told = {"shipped": _worked_on(target, shipped.name, given.rounds)}
        told["task"] = told["shipped"] if used == shipped.name else _worked_on(target, used, given.rounds)
        yield {"class": name, "order": order, "finished": k, "patient": patient_of(target), **told}
        finished.append(example_of(target))


def _worked_on(target: Target, network: str, rounds: int) -> dict:
    """Dice of the first mask and after each round; strokes and seconds until it was good, or all there were."""
    rows = judge(Run(target.unread(), "bifseg", network, "careful", 0, "rounds", rounds))
    last = next((k for k, row in enumerate(rows) if row["dice"] >= GOOD), len(rows) - 1)
    return {
        "dice": [row["dice"] for row in rows],
        "strokes": sum(row["strokes"] for row in rows[: last + 1]),
        "seconds": round(sum(row["user_seconds"] for row in rows[: last + 1]), 1),
        "good": rows[last]["dice"] >= GOOD,
    }


def table(lines: Iterable[dict]) -> str:
    groups: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        groups[line["class"]].append(line)
    parts = [
        "| class | objects | first mask | strokes | user's seconds | got to 0.90 |",
        "|---|---|---|---|---|---|",
    ]
    everything = [line for own in groups.values() for line in own]
    for name, own in (*groups.items(), ("all", everything)):
        for start, stop in PARTS:
            chosen = [line for line in own if start <= line["finished"] and (stop is None or line["finished"] < stop)]
            if not chosen:
                continue
            first = [100 * np.mean([line[kind]["dice"][0] for line in chosen]) for kind in ("shipped", "task")]
            sums = [
                [sum(line[kind][key] for line in chosen) for kind in ("shipped", "task")]
                for key in ("strokes", "seconds", "good")
            ]
            span = f"{start + 1} to {stop}" if stop else f"from {start + 1}"
            parts.append(
                f"| {name}, {span} | {len(chosen)} | {first[0]:.1f} → {first[1]:.1f} | {sums[0][0]} → {sums[0][1]} "
                f"| {sums[1][0]:.0f} → {sums[1][1]:.0f} | {sums[2][0]} → {sums[2][1]} |"
            )
    later = [line for line in everything if line["finished"] >= PARTS[0][1]]
    for key in ("strokes", "seconds"):
        saved = np.array([line["shipped"][key] - line["task"][key] for line in later], float)
        low, high = bootstrap(saved, [line["patient"] for line in later])
        before = np.mean([line["shipped"][key] for line in later])
        parts.append(
            f"\n{key} saved by the task from the fourth object on: {saved.mean():.2f} [{low:.2f}, {high:.2f}] "
            f"of {before:.2f} an object"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--fold", default="develop", choices=("develop", "report"))
    parser.add_argument("--length", type=int, default=20)
    parser.add_argument("--orders", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    with TemporaryDirectory() as folder, given.output.open("w") as file:
        found = list(one_of_each_patient(given.dimension, given.fold))
        for order in range(given.orders):
            for name, targets in found:
                for line in whole_series(name, targets, order, given, Path(folder)):
                    lines.append(line)
                    print(json.dumps(line), file=file, flush=True)
    print(table(lines))
