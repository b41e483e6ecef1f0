"""Trunks after equal training time: ``python -m benchmarks.models.trunks DATA --minutes 5 -o docs/results/trunks``.

Each learns for the same number of minutes from the same sources on one thread, from nothing, then finds the objects of
the development fold from their boxes alone (no cut, no adaptation). Beside its Dice: how long its features take.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.models.objects import targets
from bifseg.evaluation.metrics import dice
from bifseg.method.crop import Crop
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model, load_model
from bifseg.session.session import Session
from bifseg.training.recipes import SHIPPED, Phase
from bifseg.training.train import train
from bifseg.training.training_set import TrainingSet

MULTISCALE, PNET = SHIPPED["multiscale2d"], SHIPPED["pnet"]
TRUNKS = {
    "P-Net, 32 wide": PNET,
    "P-Net, 16 wide": PNET.but(settings={"width": 16, "hidden": 64}),
    "multi-scale, default": MULTISCALE,
    "multi-scale, narrow": MULTISCALE.but(settings={"dimension": 2, "widths": [12, 24, 32, 48, 64]}),
    "multi-scale, wide": MULTISCALE.but(settings={"dimension": 2, "widths": [32, 64, 96, 128, 128]}),
    "multi-scale, 4 scales": MULTISCALE.but(settings={"dimension": 2, "widths": [24, 48, 64, 64]}),
}


def judge(name: str, minutes: float, data: TrainingSet, found: list, folder: Path) -> dict:
    """Train one trunk, then measure it."""
    base = TRUNKS[name].but(batch=4)
    mixture = SHIPPED["pnet"].phases[0].mixture

    def recipe(steps: int):
        return base.but(phases=(Phase(steps, base.phases[0].rate, mixture, cosine=steps),))

    trial = folder / "trial.safetensors"
    pace = [r["seconds"] for r in islice(train(recipe(10_000), trial, data, every=10_000), 12)]
    for path in folder.glob("trial.*"):
        path.unlink()
    steps = max(20, int(60 * minutes / ((pace[-1] - pace[1]) / 10)))
    path = folder / f"{name.replace(' ', '-').replace(',', '')}.safetensors"
    *_, last = train(recipe(steps), path, data, every=steps)
    learnt = {"steps": steps, "minutes": round(last["seconds"] / 60, 2), "synthetic_dice": round(last["dice"], 4)}
    return {"trunk": name, **learnt, **measure(load_model(path), found)}


def shipped(name: str, found: list) -> dict:
    """A shipped model beside them: what more time and more kinds of data bring."""
    model = load_model(name)
    learnt = {"steps": model.card["steps"], "minutes": 60 * model.card["hours"]}
    return {"trunk": f"{name}, shipped", **learnt, **measure(model, found)}


def measure(model: Model, found: list) -> dict:
    """Macro Dice of the network alone on the objects, and the median time that their features take."""
    scores, times = defaultdict(list), []
    for target in found:
        mask = Session(target.image, model).box(target.box, refine="none")
        scores[target.dataset, target.label].append(dice(mask, target.truth))
        clock = Stopwatch()
        Crop(target.image, target.box, model, clock)
        times.append(clock["features"])
    return {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "dice": round(float(np.mean([np.mean(s) for s in scores.values()])), 4),
        "objects": len(found),
        "milliseconds": round(statistics.median(times), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets that the shipped networks learn from")
    parser.add_argument("-o", "--output", type=Path, required=True, help="writes OUTPUT.jsonl and OUTPUT.md")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", default=list(TRUNKS), choices=list(TRUNKS))
    parser.add_argument("--folder", type=Path, default=Path("runs/trunks"), help="where the models go")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    data, _ = TrainingSet.permissive(arguments.data, 2, arguments.folder / "cache")
    found = list(targets(2))[::2]
    path = arguments.output.with_suffix(".jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for name in arguments.only:
        if name not in {row["trunk"] for row in rows}:
            rows.append(judge(name, arguments.minutes, data, found, arguments.folder))
            with path.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    rows += [shipped(name, found) for name in ("multiscale2d", "pnet")]
    lines = [
        f"{time.strftime('%Y-%m-%d')}, one thread, torch {torch.__version__}; macro Dice of {rows[0]['objects']} "
        "objects of the development fold, box only, network alone; features of one box of the working size, median.",
        "",
        "| trunk | parameters | minutes | steps | Dice, real | features |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['trunk']} | {r['parameters']:,} | {r['minutes']:.1f} | {r['steps']} | "
        f"{100 * r['dice']:.1f} | {r['milliseconds']:.0f} ms |"
        for r in sorted(rows, key=lambda r: -r["dice"])
    ]
    arguments.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
