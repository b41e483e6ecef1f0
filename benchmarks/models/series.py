"""What finished objects teach: ``python -m benchmarks.models.series 2 -o series.jsonl --fold report``.

For every class with enough patients, in random orders of its objects: a task learns from the first ``--finished``, with
their true masks in boxes as a simulated user draws them (`bifseg.tasks`), and the same user then works on objects of
other patients, once with the shipped network and once with what the task has learnt: the first mask and ``--rounds``
rounds of strokes. A line of JSON for each object; at the end a table, with 95 % intervals (bootstrap over patients).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.models.objects import DATA, SAME
from bifseg.evaluation.benchmark import Run, judge
from bifseg.evaluation.protocols.steps import Hand
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.statistics import bootstrap
from bifseg.evaluation.targets import Target, find_targets
from bifseg.io.datasets import open_dataset
from bifseg.networks.checkpoint import load_model, save_model
from bifseg.tasks.example import Example
from bifseg.tasks.learning import learn

SETS = {
    2: {"Dataset101_ACDC": 16, "Dataset107_AbdomenCT2D": None},
    3: {"Dataset101_ACDC": 14, "Dataset108_Hippocampus": 16},
}
GOOD = 0.9


def patient_of(target: Target) -> str:
    return SAME.get(target.case.patient, target.case.patient)


def classes(dimension: int, fold: str, least: int) -> Iterator[tuple[str, list[Target]]]:
    """The objects of every class of which at least so many patients have one."""
    for name, limit in SETS[dimension].items():
        found = find_targets([open_dataset(DATA / name)], dimension, fold=fold, limit=limit).targets
        by_label: dict[str, list[Target]] = defaultdict(list)
        for target in found:
            by_label[target.label].append(target.unread())
        for label, own in by_label.items():
            if len({patient_of(target) for target in own}) >= least:
                yield f"{name.split('_', 1)[1]} {label}", own


def example_of(target: Target) -> Example:
    target = target.unread()  # its arrays are gone after this call
    box = Hand(user_of("careful"), target, 0).box()
    return Example.of(target.image, target.truth, box, patient_of(target))


def series(name: str, targets: Sequence[Target], order: int, given: argparse.Namespace, folder: Path) -> Iterator[dict]:
    rng = np.random.default_rng((order, len(targets)))
    shuffled = [targets[k] for k in rng.permutation(len(targets))]
    finished = shuffled[: given.finished]
    known = {patient_of(target) for target in finished}
    others = [target for target in shuffled[given.finished :] if patient_of(target) not in known][: given.objects]
    start = time.process_time()
    shipped = load_model("default", given.dimension)
    learnt = learn(shipped, [example_of(target) for target in finished])
    seconds = time.process_time() - start
    path = folder / f"{name}-{order}.safetensors"  # one for each: networks are kept by their paths
    if learnt.model is not None:
        save_model(learnt.model, path)
    for target in map(Target.unread, others):
        rows = {"shipped": judge(_run(target, shipped.name, given.rounds))}
        rows["task"] = rows["shipped"] if learnt.model is None else judge(_run(target, str(path), given.rounds))
        yield {
            "class": name, "order": order, "case": target.case.name, "patient": patient_of(target),
            "strength": learnt.strength, "shape": learnt.shape, "learning_seconds": round(seconds, 1),
            **{kind: {key: [row[key] for row in own] for key in ("dice", "strokes")} for kind, own in rows.items()},
        }  # fmt: skip


def _run(target: Target, network: str, rounds: int) -> Run:
    return Run(target, "bifseg", network, "careful", 0, "rounds", rounds)


def strokes_to_good(told: dict) -> int:
    """Until the Dice is `GOOD`, or all there were."""
    total = 0
    for dice, strokes in zip(told["dice"], told["strokes"], strict=True):
        total += strokes
        if dice >= GOOD:
            break
    return total


def _means(lines: Sequence[dict], kind: str) -> np.ndarray:
    """Dice in %, of the start and after each round."""
    return 100 * np.mean([line[kind]["dice"] for line in lines], axis=0)


def _told(means: Iterable[float]) -> str:
    return " ".join(f"{one:.1f}" for one in means)


def table(lines: Iterable[dict], rounds: int) -> str:
    groups: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        groups[line["class"]].append(line)
    parts = [
        "| class | objects, patients | first mask | gain by the task | after each round | with the task "
        "| strokes to 0.90 | with the task | classifier, shape |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    gains, before, after = [], 0, 0
    for name, own in groups.items():
        first = {kind: np.array([100 * line[kind]["dice"][0] for line in own]) for kind in ("shipped", "task")}
        strokes = {kind: [strokes_to_good(line[kind]) for line in own] for kind in ("shipped", "task")}
        patients = [line["patient"] for line in own]
        gain = first["task"] - first["shipped"]
        low, high = bootstrap(gain, patients)
        gains.append(gain.mean())
        before, after = before + sum(strokes["shipped"]), after + sum(strokes["task"])
        later = {kind: _means(own, kind)[1:] for kind in ("shipped", "task")}
        used = {line["order"]: f"{line['strength']:g}, {line['shape']:g}" for line in own}
        parts.append(
            f"| {name} | {len(own)}, {len(set(patients))} | {first['shipped'].mean():.1f} | {gain.mean():+.1f} "
            f"[{low:+.1f}, {high:+.1f}] | {_told(later['shipped'])} | {_told(later['task'])} "
            f"| {np.mean(strokes['shipped']):.1f} | {np.mean(strokes['task']):.1f} "
            f"| {'; '.join(used[order] for order in sorted(used))} |"
        )
    means = {kind: _told(np.mean([_means(own, kind) for own in groups.values()], 0)) for kind in ("shipped", "task")}
    parts.append(
        f"\n{len(gains)} classes, from the start on: {means['shipped']} shipped, {means['task']} with the task; "
        f"mean gain {np.mean(gains):+.1f} points, worst class {min(gains):+.1f}; "
        f"strokes to 0.90, at most {rounds} rounds: {before} shipped, {after} with the task"
    )
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--fold", default="develop", choices=("develop", "report"))
    parser.add_argument("--finished", type=int, default=5)
    parser.add_argument("--objects", type=int, default=6, help="to begin, for each order")
    parser.add_argument("--orders", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    with TemporaryDirectory() as folder, given.output.open("w") as file:
        found = list(classes(given.dimension, given.fold, given.finished + 2))
        for order in range(given.orders):
            for name, targets in found:
                for line in series(name, targets, order, given, Path(folder)):
                    lines.append(line)
                    print(json.dumps(line), file=file, flush=True)
    print(table(lines, given.rounds))
