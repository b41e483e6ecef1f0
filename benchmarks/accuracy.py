"""Dice on real images, box only and after one round of scribbles: ``python benchmarks/accuracy.py -o docs/accuracy``.

Every method gets the same boxes (0 to 10 voxels of margin per side); every refinement starts from the network's own
mask and gets the same scribbles, as in Wang et al. 2018, Tables II, III, V and VI. Rows are appended to a JSON-lines
file as they come; a run that was stopped goes on where it was. None of the images was seen in training (the shipped
networks learnt from synthetic anatomy), and no parameter was chosen on this fold.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from rich.progress import track

from bifseg.baselines.grabcut import GrabCut
from bifseg.checkpoint import load_model
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.users import simulated_scribbles
from bifseg.parameters import preset
from bifseg.session import Session
from objects import DATA, Target, targets

REFINED = {"crf": "+CRF", "-w": "BIFSeg(-w)", "paper": "BIFSeg, paper", "fast": "BIFSeg, fast"}
STEPS = {
    "box": {"grabcut": "GrabCut", "network": "network", **REFINED},
    "round 1": {"grabcut": "GrabCut", **REFINED},
}


def judge(target: Target, model_name: str, methods: set[str]) -> list[dict]:
    """One row per method and step for one object, for some of the methods."""
    torch.set_num_threads(1)
    model = load_model(model_name, target.dimension)
    settings = {name: preset(name, target.dimension, model.tuned) for name in ("paper", "fast")}
    settings["-w"] = settings["paper"].but(weighted=False)
    rows = []

    def note(step: str, method: str, mask: np.ndarray, clock: float) -> np.ndarray:
        seconds, score = time.perf_counter() - clock, dice(mask, target.truth)
        who = {"dataset": target.dataset, "case": target.case, "label": target.label, "dimension": target.dimension}
        what = {"model": model.sha256, "step": step, "method": method}
        rows.append(who | what | {"dice": round(score, 5), "seconds": round(seconds, 3)})
        return mask

    session = Session(target.image, model, settings["fast"])
    clock = time.perf_counter()
    first = session.box(target.box, refine="none")
    if "network" in methods:
        note("box", "network", first, clock)
    scribbles = simulated_scribbles(first, target.truth, target.box)
    for method in settings.keys() & methods:
        own = Session(target.image, model, settings[method].but(unsupervised=True))
        clock = time.perf_counter()
        note("box", method, own.box(target.box, refine="auto"), clock)
        own.undo()
        own.box(target.box, refine="none")
        clock = time.perf_counter()
        note("round 1", method, own.scribble(scribbles), clock)
    if "crf" in methods:
        clock = time.perf_counter()
        note("round 1", "crf", session.scribble(scribbles, refine="crf"), clock)
        own = Session(target.image, model, settings["fast"])
        clock = time.perf_counter()
        note("box", "crf", own.box(target.box, refine="crf"), clock)
    if "grabcut" in methods:
        grabcut = GrabCut()
        clock = time.perf_counter()
        note("box", "grabcut", grabcut.start(target.image, target.box), clock)
        clock = time.perf_counter()
        note("round 1", "grabcut", grabcut.refine(scribbles), clock)
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: mean and standard deviation of Dice in %, by data set and object; then how often +CRF was beaten."""
    lines = []
    for step, methods in STEPS.items():
        scores = defaultdict(lambda: defaultdict(dict))
        for row in (r for r in rows if r["step"] == step):
            for key in ((row["dataset"], row["label"]), (row["dataset"], "all")):
                scores[key][row["method"]][row["case"], row["label"]] = 100 * row["dice"]
        lines += ["", f"### {'From the box alone' if step == 'box' else 'After one round of scribbles'}", ""]
        lines += [
            "| data | object | n | " + " | ".join(methods.values()) + " |",
            "|---|---|---|" + "---|" * len(methods),
        ]
        for dataset, label in sorted(scores):
            by_method = scores[dataset, label]
            means = {m: np.mean(list(by_method[m].values())) for m in methods}
            cells = []
            for method in methods:
                values = list(by_method[method].values())
                text = f"{means[method]:.1f} ± {np.std(values):.1f}"
                cells.append(f"**{text}**" if means[method] == max(means.values()) else text)
            count = len(by_method["network" if step == "box" else "crf"])
            name = f"**{label}**" if label == "all" else label
            lines.append(f"| {dataset.split('_')[-1]} | {name} | {count} | " + " | ".join(cells) + " |")
        lines += ["", _versus(rows, step)]
    return "\n".join(lines)


def _versus(rows: list[dict], step: str) -> str:
    """Paired differences to +CRF over all objects of a dimension, with what got worse."""
    lines = ["| compared with +CRF | n | mean difference | objects made worse by > 1 point | median seconds |"]
    lines.append("|---|---|---|---|---|")
    for dimension in (2, 3):
        by = defaultdict(dict)
        seconds = defaultdict(list)
        for row in (r for r in rows if r["step"] == step and r["dimension"] == dimension):
            by[row["method"]][row["dataset"], row["case"], row["label"]] = 100 * row["dice"]
            seconds[row["method"]].append(row["seconds"])
        for method in (m for m in STEPS[step] if m != "crf" and by[m]):
            gap = np.array([by[method][key] - by["crf"][key] for key in by[method]])
            error = 1.96 * gap.std() / len(gap) ** 0.5
            lines.append(
                f"| {dimension}D {STEPS[step][method]} | {len(gap)} | {gap.mean():+.1f} ± {error:.1f} | "
                f"{100 * (gap < -1).mean():.0f} % | {np.median(seconds[method]):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="writes OUTPUT.jsonl and OUTPUT.md")
    parser.add_argument("--dimension", type=int, choices=(2, 3), nargs="*", default=(2, 3))
    parser.add_argument("--model", default="default")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    path = arguments.output.with_suffix(".jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = defaultdict(set)
    for r in rows:
        done[r["dataset"], r["case"], r["label"], r["dimension"]].add(r["method"])
    with path.open("a") as file:
        for dimension in arguments.dimension:
            wanted = [
                (t, STEPS["box"].keys() - done[t.dataset, t.case, t.label, t.dimension])
                for t in targets("report", dimension)
            ]
            todo = [(target, methods) for target, methods in wanted if methods]
            work = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
                delayed(judge)(target, arguments.model, methods) for target, methods in todo
            )
            for found in track(work, total=len(todo), description=f"{dimension}D"):
                rows += found
                file.write("".join(json.dumps(row) + "\n" for row in found))
                file.flush()
    models = {d: load_model(arguments.model, d) for d in sorted({r["dimension"] for r in rows})}
    shas = {model.sha256 for model in models.values()}
    if strange := {r["model"] for r in rows} - shas:
        print(f"warning: {path} also holds rows of other weights, {', '.join(s[:8] for s in strange)}")
    head = [
        f'{len(rows)} rows, fold "report" of `benchmarks/objects.py`, {time.strftime("%Y-%m-%d")}, '
        f"{platform.machine()} with {arguments.jobs} processes of one thread, torch {torch.__version__}.",
        "",
        *(f"- {d}D: {m.name}, sha256 {m.sha256[:12]}, fast = {preset('fast', d, m.tuned)}" for d, m in models.items()),
    ]
    arguments.output.with_suffix(".md").write_text("\n".join(head) + "\n" + table(rows) + "\n")
    print(f"Wrote {path} and {arguments.output.with_suffix('.md')} (data from {DATA.name}).")


if __name__ == "__main__":
    main()
