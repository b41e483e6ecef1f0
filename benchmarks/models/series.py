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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
from bifseg.method.label_fusion import Look, fused_shape, stretched
from bifseg.method.parameters import parsed
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.prompts.interaction import Box
from bifseg.tasks.example import Example
from bifseg.tasks.learning import Learnt, learn

SETS = {
    2: {"Dataset101_ACDC": 16, "Dataset107_AbdomenCT2D": None},
    3: {"Dataset101_ACDC": 14, "Dataset108_Hippocampus": 16},
}
GOOD = 0.9
Work = Callable[[str, Sequence[Target], int, argparse.Namespace, Path], Iterable[dict]]


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


def box_of(target: Target) -> Box:
    """As the careful user draws it, for an example as in a session."""
    return Hand(user_of("careful"), target, 0).box()


def example_of(target: Target) -> Example:
    target = target.unread()  # its arrays are gone after this call
    return Example.of(target.image, target.truth, box_of(target), patient_of(target))


def series(name: str, targets: Sequence[Target], order: int, given: argparse.Namespace, folder: Path) -> Iterator[dict]:
    rng = np.random.default_rng((order, len(targets)))
    shuffled = [targets[k] for k in rng.permutation(len(targets))]
    finished = shuffled[: given.finished]
    known = {patient_of(target) for target in finished}
    others = [target for target in shuffled[given.finished :] if patient_of(target) not in known][: given.objects]
    start = time.process_time()
    shipped, examples = load_model("default", given.dimension), [example_of(target) for target in finished]
    learnt = taught(shipped, examples, given.tuned)
    seconds = time.process_time() - start
    looks = [example.look for example in examples]
    for target in map(Target.unread, others):
        rows = {"shipped": worked_on(target, shipped.name, given.rounds)}
        rows["task"] = rows["shipped"]
        if learnt.model is not None:
            with network_for(target, learnt.model, learnt.shape, looks, folder) as network:
                rows["task"] = worked_on(target, network, given.rounds)
        yield {
            "class": name, "order": order, "case": target.case.name, "patient": patient_of(target),
            "strength": learnt.strength, "shape": learnt.shape, "reach": learnt.reach,
            "learning_seconds": round(seconds, 1),
            **{kind: {key: [row[key] for row in own] for key in ("dice", "strokes")} for kind, own in rows.items()},
        }  # fmt: skip


def taught(shipped: Model, finished: Sequence[Example], tuned: Sequence[str] = ()) -> Learnt:
    """What examples teach. ``tuned``: NAME=VALUE, other settings for it."""
    learnt = learn(shipped, finished)
    if learnt.model is None:
        return learnt
    changes = parsed(tuned)
    return replace(learnt, model=replace(learnt.model, tuned={**learnt.model.tuned, **changes}))


@contextmanager
def network_for(target: Target, model: Model, share: float, looks: Sequence[Look], folder: Path) -> Iterator[str]:
    """A model that was learnt, in a file of its own: it also says where in its box this object lies."""
    target = target.unread()  # its arrays are gone after this call
    shape = np.float32(share) * fused_shape(stretched(target.image, box_of(target)), looks) if share else None
    with TemporaryDirectory(dir=folder) as place:  # networks are kept by their paths
        path = Path(place) / "network.safetensors"
        save_model(replace(model, shape=shape), path)
        yield str(path)


def worked_on(target: Target, network: str, rounds: int) -> list[dict]:
    """The rows of the careful user's session on an object."""
    return judge(Run(target.unread(), "bifseg", network, "careful", 0, "rounds", rounds))


def until_good(dice: Sequence[float]) -> int:
    """How many steps it takes until the Dice is `GOOD`, or all there were."""
    return next((k + 1 for k, one in enumerate(dice) if one >= GOOD), len(dice))


def strokes_to_good(told: dict) -> int:
    """Until the Dice is `GOOD`, or all there were."""
    return sum(told["strokes"][: until_good(told["dice"])])


def by_class(lines: Iterable[dict]) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        groups[line["class"]].append(line)
    return groups


def _means(lines: Sequence[dict], kind: str) -> np.ndarray:
    """Dice in %, of the start and after each round."""
    return 100 * np.mean([line[kind]["dice"] for line in lines], axis=0)


def _told(means: Iterable[float]) -> str:
    return " ".join(f"{one:.1f}" for one in means)


def table(lines: Iterable[dict], rounds: int) -> str:
    groups = by_class(lines)
    parts = [
        "| class | objects, patients | first mask | gain by the task | after each round | with the task "
        "| strokes to 0.90 | with the task | network, shape, reach |",
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
        used = {line["order"]: f"{line['strength']:g}, {line['shape']:g}, {line['reach'] or 'as ever'}" for line in own}
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


def options(doc: str, orders: int, rounds: int) -> argparse.ArgumentParser:
    """Of a command that judges classes in random orders."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--fold", default="develop", choices=("develop", "report"))
    parser.add_argument("--orders", type=int, default=orders)
    parser.add_argument("--rounds", type=int, default=rounds)
    return parser


def judged(given: argparse.Namespace, found: Sequence[tuple[str, list[Target]]], work: Work) -> list[dict]:
    """The lines of all classes in all orders, which are written as they come."""
    torch.set_num_threads(1)
    lines = []
    with TemporaryDirectory() as folder, given.output.open("w") as file:
        for order in range(given.orders):
            for name, targets in found:
                for line in work(name, targets, order, given, Path(folder)):
                    lines.append(line)
                    print(json.dumps(line), file=file, flush=True)
    return lines


if __name__ == "__main__":
    parser = options(__doc__, orders=2, rounds=3)
    parser.add_argument("--finished", type=int, default=5)
    parser.add_argument("--objects", type=int, default=6, help="to begin, for each order")
    parser.add_argument("--tuned", nargs="*", default=[], metavar="NAME=VALUE", help="other settings with the task")
    given = parser.parse_args()
    print(table(judged(given, list(classes(given.dimension, given.fold, given.finished + 2)), series), given.rounds))
