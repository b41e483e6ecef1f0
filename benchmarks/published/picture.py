"""The evidence in one picture: BIFSeg less every other method, with intervals, as rounds of scribbles go on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from bifseg.evaluation.methods import METHODS
from bifseg.io.atomic import write_atomically

NAME = "evidence.png"
GREY = "#5b6570"


def draw(numbers: Mapping[str, Mapping], folder: Path) -> None:
    """Write the picture: a panel per dimension, a row per method, in it a line per step from the start downward."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib.figure import Figure

    names = list(numbers["2D"]["gaps"]["all"])
    figure = Figure(figsize=(9, 4.8), dpi=110, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, dimension in zip(panels, ("2D", "3D"), strict=True):
        own, basis = numbers[dimension]["gaps"]["all"], numbers[dimension]["basis"]["all"]
        for row, name in enumerate(names):
            for step, (mean, low, high) in enumerate(own[name]):
                at = row + 0.12 * (step - 2.5)
                ends = (mean, mean) if low is None else (low, high)
                axes.plot([100 * end for end in ends], [at, at], color=METHODS[name].colour, lw=1.6, alpha=0.75)
                axes.plot(100 * mean, at, "o", color=METHODS[name].colour, ms=6 if step == 0 else 3.5)
        axes.axvline(0, color=GREY, lw=1)
        axes.set_title(f"{dimension}: {basis['objects']} objects of {len(basis['sets'])} data sets", fontsize=10)
        axes.grid(axis="x", color="#e3e6ea")
        axes.set_axisbelow(True)
    panels[0].set_yticks(range(len(names)), [METHODS[name].title for name in names])
    panels[0].invert_yaxis()
    figure.suptitle(
        "From the start (large dot) downward to round 5; 95 % intervals over data sets and patients", fontsize=9
    )
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    write_atomically(folder / NAME, file.getvalue())
