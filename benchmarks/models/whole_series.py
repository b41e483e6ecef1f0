"""One object after another: ``python -m benchmarks.models.whole_series 3 -o whole.jsonl --fold report``.

For every class with at least `FEWEST` patients, one object of each patient in a random order, at most ``--length``: the
careful user works on it until Dice 0.90 or for ``--rounds`` rounds, once with the shipped network and once with what
the task has learnt from those before. Then it is finished, with its true mask, and the task learns anew (after as many
objects as `LEARNT` says; a server learns after each). A line of JSON for each object; at the end a table: strokes and a
user's time over the length of the series.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.models.objects import DATA
from benchmarks.models.series import (
    GOOD,
    by_class,
    example_of,
    judged,
    network_for,
    options,
    patient_of,
    taught,
    until_good,
    worked_on,
)
from bifseg.evaluation.statistics import bootstrap
from bifseg.evaluation.targets import Target, find_targets
from bifseg.io.datasets import open_dataset
from bifseg.networks.checkpoint import load_model
from bifseg.tasks.learning import Learnt

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
    learnt, looks, finished = Learnt(None, None), [], []
    for k, index in enumerate(rng.permutation(len(targets))[: given.length]):
        target = targets[index]
        if k in LEARNT:
            learnt, looks = taught(shipped, finished), [one.look for one in finished]
        told = {"shipped": _told(worked_on(target, shipped.name, given.rounds))}
        told["task"] = told["shipped"]
        if learnt.model is not None:
            with network_for(target, learnt.model, learnt.shape, looks, folder) as network:
                told["task"] = _told(worked_on(target, network, given.rounds))
        yield {"class": name, "order": order, "finished": k, "patient": patient_of(target), **told}
        finished.append(example_of(target))


def _told(rows: Sequence[dict]) -> dict:
    """Dice of the first mask and after each round; strokes and seconds until it was good, or all there were."""
    dice = [row["dice"] for row in rows]
    needed = rows[: until_good(dice)]
    return {
        "dice": dice,
        "strokes": sum(row["strokes"] for row in needed),
        "seconds": round(sum(row["user_seconds"] for row in needed), 1),
        "good": needed[-1]["dice"] >= GOOD,
    }


def table(lines: Iterable[dict]) -> str:
    groups = by_class(lines)
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
    parser = options(__doc__, orders=1, rounds=5)
    parser.add_argument("--length", type=int, default=20)
    given = parser.parse_args()
    print(table(judged(given, list(one_of_each_patient(given.dimension, given.fold)), whole_series)))
