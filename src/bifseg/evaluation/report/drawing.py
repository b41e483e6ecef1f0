"""How the report's figures are drawn, as PNG: panels of curves, and boxes.

A method has one colour and one mark in all of them (`methods.METHODS`), told apart by people of any colour vision
(after Okabe and Ito); BIFSeg is the strongest. Networks of one method differ by line style.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bifseg.evaluation.methods import METHODS, Method
from bifseg.evaluation.report.acceptance import LEVEL, reach
from bifseg.evaluation.report.groups import OURS, Column, Group, Trace, short_names, structure
from bifseg.evaluation.report.tables import DAGGER, head_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = ("solid", "dashed", "dotted", "dashdot")
INK, MUTED, GRID = "#1b1f24", "#5b6570", "#e3e6ea"
DPI, WIDTH = 150, 9.0  # inches
ACROSS = 4  # panels in a row
Curve = tuple[np.ndarray, np.ndarray]
MACRO = "macro"
UNKNOWN = Method("")  # of results that another version wrote


def draw_curves(
    group: Group, columns: Sequence[Column], curve: Callable[[Sequence[Trace]], Curve], along: str, up: str,
    level: float | None, marks: bool = True,
) -> bytes:  # fmt: skip
    """A panel per data set after one for the macro average."""
    names = short_names(d for d, _ in group.rows)
    unseen = group.unseen(columns)
    panels = ([MACRO] if len(unseen) > 1 or len(unseen & names.keys()) == 1 < len(names) else []) + sorted(names)
    down = -(-len(panels) // ACROSS)
    across = -(-len(panels) // down)
    side = WIDTH / max(across, 2)
    figure, grid = _figure(down, across, (max(WIDTH * across / max(across, 2), 4.5), 0.8 * side * down + 0.75), True)
    styles = _styles(columns)
    heads = head_names(columns)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    lowest = 100.0
    for axes, panel in zip(grid.flat, panels, strict=False):
        objects: set = set()
        for column in columns[::-1]:  # the first lies on top
            drawn = _panel(group, column, panel, unseen, curve)
            if drawn is None:
                continue
            (x, y), things = drawn
            objects |= things
            lowest = min(lowest, 100 * float(y[y > 0].min(initial=1)))
            style = dict(styles[column])
            style["marker"] = style["marker"] if marks else "None"
            hidden = panel != MACRO and group.seen(column, panel)
            axes.plot(x, 100 * y, label=heads[column], alpha=0.45 if hidden else 1, **style)
        if level is not None:
            axes.axhline(100 * level, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        mark = DAGGER if panel != MACRO and panel not in unseen else ""
        axes.set_title(
            f"{names.get(panel, panel)}{mark}  n = {len(objects)}",
            fontsize=8.5, loc="left", color=INK, fontweight="bold" if panel == MACRO else "normal",
        )  # fmt: skip
        if marks:
            axes.set_xticks(_ticks(max((line.get_xdata().max() for line in axes.lines if len(line.get_xdata()) > 2),
                                       default=1)))  # fmt: skip
        else:
            axes.set_xlim(left=0)
    bottom = 0 if lowest < 30 else 10 * np.floor((lowest - 2) / 10)
    grid.flat[0].set_ylim(bottom, 101)
    for k, axes in enumerate(grid.flat[: len(panels)]):
        if k % across == 0:
            axes.set_ylabel(up, fontsize=8.5, color=INK)
        if k + across >= len(panels):
            axes.set_xlabel(along, fontsize=8.5, color=INK)
        axes.tick_params(labelbottom=True)
    return _png(figure, grid, columns, styles, heads, marks)


def _panel(
    group: Group, column: Column, panel: str, unseen: set[str], curve: Callable[[Sequence[Trace]], Curve]
) -> tuple[Curve, set] | None:
    """The curve of one method in one panel; the macro average is the mean of the structures' curves."""
    chosen = unseen if panel == MACRO else {panel}
    rows = [row for row in group.rows if row[0] in chosen]
    parts = [[t for t in group.traces[column] if structure(t.thing) == row] for row in rows]
    things = {t.thing for part in parts for t in part}
    if not things or (panel == MACRO and not all(parts)):
        return None
    if panel != MACRO:
        return curve([t for part in parts for t in part]), things
    curves = [curve(part) for part in parts]
    length = min(len(x) for x, _ in curves)
    return (curves[0][0][:length], np.mean([y[:length] for _, y in curves], axis=0)), things


def draw_boxes(group: Group, columns: Sequence[Column]) -> bytes:
    """Dice above, user time below: by data set, a box per method."""
    names = short_names(d for d, _ in group.rows)
    datasets = sorted(names)
    width = min(14.0, max(5.5, 1.2 + len(datasets) * (0.5 + 0.24 * len(columns))))
    figure, grid = _figure(2, 1, (width, 5.6), False)
    styles, heads = _styles(columns), head_names(columns)
    step = 0.8 / len(columns)
    for place, dataset in enumerate(datasets):
        for k, column in enumerate(columns):
            reaches = [reach(t) for t in group.traces[column] if t.thing.dataset == dataset]
            if not reaches:
                continue
            at = place - 0.4 + (k + 0.5) * step
            seen = group.seen(column, dataset)
            for axes, values in zip(
                grid.flat, ([100 * one.dice for one in reaches], [one.seconds for one in reaches]), strict=True
            ):
                _box(axes, values, at, 0.78 * step, styles[column], seen)
    for axes, name in zip(grid.flat, ("Dice at acceptance (%)", "User time to acceptance (s)"), strict=True):
        axes.set_ylabel(name, fontsize=9, color=INK)
        axes.set_xlim(-0.55, len(datasets) - 0.45)
        axes.set_xticks(range(len(datasets)), [""] * len(datasets))
        for border in np.arange(len(datasets) - 1) + 0.5:
            axes.axvline(border, color=GRID, linewidth=0.8)
    grid.flat[0].axhline(100 * LEVEL, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    grid.flat[1].set_ylim(bottom=0)
    counts = [max(sum(t.thing.dataset == d for t in group.traces[c]) for c in columns) for d in datasets]
    labels = [
        f"{names[d]}{DAGGER if any(group.seen(c, d) for c in columns) else ''}\n({n})"
        for d, n in zip(datasets, counts, strict=True)
    ]
    grid.flat[1].set_xticks(range(len(datasets)), labels, fontsize=8.5)
    return _png(figure, grid, columns, styles, heads, False, boxes=True)


def _box(axes: Axes, values: Sequence[float], at: float, width: float, style: Mapping, seen: bool) -> None:
    colour = style["color"]
    drawn = axes.boxplot(
        [values], positions=[at], widths=[width], whis=(5, 95), showfliers=False, showmeans=True, patch_artist=True,
        manage_ticks=False, medianprops={"color": "white" if _dark(style) else INK, "linewidth": 1.2},
        meanprops={"marker": "D", "markersize": 3, "markerfacecolor": "white", "markeredgecolor": INK,
                   "markeredgewidth": 0.6},
        whiskerprops={"color": colour, "linewidth": 1}, capprops={"color": colour, "linewidth": 1},
    )  # fmt: skip
    for box in drawn["boxes"]:
        box.set(facecolor=_fill(style), edgecolor=colour, alpha=0.4 if seen else 0.85)


def _fill(style: Mapping) -> str:
    """A second network of one method has empty boxes."""
    return style["color"] if style["linestyle"] == LINES[0] else "white"


def _dark(style: Mapping) -> bool:
    colour = _fill(style)
    return colour != "white" and sum(int(colour[k : k + 2], 16) for k in (1, 3, 5)) < 300


def _styles(columns: Sequence[Column]) -> dict[Column, dict]:
    styles = {}
    for column in columns:
        method = METHODS.get(column.method, UNKNOWN)
        same = [c for c in columns if c.method == column.method]
        strong = column.method == OURS
        styles[column] = {
            "color": method.colour, "marker": method.mark, "linestyle": LINES[same.index(column) % len(LINES)],
            "linewidth": 2.6 if strong else 1.3, "markersize": 5 if strong else 4, "markeredgecolor": "white",
            "markeredgewidth": 0.5, "zorder": 4 if strong else 3,
        }  # fmt: skip
    return styles


def _ticks(last: float) -> list[int]:
    step = 1 if last <= 8 else 5
    return list(range(0, int(last) + 1, step))


def _figure(down: int, across: int, size: tuple[float, float], shared: bool) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI, facecolor="white", layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=shared, sharex=shared)
    for axes in grid.flat:
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(MUTED)
        axes.tick_params(labelsize=8, length=0, colors=INK)
    return figure, grid


def _png(
    figure: Figure, grid: np.ndarray, columns: Sequence[Column], styles: Mapping[Column, Mapping],
    heads: Mapping[Column, str], marks: bool, boxes: bool = False,
) -> bytes:  # fmt: skip
    """The figure with one legend above it."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = []
    for column in columns:
        style = dict(styles[column])
        if boxes:
            handles.append(Patch(facecolor=_fill(style), edgecolor=style["color"], alpha=0.85, label=heads[column]))
            continue
        style["marker"] = style["marker"] if marks else "None"
        handles.append(Line2D([], [], label=heads[column], **style))
    wide = int(figure.get_figwidth() / 1.35)
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(len(handles), wide), frameon=False, fontsize=8.5,
        handlelength=2.4 if not boxes else 1.2, columnspacing=1.4,
    )  # fmt: skip
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()
