"""Rows of results as a benchmark writes them, made up."""

import json
from itertools import product
from pathlib import Path

import numpy as np

from bifseg.evaluation.report.groups import group_rows

NETWORK = "net"
LEARNT = ("bifseg", "bifseg-w", "crf", "network")


def run(dices, method="bifseg", *, case="c0", label="LV", dataset="Dataset001_A", user_seconds=10.0, **changes):
    """The rows of one run: its Dice by step, and one thing or a list of things per step for the rest."""
    fixed = {
        "protocol": "rounds", "dataset": dataset, "case": case, "patient": case, "label": label, "dimension": 2,
        "method": method, "network": NETWORK if method in LEARNT else None, "seen": False, "user": "careful", "seed": 0,
        "seconds": 0.5, "strokes": 3, "length": 0.4, "peak_mib": 20.0, "box": "0:1,0:1,0", "fingerprint": "f",
    }  # fmt: skip
    rows = []
    for step, dice in enumerate(dices):
        own = {"step": step, "dice": dice, "nsd": dice, "user_seconds": user_seconds} | changes
        rows.append(fixed | {k: v[step] if isinstance(v, (list, tuple)) else v for k, v in own.items()})
    return rows


def many(seed=0, methods=(*LEARNT, "grabcut", "geos"), datasets=("Dataset001_A", "Dataset002_B"), **changes):
    """Plausible runs: three cases, two labels and two seeds for each data set."""
    rng = np.random.default_rng(seed)
    rows = []
    for dataset, case, label, box, method in product(datasets, range(3), ("LV", "RV"), (0, 1), methods):
        dices = np.round(1 - rng.uniform(0.2, 0.5) * rng.uniform(0.3, 0.7) ** np.arange(3), 5).tolist()
        rows += run(
            dices, method, dataset=dataset, case=f"c{case}", label=label, user_seconds=float(rng.uniform(4, 9)),
            **{"seed": box, **changes},
        )  # fmt: skip
    return rows


def write(path: Path, rows, about=None, end="\n") -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + end, encoding="utf-8")
    if about is not None:
        path.with_suffix(".about.json").write_text(json.dumps(about))
    return path


def table_of(summary, key):
    return {(row["Data"], row["Object"]): row for row in summary["tables"][key]["rows"]}


def trace_of(dices, method="bifseg", **changes):
    (group,) = group_rows(run(dices, method, **changes))
    return next(iter(group.traces.values()))[0]
