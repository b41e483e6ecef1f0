"""Dice on real images, from the box alone and after scribbles: ``benchmarks/accuracy.py -o docs/results/accuracy``.

For each model, object and seed (another box around the same object), as in Wang et al. 2018, Tables II, III, V and VI:

- step "box": the network alone, one cut, unsupervised fine-tuning;
- step "round 1": one round of scribbles, simulated on the network's own mask and the same for every method;
- step "round 3": two more rounds, each simulated on the method's own mask. Who finds nothing to correct stops.

One row per step and method is appended to OUTPUT.jsonl as it comes; a run that was stopped goes on where it was. Rows
of a model whose weights, parameters or boxes have changed since are dropped at the start and computed again. One run
per OUTPUT at a time. `tables.py` makes OUTPUT.md and OUTPUT.summary.json of the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from rich.progress import track

from bifseg.checkpoint import Model, load_model
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.users import simulated_scribbles
from bifseg.files import write_atomically
from bifseg.parameters import Parameters, preset
from bifseg.session import Session
from objects import Target, targets
from tables import STEPS, about_models, read_rows, write_report

MODELS = ("multiscale2d", "multiscale3d", "pnet", "pcnet")
Work = tuple[Target, int, dict[str, Parameters]]  # an object, a seed, and the methods to judge on it


def methods_of(model: Model) -> dict[str, Parameters]:
    """Every method with its parameters; those of the network alone change nothing."""
    fast = preset("fast", model.dimension, model.tuned).but(unsupervised=True)
    return {
        "network": Parameters(),
        "crf": fast.but(rounds=0),
        "-w": fast.but(weighted=False),
        "fast": fast,
        "paper": preset("paper", model.dimension).but(unsupervised=True),
    }


def fingerprint(parameters: Parameters) -> str:
    return hashlib.sha256(json.dumps(parameters.as_dict(), sort_keys=True).encode()).hexdigest()[:8]


def key_of(target: Target, seed: int) -> tuple:
    return target.dataset, target.case, target.label, target.dimension, seed


def judge(model: Model, target: Target, seed: int, methods: Mapping[str, Parameters]) -> list[dict]:
    """One row per method and step for one object in one box."""
    torch.set_num_threads(1)
    who = {
        "model": model.name, "sha256": model.sha256, "dataset": target.dataset, "case": target.case,
        "patient": target.patient, "label": target.label, "dimension": target.dimension, "seed": seed,
        "box": str(target.box),
    }  # fmt: skip
    rows = []

    def note(step: str, method: str, mask: np.ndarray, begun: float) -> np.ndarray:
        seconds = round(time.perf_counter() - begun, 4)
        if step in STEPS and method in methods:
            score = round(dice(mask, target.truth), 5)
            what = {"step": step, "method": method, "parameters": fingerprint(methods[method])}
            rows.append(who | what | {"dice": score, "seconds": seconds})
        return mask

    session, clock = Session(target.image, model), time.perf_counter()
    first = note("box", "network", session.box(target.box, refine="none"), clock)
    scribbles = simulated_scribbles(first, target.truth, target.box)
    for method in (name for name in methods if name != "network"):
        refine = "crf" if method == "crf" else "auto"
        session, clock = Session(target.image, model, methods[method]), time.perf_counter()
        note("box", method, session.box(target.box, refine=refine), clock)
        session.undo()
        mask, new = session.box(target.box, refine="none"), scribbles
        for k in (1, 2, 3):
            clock = time.perf_counter()
            mask = note(f"round {k}", method, session.scribble(new, refine=refine) if new.any() else mask, clock)
            new = simulated_scribbles(mask, target.truth, target.box)
    return rows


def current(rows: Iterable[dict], models: Sequence[Model], boxes: Mapping[tuple, str], seeds: int) -> list[dict]:
    """Rows that still hold: of other models, or of these with their weights and parameters and today's boxes."""
    prints = {model.name: {name: fingerprint(p) for name, p in methods_of(model).items()} for model in models}
    shas = {model.name: model.sha256 for model in models}

    def holds(row: dict) -> bool:
        if row["model"] not in shas:
            return True
        if (row["sha256"], row["parameters"]) != (shas[row["model"]], prints[row["model"]].get(row["method"])):
            return False
        key = tuple(row[name] for name in ("dataset", "case", "label", "dimension", "seed"))
        return row["seed"] >= seeds or boxes.get(key) == row["box"]

    return [row for row in rows if holds(row)]


def missing(rows: Iterable[dict], model: Model, chosen: Iterable[tuple[Target, int]], paper: bool) -> list[Work]:
    """What is still to be judged; the preset ``paper`` on the first seed only, and only if asked for."""
    done = defaultdict(set)
    for r in rows:
        if r["model"] == model.name:
            done[r["dataset"], r["case"], r["label"], r["dimension"], r["seed"]].add(r["method"])
    work = []
    for target, seed in chosen:
        lacking = {
            name: parameters
            for name, parameters in methods_of(model).items()
            if name not in done[key_of(target, seed)] and (name != "paper" or (paper and seed == 0))
        }
        if lacking:
            work.append((target, seed, lacking))
    return work


def select(every: Sequence[Target], only: str, limit: int) -> list[Target]:
    """Objects of data sets with ``only`` in their name, at most ``limit`` of each data set, spread over it."""
    by_dataset = defaultdict(list)
    for target in every:
        if only.lower() in target.dataset.lower():
            by_dataset[target.dataset].append(target)
    chosen = []
    for found in by_dataset.values():
        chosen += [
            found[k] for k in np.unique(np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int))
        ]
    return chosen


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="writes OUTPUT.jsonl, .md and .summary.json")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL", help="shipped names or files")
    parser.add_argument("--seeds", type=int, default=3, help="boxes per object")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--limit", type=int, default=1000, help="objects per data set, spread over it")
    parser.add_argument("--only", default="", metavar="DATASET", help="data sets with this in their name")
    parser.add_argument("--paper", action="store_true", help="also the printed preset, on the first seed (slow)")
    parser.add_argument("--chart", type=Path, metavar="FILE.png")
    arguments = parser.parse_args(argv)

    models = [load_model(name) for name in arguments.models]
    if len({model.name for model in models}) < len(models):
        parser.error("two models have the same name; rows are told apart by it")
    every = {
        (dimension, seed): list(targets("report", dimension, seed=seed))
        for dimension in sorted({model.dimension for model in models})
        for seed in range(arguments.seeds)
    }
    boxes = {key_of(t, seed): str(t.box) for (_, seed), found in every.items() for t in found}
    path = Path(f"{arguments.output}.jsonl")
    rows = current(read_rows(path), models, boxes, arguments.seeds)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    about = about_models(arguments.output)
    with path.open("a") as file:
        for model in models:
            chosen = [
                (target, seed)
                for (dimension, seed), found in every.items()
                if dimension == model.dimension
                for target in select(found, arguments.only, arguments.limit)
            ]
            work = missing(rows, model, chosen, arguments.paper)
            found = Parallel(arguments.jobs, return_as="generator_unordered", max_nbytes=None)(
                delayed(judge)(model, *item) for item in work
            )
            for new in track(found, total=len(work), description=model.name):
                rows += new
                file.write("".join(json.dumps(row) + "\n" for row in new))
                file.flush()
            parameters = {name: p.as_dict() for name, p in methods_of(model).items() if name != "network"}
            what = {"dimension": model.dimension, "sha256": model.sha256, "parameters": parameters}
            if work or not what.items() <= about.get(model.name, {}).items():
                about[model.name] = what | {
                    "date": time.strftime("%Y-%m-%d"),
                    "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                    "processes": arguments.jobs,
                    "torch": torch.__version__,
                }
    for written in write_report(arguments.output, rows, about, arguments.chart):
        print(f"Wrote {written}.")


if __name__ == "__main__":
    main()
