"""The figure: above, what a box costs by its size; below, the other methods on the same boxes. 2D left, 3D right."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.speed.peers import OURS
from benchmarks.speed.targets import curve
from benchmarks.speed.timing import FIRST, MOMENTS, REFINEMENT, WHOLE, Measurement
from bifseg.networks.checkpoint import DEFAULT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import SubFigure
    from matplotlib.ticker import NullLocator

COLOURS = {FIRST: "#d55e00", REFINEMENT: "#0072b2"}  # after Okabe and Ito: told apart by people of any colour vision
MARKS = {FIRST: "o", REFINEMENT: "s"}
INK, MUTED, GRID = "#1b1f24", "#5b6570", "#e3e6ea"
DPI, WIDTH = 150, 9.0  # inches
CLOSE = 0.075  # of an axis: words nearer than that are moved apart
BELOW = 3.0  # so much below the fastest of our times an axis begins


def draw(found: Sequence[Measurement]) -> bytes | None:
    """A PNG; None where nothing that it shows was measured."""
    from matplotlib.figure import Figure

    dimensions = [d for d in (2, 3) if any(m.matches(dimension=d) and m.part in DRAWN for m in found)]
    rows = [part for part in DRAWN if any(m.part == part for m in found)]
    if not rows:
        return None
    heights = [HEIGHTS[part] for part in rows]
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=DPI, facecolor="white", layout="constrained")
    for part, own in zip(rows, figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False).flat, strict=True):
        panels = own.subplots(1, len(dimensions), squeeze=False)[0]
        for d, axes in zip(dimensions, panels, strict=True):
            _clean(axes)
            DRAWN[part](axes, found, d)
        if part == rows[0]:
            _legend(own)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1, wspace=0.04)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _sizes(axes: Axes, found: Sequence[Measurement], dimension: int) -> None:
    """Time over the side of the box: lines with the quartiles behind them, and the network's limit."""
    words: list[tuple[float, str, str]] = []
    least = np.inf
    for moment in MOMENTS:
        points = list(curve(found, dimension, moment))
        if not points:
            continue
        sides, taken = zip(*points, strict=True)
        low, high = zip(*(m.quartiles for m in taken), strict=True)
        colour = COLOURS[moment]
        axes.fill_between(sides, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(sides, [m.median for m in taken], color=colour, linewidth=2.2, marker=MARKS[moment], markersize=5,
                  markeredgecolor="white", markeredgewidth=0.7, zorder=4)  # fmt: skip
        words.append((taken[-1].median, moment, colour))
        least = min(least, *(m.median for m in taken))
    limits = [(side, m.limit) for side, m in curve(found, dimension, FIRST, "features") if m.limit]
    if limits and limits[-1][1] > least / BELOW:  # else it lies below the axis
        axes.plot(*zip(*limits, strict=True), color=MUTED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=3)
        words.append((limits[-1][1], "limit of the\nnetwork", MUTED))
    sides = sorted({side for moment in MOMENTS for side, _ in curve(found, dimension, moment)})
    axes.set_xscale("log")
    axes.set_yscale("log")
    shown = sides if len(sides) < 6 else [s for s in sides if s != 64]
    axes.set_xticks(shown, [str(s) for s in shown])
    axes.xaxis.set_minor_locator(_nothing())
    axes.set_xlim(sides[0] / 1.08, sides[-1] * 1.06)
    axes.set_ylim(bottom=least / BELOW)
    _seconds(axes.yaxis, (1.0, 3.0))
    axes.set_xlabel(f"side of the box ({'pixels' if dimension == 2 else 'voxels'})", fontsize=9, color=INK)
    _title(axes, f"{dimension}D: cost against size")
    _own_grid(axes, found, dimension)
    _beside(axes, words)


def _own_grid(axes: Axes, found: Sequence[Measurement], dimension: int) -> None:
    """The same boxes on the one working grid that the product has for all of them."""
    highest = []
    for moment in MOMENTS:
        same = {"part": "stages", "dimension": dimension, "preset": "fast", "moment": moment, "stage": WHOLE}
        taken = [m for m in found if m.matches(**same, network=DEFAULT[dimension])]
        taken.sort(key=lambda m: m.facts["side"])
        if taken:
            axes.plot([m.facts["side"] for m in taken], [m.median for m in taken], color=COLOURS[moment],
                      linewidth=1.5, linestyle=(0, (1, 1.4)), zorder=3)  # fmt: skip
            highest.append((taken[0].median, taken[0]))
    if highest:
        place, first = max(highest, key=lambda pair: pair[0])
        text = f"shipped grid, {first.facts['grid']}"
        axes.annotate(text, (first.facts["side"], place), xytext=(0, 5), textcoords="offset points", color=MUTED,
                      fontsize=8.5, va="bottom")  # fmt: skip


def _methods(axes: Axes, found: Sequence[Measurement], dimension: int) -> None:
    """Both times of every method, on one line each; ours on top."""
    here = [m for m in found if m.matches(part="peers", dimension=dimension, stage=WHOLE)]
    if not here:
        axes.set_axis_off()
        return
    finest = max(m.facts["grid"] for m in here)
    entries = list(dict.fromkeys((m.facts["method"], m.facts["title"], m.facts["grid"]) for m in here))
    entries.sort(key=lambda e: e[0] != OURS)
    own = [e for e in entries if e[0] == OURS]
    names = []
    for place, (method, title, cells) in enumerate(entries):
        ours = method == OURS
        times = {m.moment: m for m in here if m.facts["method"] == method and m.facts["grid"] == cells}
        middle = [times[moment].median for moment in MOMENTS]
        axes.plot(middle, [place, place], color=GRID if not ours else "#c9ced4", linewidth=3, zorder=2,
                  solid_capstyle="round")  # fmt: skip
        for moment in MOMENTS:
            axes.plot([times[moment].median], [place], color=COLOURS[moment], marker=MARKS[moment],
                      markersize=7 if ours else 5.5, markeredgecolor="white", markeredgewidth=0.7,
                      linewidth=0, zorder=4, alpha=1 if ours else 0.75)  # fmt: skip
        names.append(f"{title}, on their grid" if ours and cells == finest and len(own) > 1 else title)
    axes.set_yticks(range(len(entries)), names)
    for label, (method, *_) in zip(axes.get_yticklabels(), entries, strict=True):
        label.set(fontweight="bold" if method == OURS else "normal", fontsize=9)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    axes.set_xscale("log")
    _seconds(axes.xaxis, (1.0, 3.0))
    side = here[0].facts["side"]
    _title(axes, f"{dimension}D: other methods, {side} {'pixels' if dimension == 2 else 'voxels'} a side")


def _beside(axes: Axes, words: Sequence[tuple[float, str, str]]) -> None:
    """Words at the right ends of lines, in their colours, moved apart where they would touch."""
    low, high = np.log(axes.get_ylim())
    places = sorted(
        (float(np.clip((np.log(value) - low) / (high - low), 0, 1)), text, colour) for value, text, colour in words
    )
    last = -np.inf
    for place, text, colour in places:
        lines = text.count("\n") + 1
        last = place = max(place, last + CLOSE * (lines + 1) / 2)
        axes.annotate(text, (1, place), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points",
                      color=colour, fontsize=9, va="center", linespacing=1.05, annotation_clip=False)  # fmt: skip


def _seconds(axis: Axis, steps: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_major_locator(LogLocator(10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s" if value >= 1 else f"{1e3 * value:g} ms"))
    axis.set_minor_locator(_nothing())


def _nothing() -> NullLocator:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _clean(axes: Axes) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(labelsize=9, length=0, colors=INK)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10.5, loc="left", color=INK, fontweight="bold", pad=8)


def _legend(figure: SubFigure) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[m], marker=MARKS[m], linewidth=2.2, markersize=6, markeredgecolor="white", label=m)
        for m in MOMENTS
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=10, handlelength=2.2)


DRAWN: dict[str, Callable[[Axes, Sequence[Measurement], int], None]] = {"grid": _sizes, "peers": _methods}
HEIGHTS = {"grid": 3.7, "peers": 2.7}  # inches
