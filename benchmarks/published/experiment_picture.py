"""The paper's experiment in one picture: what each part of the method is worth as training goes on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from benchmarks.published.experiment_tables import PARTS, PHASES, PRINTED, ROUNDS
from bifseg.evaluation.methods import METHODS
from bifseg.io.atomic import write_atomically

NAME = "paper.png"
GREY = "#5b6570"
MARKS = ("o", "s", "^", "D", "P")
COLOURS = ("#e69f00", "#7b3294", "#009e73", "#cc79a7", "#0072b2")


def draw(numbers: Mapping, folder: Path) -> None:
    """Write the picture; above without scribbles, below with them: Dice, what parts are worth, Dice by rounds."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    models = [one for one in numbers["models"] if one["label"] == "RV"]
    places = list(range(len(models)))
    names = [f"{_short(one)}: {100 * one['network']['mean']:.0f}" for one in models]
    figure = Figure(figsize=(13, 7), dpi=90, layout="constrained")
    panels = figure.subplots(2, 3)
    for row, (phase, words) in zip(panels, PHASES.items(), strict=True):
        dices, worth, rounds = row
        for key in ("network", "crf", "bifseg-w", "bifseg"):
            values = [100 * one["printed"][phase]["means"][key]["mean"] for one in models]
            method = METHODS[key]
            dices.plot(places, values, color=method.colour, marker=method.mark, label=method.title, lw=1)
        for k, (key, part) in enumerate(PARTS.items()):
            name = f"bifseg less {key}"
            if name not in models[0]["printed"][phase]["gaps"]:
                continue
            gaps = [one["printed"][phase]["gaps"][name] for one in models]
            ends = [(mean if low is None else low, mean if high is None else high) for mean, low, high in gaps]
            at = [place + 0.12 * (k - 2) for place in places]
            worth.plot(at, [100 * gap[0] for gap in gaps], MARKS[k], color=COLOURS[k], label=part)
            worth.vlines(at, *([100 * end for end in side] for side in zip(*ends, strict=True)), COLOURS[k], alpha=0.4)
        for one in models:
            means = one["printed"][phase]["means"]
            values = [100 * means[key]["mean"] for key in ("crf", *(f"{k} rounds" for k in ROUNDS))]
            rounds.plot((0, *ROUNDS), values, marker="o", ms=3.5, label=_short(one))
        worth.axhline(0, color=GREY, lw=1)
        dices.set_title(f"Dice of RV, {words}, %", fontsize=9)
        worth.set_title("BIFSeg less BIFSeg without a part, points", fontsize=9)
        rounds.set_title("Dice by rounds, %", fontsize=9)
        for axes in row:
            axes.grid(color="#e3e6ea")
            axes.set_axisbelow(True)
            axes.tick_params(labelsize=8)
            aside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if axes is rounds else {}
            axes.legend(fontsize=7, **aside)
    for axes in panels[:, :2].flat:
        axes.set_xticks(places, names, fontsize=7, rotation=35, ha="right", rotation_mode="anchor")
    for axes in panels[1][:2]:
        axes.set_xlabel("network, and its own Dice of RV in %", fontsize=8)
    panels[1][2].set_xlabel("rounds; 0 is one cut", fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    write_atomically(folder / NAME, file.getvalue())


def _short(model: Mapping) -> str:
    """What a model is called below an axis: of the run as printed, its seed and thousands of steps."""
    printed = PRINTED.fullmatch(model["name"])
    return f"seed {printed[1]}, {model['steps'] / 1000:g} k" if printed else model["name"]
