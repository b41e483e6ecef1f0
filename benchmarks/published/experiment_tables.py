"""The paper's experiment in numbers, see `experiment`: what its rows say, and tables for paper.md."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.published import user_times
from benchmarks.published.claims import verdict
from benchmarks.published.evidence_tables import points, table
from bifseg.evaluation.statistics import bootstrap

PRINTED_ROUNDS = 4
ROUNDS = (1, 2, 4, 8)
AVERAGED = 500  # steps, whose losses are averaged in a curve
SHOWN = (500, 1000, 2500, 5000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000)  # steps of a curve in its table
PRINTED = re.compile(r"(?:paper|organs)(\d+)\.step\d+")  # names of a run's models: the seed, and how far it was
UNSEEN = {"RV": "RV", "kidney_right": "kidney", "kidney_left": "kidney"}  # never trained on, and what both are called
PHASES = {"box": "without scribbles", "scribbles": "after one round of scribbles"}
SETTINGS = {"printed": "printed parameters", "tuned": "tuned on what it learnt", "ships": "as it ships"}
PARTS = {
    "bifseg-w": "all of w(i)",
    "without U_p": "U_p",
    "without U_s": "U_s",
    "without omega": "ω",
    "once": "alternation",
}
TABLES = {
    "placenta": "84.57±8.37 84.87±8.14 82.74±10.91 86.41±7.50 88.64±5.84 89.79±4.60 91.93±2.79",
    "fetal brain": "89.44±6.45 89.55±6.52 89.09±8.08 90.39±6.44 94.04±4.72 95.31±3.39 95.58±1.94",
    "fetal lungs^": "83.59±6.42 83.87±6.52 82.17±8.87 85.35±5.88 88.92±3.87 89.21±2.95 91.71±3.18",
    "maternal kidneys^": "85.29±5.08 85.45±5.21 84.61±6.21 86.33±4.28 87.51±4.53 87.78±4.46 89.37±2.31",
}
"""Tables II and III of Wang et al. 2018, 2D: P-Net, +CRF, BIFSeg(-w), BIFSeg; then the last three with scribbles."""
CLAIMS = (
    ("one cut improves the network's mask", "+0.1 to +0.3", "crf", "network", "box"),
    ("fine-tuning without scribbles improves the network's mask", "+1.0 to +1.8", "bifseg", "network", "box"),
    ("without w(i), fine-tuning without scribbles does harm", "-1.8 to -0.4", "network", "bifseg-w", "box"),
    ("BIFSeg without scribbles is above BIFSeg(-w)", "+1.3 to +3.7", "bifseg", "bifseg-w", "box"),
    ("with scribbles, BIFSeg is above one cut", "+1.5 to +3.3", "bifseg", "crf", "scribbles"),
    ("with scribbles, BIFSeg is above BIFSeg(-w)", "+0.3 to +2.5", "bifseg", "bifseg-w", "scribbles"),
)  # fmt: skip
"""What the paper's Tables II and III say: in words, in points of Dice, and what is compared after which step."""


# -- what the rows say


def summary(rows: Sequence[Mapping]) -> dict:
    """Models, their values and paired differences: the run as printed along its steps, then others by their Dice."""
    objects: dict[tuple, dict] = defaultdict(dict)  # whose settings may have been judged one after the other
    for row in rows:
        own = objects[tuple(row[key] for key in ("sha256", "label", "case", "plane"))]
        own |= {
            **row,
            "label": UNSEEN.get(row["label"], row["label"]),
            "settings": {**own.get("settings", {}), **row["settings"]},
        }
    groups: dict[tuple[str, str], list[Mapping]] = defaultdict(list)
    for own in objects.values():
        groups[own["sha256"], own["label"]].append(own)
    found = [_model(own) for own in groups.values()]
    found.sort(key=_place)
    dates = sorted(row["date"] for row in rows)
    return {
        "dates": [dates[0], dates[-1]], "machine": rows[-1]["machine"],
        "parameters": next(iter(objects.values()))["settings"]["printed"], "models": found,
    }  # fmt: skip


def _place(model: Mapping) -> tuple:
    """Where a model stands among all."""
    printed = PRINTED.fullmatch(model["name"])
    own = (0, model["steps"], int(printed[1])) if printed else (1, model["network"]["mean"], 0)
    return model["label"] not in UNSEEN.values(), model["label"], *own


def _model(rows: Sequence[Mapping]) -> dict:
    first = rows[0]
    settings = [name for name in SETTINGS if all(name in row for row in rows)]
    told: dict = {
        "name": first["model"], "steps": first["steps"], "hours": first["hours"], "learnt": first["learnt"],
        "label": first["label"], "objects": len(rows),
        "patients": len({row["patient"] for row in rows}),
        "strokes": round(float(np.mean([row["strokes"] for row in rows])), 2),
        "network": _spread([row["network"] for row in rows]),
    }  # fmt: skip
    for name in settings:
        told[name] = {}
        for phase in PHASES:
            values = _values(rows, name, phase)
            base, drops = values["bifseg"], [row[name][phase]["dropped"] for row in rows]
            told[name][phase] = {
                "means": {key: _spread(own) for key, own in values.items()},
                "gaps": {
                    f"{above} less {below}": _gap(rows, values[above], values[below])
                    for above, below in sorted({
                        *((one[2], one[3]) for one in CLAIMS), *((one[3], one[2]) for one in CLAIMS),
                        *(("bifseg", key) for key in values if key != "bifseg"),
                    })
                },
                "dropped": [round(float(np.mean(part)), 4) for part in zip(*drops, strict=True)],
                "worse": int(np.sum(np.subtract(base, values["network"]) < -0.01)),
                "worse than a cut": int(np.sum(np.subtract(base, values["crf"]) < -0.01)),
            }  # fmt: skip
    return told


def _values(rows: Sequence[Mapping], name: str, phase: str) -> dict[str, list[float]]:
    """Of every variant the Dice of each object; of ``bifseg`` also after other numbers of rounds."""
    own = [row[name][phase] for row in rows]
    found = {"network": [row["network"] for row in rows], "crf": [one["bifseg"][0] for one in own]}
    found["bifseg"] = [one["bifseg"][min(PRINTED_ROUNDS, len(one["bifseg"]) - 1)] for one in own]
    found |= {key: [one[key] for one in own] for key in own[0] if key not in ("bifseg", "dropped")}
    if name == "printed":
        found |= {f"{k} rounds": [one["bifseg"][k] for one in own] for k in ROUNDS}
    return found


def _spread(values: Sequence[float]) -> dict:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": round(float(np.mean(values)), 5), "sd": round(sd, 5)}


def _gap(rows: Sequence[Mapping], above: Sequence[float], below: Sequence[float]) -> list[float | None]:
    """The paired difference with its 95 % interval over patients; no interval of one patient."""
    gap, patients = np.subtract(above, below), [row["patient"] for row in rows]
    if len(set(patients)) < 2:
        return [round(float(gap.mean()), 5), None, None]
    return [round(float(gap.mean()), 5), *(round(end, 5) for end in bootstrap(gap, patients))]


def curve(log: Sequence[Mapping], every: int = AVERAGED) -> list[dict]:
    """Of a run's log: the mean loss of so many steps each, and the hours that they had taken by then."""
    parts = [log[k : k + every] for k in range(0, len(log), every)]
    return [
        {"step": part[-1]["step"], "loss": round(float(np.mean([one["loss"] for one in part])), 5),
         "hours": round(part[-1]["seconds"] / 3600, 3)}
        for part in parts if len(part) == every
    ]  # fmt: skip


# -- tables


def tables(numbers: Mapping) -> str:
    """Tables I to III in the paper's form: its own numbers, then ours by model and parameters."""
    lines = [
        [f"*paper: {name}*", "P-Net, at most 60,000 steps", "found for it", *own.split()]
        for name, own in TABLES.items()
    ]
    for model in numbers["models"]:
        for name, words in SETTINGS.items():
            if name in model:
                what = f"{model['label']}{_mark(model)} (n = {_counted(model)})"
                lines.append([
                    what, title(model), words, _cell(model["network"]),
                    *(_cell(model[name]["box"]["means"][key]) for key in ("crf", "bifseg-w", "bifseg")),
                    *(_cell(model[name]["scribbles"]["means"][key]) for key in ("crf", "bifseg-w", "bifseg")),
                ])  # fmt: skip
    heads = ["object", "network", "parameters", "network alone", "+CRF", "BIFSeg(-w)", "BIFSeg"]
    return table([*heads, "scribbles: +CRF", "BIFSeg(-w)", "BIFSeg"], lines)


def claims(numbers: Mapping) -> str:
    """Every claim with its difference for each model on the unseen class, and whether it holds there."""
    own = _unseen(numbers)
    lines = [
        [words, said, *(_verdict(model["printed"][phase]["gaps"][f"{above} less {below}"]) for model in own)]
        for words, said, above, below, phase in CLAIMS
    ]
    return table(["the paper says", "its points", *map(title, own)], lines)


def parts(numbers: Mapping) -> str:
    """What each part is worth: BIFSeg less BIFSeg without it, by model."""
    own, lines = _unseen(numbers), []
    for phase, words in PHASES.items():
        for key, part in PARTS.items():
            name = f"bifseg less {key}"
            if all(name in model["printed"][phase]["gaps"] for model in own):
                cells = [points(model["printed"][phase]["gaps"][name]) for model in own]
                lines.append([part, words, *cells])
        shares = [" / ".join(f"{100 * share:.0f}" for share in model["printed"][phase]["dropped"]) for model in own]
        lines.append(["left out by w(i) at first, object / background, %", words, *shares])
        lost = [
            f"{model['printed'][phase]['worse']} / {model['printed'][phase]['worse than a cut']} of {model['objects']}"
            for model in own
        ]
        lines.append(["lower by more than a point than the network / than +CRF", words, *lost])
        lines.append(["none, one, two, four, eight rounds: Dice", words, *(_rounds(model, phase) for model in own)])
    return table(["part", "", *map(title, own)], lines)


def networks(numbers: Mapping) -> str:
    """What every judged model learnt, and how far it came."""
    lines = [
        [title(one), f"{one['steps']:,}", f"{one['hours']:.2f}", one["learnt"].split(";")[0], _cell(one["network"])]
        for one in _unseen(numbers)
    ]
    label = _unseen(numbers)[0]["label"]
    return table(["network", "steps", "hours of training", "learnt from", f"{label} from the box, Dice"], lines)


def progress(numbers: Mapping) -> str:
    """The curves of all runs: loss by step, at `SHOWN`, and how long each took."""
    curves = {name: {one["step"]: one for one in curve} for name, curve in numbers["curves"].items()}
    shown = [step for step in SHOWN if any(step in curve for curve in curves.values())]
    lines = [
        [f"{step:,}", *(f"{curve[step]['loss']:.3f}" if step in curve else "" for curve in curves.values())]
        for step in shown
    ]
    ends = [max(curve.values(), key=lambda one: one["step"]) for curve in curves.values()]
    lines.append(["steps in all, and hours", *(f"{end['step']:,}, {end['hours']:.2f} h" for end in ends)])
    return table([f"steps, of 60,000; cross entropy, mean of the last {AVERAGED}", *curves], lines)


def tuned(numbers: Mapping) -> str:
    """The six parameters, printed and found."""
    found = numbers["tuned"]
    if not found:
        return "Not searched yet."
    printed = numbers["parameters"]
    lines = [[key, f"{printed[key]:g}", f"{value:g}"] for key, value in found["found"].items()]
    return (
        f"{found['model']}, {found['objects']} objects ({', '.join(found['classes'])}) of training patients, "
        f"{found['settings']} settings; mean Dice after box and one round {100 * found['before']:.1f} → "
        f"{100 * found['after']:.1f} %.\n\n" + table(["parameter", "printed", "found"], lines)
    )


def title(model: Mapping) -> str:
    """What a model is called in a table's head."""
    printed = PRINTED.fullmatch(model["name"])
    return f"P-Net as printed, seed {printed[1]}, {model['steps']:,} steps" if printed else model["name"]


def _mark(model: Mapping) -> str:
    return "^" if model["label"] in UNSEEN.values() else ""


def _unseen(numbers: Mapping) -> list[Mapping]:
    return [one for one in numbers["models"] if one["label"] in UNSEEN.values()]


def _counted(model: Mapping) -> str:
    objects, patients = model["objects"], model["patients"]
    return f"{objects}" if objects == patients else f"{objects} of {patients} patients"


def _cell(spread: Mapping) -> str:
    return f"{100 * spread['mean']:.1f}±{100 * spread['sd']:.1f}"


def _verdict(gap: Sequence[float | None]) -> str:
    return f"{points(gap)}, {verdict(*gap[1:])}"


def _rounds(model: Mapping, phase: str) -> str:
    means = model["printed"][phase]["means"]
    return ", ".join(f"{100 * means[key]['mean']:.1f}" for key in ("crf", *(f"{k} rounds" for k in ROUNDS)))


BLOCKS: dict[str, Callable[[Mapping], str]] = {
    "paper-tables": tables, "paper-claims": claims, "paper-parts": parts, "paper-networks": networks,
    "paper-progress": progress, "paper-tuned": tuned, "organs-tables": tables, "organs-claims": claims,
    "organs-parts": parts, "organs-networks": networks, "organs-progress": progress,
    "user-times": lambda numbers: user_times.shown(numbers["users"]),
}  # fmt: skip
"""What makes each block of docs/explanation/paper.md."""


def block(name: str, results: Path) -> str:
    """One of `BLOCKS` from the numbers in a folder of results."""
    numbers = "organs" if name.startswith("organs-") else "paper"
    return BLOCKS[name](json.loads((results / f"{numbers}.json").read_bytes()))
