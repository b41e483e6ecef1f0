"""The figure of the demo: one row per loop, from box and scribbles to the mask. It knows planes, not sessions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Orange says "object", blue "not the object", for people of any colour vision; the truth is a dashed white line.
OBJECT, BACKGROUND, TRUTH = "#ff9f1c", "#4cb5f5", "#ffffff"
PAPER, INK, MUTED = "#15181d", "#f4f4f4", "#a7b0bb"
WEIGHTS = ("#000000", "#808080", "#ffffff")  # unsure, 1, scribble: as in Wang et al. 2018, Fig. 3
CONTEXT = 0.12  # shown around the box on every side, as a share of its longer side
HEADS = ("Draw a box", "First mask", "Scribble on errors", "Learning weights", "New mask")


@dataclass(frozen=True, eq=False)
class FigureRow:
    """A plane at each step; arrays (x, y) of one shape, x to the right and y down, spacing in mm.

    ``image``: intensities. ``box``, ``truth``, ``initial``, ``mask``: bool. ``scribbles``: 1 foreground, 2 background.
    ``weights``: w(i) of Eq. 13; ``levels``: its values where unsure and on scribbles. ``before`` and ``after``: what
    to say below the first and the last mask.
    """

    name: str
    image: np.ndarray
    truth: np.ndarray
    box: np.ndarray
    initial: np.ndarray
    scribbles: np.ndarray
    weights: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float]
    levels: tuple[float, float]
    before: str
    after: str


def check_matplotlib() -> None:
    """Raises InvalidInput that says how to install matplotlib where it is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InvalidInput('The figure needs matplotlib: pip install "bifseg[figures]".') from None


def draw(rows: Sequence[FigureRow], path: Path) -> None:
    """Write the figure as PNG, 1800 pixels wide: box, first mask, scribbles, weight map, and the new mask.

    Raises InvalidInput where matplotlib is missing.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    height = 0.34 + 2.02 * len(rows)
    figure = Figure(figsize=(9, height), dpi=200, facecolor=PAPER)
    grid = figure.subplots(
        len(rows), len(HEADS), squeeze=False,
        gridspec_kw={
            "left": 0.008, "right": 0.992, "wspace": 0.035, "hspace": 0.14, "top": 1 - 0.32 / height,
            "bottom": 0.24 / height,
        },
    )  # fmt: skip
    for axes, head in zip(grid[0], HEADS, strict=True):
        axes.set_title(head, color=INK, fontsize=9.5, pad=5)
    for row, (whole, first, drawn, weights, last) in zip(rows, grid, strict=True):
        for axes in (whole, first, drawn, weights, last):
            _show_image(axes, row)
        _frame(whole, row, np.ones_like(row.box), 0)
        _outline(whole, row, row.box, INK)
        _caption(whole, (row.name, MUTED))

        for axes, mask in ((first, row.initial), (last, row.mask)):
            _fill(axes, row, mask, OBJECT, 0.18)
            _outline(axes, row, row.truth, TRUTH, "dashed")
            _outline(axes, row, mask, OBJECT)
        _caption(first, (row.before, OBJECT), ("truth - -", TRUTH))
        _caption(last, (row.after, OBJECT), ("truth - -", TRUTH))

        _outline(drawn, row, row.initial, OBJECT)
        for label, colour in ((1, OBJECT), (2, BACKGROUND)):
            _fill(drawn, row, row.scribbles == label, colour, 1)
        _caption(drawn, ("object", OBJECT), ("not the object", BACKGROUND))

        unsure, omega = row.levels
        kinds = np.where((row.weights < (unsure + 1) / 2) & (unsure < 1), 0, 1)
        kinds[row.scribbles > 0] = 2  # by Eq. 13, though interpolation between slices may have thinned them out
        for kind, colour in enumerate(WEIGHTS):
            _fill(weights, row, row.box & (kinds == kind), colour, 1)
        black = f" · black {unsure:g}" if unsure < 1 else ""
        _caption(weights, (f"white {omega:g} · gray 1{black}", MUTED))
    figure.savefig(path, format="png")


def _extent(row: FigureRow) -> tuple[float, float, float, float]:
    """left, right, bottom, top of the plane in mm, as imshow wants them."""
    width, height = np.multiply(row.image.shape, row.spacing)
    return 0, width, height, 0


def _show_image(axes: Axes, row: FigureRow) -> None:
    low, high = np.percentile(row.image, (0.5, 99.5))
    axes.imshow(row.image.T, cmap="gray", vmin=low, vmax=high, extent=_extent(row), interpolation="bilinear")
    axes.set(xticks=[], yticks=[], facecolor="black")
    axes.spines[:].set_visible(False)
    _frame(axes, row, row.box, CONTEXT)


def _frame(axes: Axes, row: FigureRow, inside: np.ndarray, context: float) -> None:
    """Show a square around ``inside``."""
    extents = [(np.flatnonzero(inside.any(axis=1 - a))[[0, -1]] + (0, 1)) * row.spacing[a] for a in range(2)]
    side = max(high - low for low, high in extents) * (1 + 2 * context)
    limits = []
    for (low, high), extent in zip(extents, np.multiply(inside.shape, row.spacing), strict=True):
        start = (low + high - side) / 2
        if side < extent:  # moved so that no part of the square lies beyond the picture
            start = min(max(start, 0), extent - side)
        limits.append((start, start + side))
    axes.set(xlim=limits[0], ylim=limits[1][::-1])


def _fill(axes: Axes, row: FigureRow, mask: np.ndarray, colour: str, alpha: float) -> None:
    from matplotlib.colors import to_rgba

    pixels = np.zeros((*mask.T.shape, 4))
    pixels[mask.T] = to_rgba(colour, alpha)
    axes.imshow(pixels, extent=_extent(row), interpolation="nearest")


def _outline(axes: Axes, row: FigureRow, mask: np.ndarray, colour: str, style: str = "solid") -> None:
    if not mask.any():
        return
    x, y = ((np.arange(-1, n + 1) + 0.5) * s for n, s in zip(mask.shape, row.spacing, strict=True))
    width = 0.8 if style == "dashed" else 1.2
    axes.contour(x, y, np.pad(mask, 1).T, levels=[0.5], colors=[colour], linewidths=width, linestyles=style)


def _caption(axes: Axes, *parts: tuple[str, str]) -> None:
    """Coloured words below a panel, spread over its width; a single one in the middle."""
    places = np.linspace(0, 1, len(parts)) if len(parts) > 1 else [0.5]
    for place, (text, colour) in zip(places, parts, strict=True):
        side = {0.0: "left", 1.0: "right"}.get(float(place), "center")
        axes.text(place, -0.025, text, color=colour, fontsize=7.5, ha=side, va="top", transform=axes.transAxes)
