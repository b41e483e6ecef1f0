"""Sheets of pictures: every method's best, median and worst object, run again to see its mask."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.benchmark import Run, judge
from bifseg.evaluation.figure import OBJECT, TRUTH, check_matplotlib
from bifseg.evaluation.methods import METHODS
from bifseg.evaluation.protocols.steps import Step
from bifseg.evaluation.targets import Target
from bifseg.io.datasets import Dataset
from bifseg.networks.checkpoint import shipped
from bifseg.prompts.interaction import Box
from bifseg.training.instances import across

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICKED = ("worst", "median", "best")
CONTEXT = 0.2  # shown around truth and mask, as a share of their longer side
BEHIND = "#26292e"  # of a picture that shows outlines only


@dataclass(frozen=True, eq=False)
class SheetPanel:
    """One plane of one object: image, truth and mask (x, y), spacing in mm, and what to say below."""

    image: np.ndarray
    truth: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float]
    caption: str


def draw_sheets(
    rows: Iterable[dict],
    find: Callable[[str, str], Dataset | None],
    *,
    images: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, bytes, str]]:
    """A sheet per dimension from the rows of the protocol ``rounds``: its file name, the PNG, and a caption.

    ``find``: of the name of a data set and a label, the data set with that label and the image it was judged on, or
    None where it is not at hand: its rows are left out then. ``images``: False draws outlines only, for scans that must
    not be passed on. ``progress``: called with a sentence for every run. Raises InvalidInput where nothing can be
    drawn.
    """
    check_matplotlib()
    chosen = _chosen(rows, find)
    if not chosen:
        raise InvalidInput("No row of these results can be drawn: give the data sets that they are about.")
    for dimension, methods in sorted(chosen.items()):
        pictures: dict[str, list[SheetPanel]] = {}
        for method, picked in methods.items():
            pictures[method] = []
            for run, row in picked:
                if progress is not None:
                    progress(f"Drawing {METHODS[method].title} on {row['label']} of {row['case']}")
                pictures[method].append(_picture(run, row))
        yield f"sheet-{dimension}d.png", _drawn(pictures, images), (
            f"{dimension}D: the worst, the median and the best object of every method after its last round. "
            "Orange: its mask; dashed: the truth."
        )  # fmt: skip


def _chosen(rows: Iterable[dict], find: Callable) -> dict[int, dict[str, list[tuple[Run, dict]]]]:
    last: dict[tuple, dict] = {}
    for row in rows:
        again = row["protocol"] == "rounds" and row["method"] in METHODS and not METHODS[row["method"]].remote
        if again and row["network"] in (None, *shipped()):
            key = tuple(row[k] for k in ("dataset", "case", "label", "dimension", "method", "network", "user", "seed"))
            if row["step"] >= last.get(key, row)["step"]:
                last[key] = row
    by_method: dict[int, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for row in last.values():
        if find(row["dataset"], row["label"]) is not None:
            by_method[row["dimension"]][row["method"]].append(row)
    result: dict[int, dict[str, list[tuple[Run, dict]]]] = {}
    for dimension, methods in by_method.items():
        for method in (name for name in METHODS if name in methods):
            ranked = sorted(methods[method], key=lambda row: row["dice"])
            picked = [ranked[0], ranked[len(ranked) // 2], ranked[-1]]
            result.setdefault(dimension, {})[method] = [
                (_run(row, find(row["dataset"], row["label"])), row) for row in picked
            ]
    return result


def _run(row: dict, dataset: Dataset) -> Run:
    """The run that a row is the last of."""
    case = next(case for case in dataset.cases if case.name == row["case"])
    box = Box.parse(row["box"])
    plane = None if row["dimension"] == 3 or box.plane is None else (box.plane, box.start[box.plane])
    target = Target(case, row["label"], tuple(dataset.labels[row["label"]]), plane)
    return Run(target, row["method"], row["network"], row["user"], row["seed"], row["protocol"], row["step"])


def _picture(run: Run, row: dict) -> SheetPanel:
    steps: list[Step] = []
    again = judge(run, steps.append)[-1]
    target, mask = run.target, steps[-1].mask
    axis = across(target.image) if target.plane is None else target.plane[0]
    index = int(target.truth.sum(axis=tuple({0, 1, 2} - {axis})).argmax())
    image, truth, mask = (np.take(a, index, axis=axis) for a in (target.image.array, target.truth, mask))
    across_x, across_y = (s for a, s in enumerate(target.image.spacing) if a != axis)
    name = row["dataset"].split("_", 1)[-1]
    dice = f"{100 * again['dice']:.0f}" + ("" if again["dice"] == row["dice"] else f" (then {100 * row['dice']:.0f})")
    return SheetPanel(image, truth, mask, (across_x, across_y), f"{name}\n{row['label']}: Dice {dice}")


def _drawn(pictures: Mapping[str, Sequence[SheetPanel]], images: bool) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.75 * len(pictures), 6.1), dpi=150)
    axes = figure.subplots(len(PICKED), len(pictures), squeeze=False)
    for column, (method, panels) in zip(axes.T, pictures.items(), strict=True):
        column[0].set_title(METHODS[method].title, fontsize=9)
        for panel, picture in zip(column, panels, strict=True):
            _panel(panel, picture, images)
    for panel, name in zip(axes[:, 0], PICKED, strict=True):
        panel.set_ylabel(name, fontsize=9)
    figure.subplots_adjust(left=0.025, right=0.998, top=0.95, bottom=0.05, wspace=0.06, hspace=0.18)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _panel(panel: Axes, picture: SheetPanel, images: bool) -> None:
    width, height = np.multiply(picture.truth.shape, picture.spacing)
    seen = picture.truth | picture.mask
    if images:
        inside = picture.image[_window(seen, CONTEXT)]
        low, high = np.percentile(inside, (0.5, 99.5))
        panel.imshow(picture.image.T, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=(0, width, height, 0))
    panel.set(xticks=[], yticks=[], facecolor="black" if images else BEHIND)
    x, y = ((np.arange(-1, n + 1) + 0.5) * s for n, s in zip(picture.truth.shape, picture.spacing, strict=True))
    for mask, colour, style in ((picture.truth, TRUTH, "dashed"), (picture.mask, OBJECT, "solid")):
        if mask.any():
            panel.contour(x, y, np.pad(mask, 1).T, levels=[0.5], colors=[colour], linewidths=1, linestyles=style)
    where = [np.array([w.start, w.stop]) * s for w, s in zip(_window(seen, CONTEXT), picture.spacing, strict=True)]
    side = max(stop - start for start, stop in where)
    (cx, cy) = ((start + stop) / 2 for start, stop in where)
    panel.set(xlim=(cx - side / 2, cx + side / 2), ylim=(cy + side / 2, cy - side / 2), aspect="equal")
    panel.spines[:].set_visible(False)
    panel.text(0.5, -0.02, picture.caption, fontsize=5.5, ha="center", va="top", transform=panel.transAxes)


def _window(mask: np.ndarray, context: float) -> tuple[slice, slice]:
    spans = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1)]
    wider = int(np.ceil(context * max(f[-1] - f[0] + 1 for f in spans)))
    rows, columns = (
        slice(max(0, int(f[0]) - wider), min(n, int(f[-1]) + 1 + wider)) for f, n in zip(spans, mask.shape, strict=True)
    )
    return rows, columns
