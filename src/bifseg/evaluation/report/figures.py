"""The report's figures: curves over rounds, user time and clicks, and box plots at acceptance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bifseg.evaluation.challenge import FAILED
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.report.acceptance import LEVEL
from bifseg.evaluation.report.clicks import MOST, ious_by_click
from bifseg.evaluation.report.document import Picture
from bifseg.evaluation.report.drawing import Curve, draw_boxes, draw_curves
from bifseg.evaluation.report.groups import Column, Group, Trace

MOMENTS = 240  # points of a curve over time
SHOWN = 0.95  # of the runs' time is on the axis


Figures = dict[Group, list[tuple[Picture, bytes]]]


def draw_figures(groups: Sequence[Group]) -> Figures:
    """Every figure that the rows allow, with its caption; of several users of one protocol, those of the first."""
    first = {(g.protocol, g.dimension): g for g in reversed(groups)}
    return {group: PROTOCOLS[group.protocol].load("figures")(group) for group in first.values()}


def rounds_figures(group: Group) -> list[tuple[Picture, bytes]]:
    """Curves over rounds and user time, boxes at acceptance, and what the parts of BIFSeg add."""
    d, made = group.dimension, []
    columns = group.interactive
    if columns:
        caption = (
            f"{d}D: mean Dice over {{}}, by data set and as macro average (every structure counts the same). "
            f"Dashed: Dice {LEVEL:.2f}."
        )
        if group.last:
            made.append((
                Picture(f"curves-{d}d-rounds.png", caption.format("rounds of scribbles")),
                draw_curves(group, columns, _by_step("dice"), "rounds of scribbles", "Dice (%)", LEVEL),
            ))  # fmt: skip
        made.append((
            Picture(f"curves-{d}d-time.png", caption.format("the user's time, of all runs; 0 before the first mask")),
            draw_curves(group, columns, _over_time(group, columns), "user time (s)", "Dice (%)", LEVEL, marks=False),
        ))  # fmt: skip
        made.append((
            Picture(
                f"boxes-{d}d.png",
                f"{d}D: Dice and user time at acceptance, which is at Dice {LEVEL:.2f} or, where that is never "
                "reached, at the end. Boxes: quartiles and median; whiskers: 5 % and 95 %; diamonds: means; n "
                "in brackets: runs.",
            ),
            draw_boxes(group, columns),
        ))  # fmt: skip
    families = [network for network in group.networks if len(group.parts(network)) > 1]
    for network in families:
        suffix = f"-{network}" if len(families) > 1 else ""
        made.append((
            Picture(
                f"ablation-{d}d{suffix}.png",
                f"{d}D: what the parts of BIFSeg add to {network}: mean Dice over rounds, the first of which "
                "is drawn with the same scribbles for all.",
            ),
            draw_curves(group, group.parts(network)[::-1], _by_step("dice"), "rounds of scribbles", "Dice (%)", None),
        ))  # fmt: skip
    return made


def challenge_figures(group: Group) -> list[tuple[Picture, bytes]]:
    """Both scores over clicks."""
    made = []
    for metric, name in (("dice", "DSC"), ("nsd", "NSD")):
        caption = f"{group.dimension}D, challenge: mean {name} after the box (0) and each click."
        made.append((
            Picture(f"challenge-{group.dimension}d-{metric}.png", caption),
            draw_curves(group, list(group.traces), _by_step(metric), "clicks", f"{name} (%)", None),
        ))  # fmt: skip
    return made


def noc_figures(group: Group) -> list[tuple[Picture, bytes]]:
    """IoU over clicks."""
    caption = f"{group.dimension}D: mean IoU after each click; a box counts as two. Dashed: IoU 0.90."
    picture = Picture(f"clicks-{group.dimension}d.png", caption)
    return [(picture, draw_curves(group, list(group.traces), _by_click, "clicks", "IoU (%)", 0.9))]


def step_figures(group: Group) -> list[tuple[Picture, bytes]]:
    """Dice over steps: for protocols without figures of their own."""
    picture = Picture(
        f"{group.protocol}-{group.dimension}d.png", f"{group.dimension}D, {group.protocol}: mean Dice after each step."
    )
    return [(picture, draw_curves(group, list(group.traces), _by_step("dice"), "steps", "Dice (%)", None))]


def _by_step(metric: str) -> Callable[[Sequence[Trace]], Curve]:
    def curve(traces: Sequence[Trace]) -> Curve:
        length = min(len(trace.rows) for trace in traces)
        values = np.array([trace.values(metric)[:length] for trace in traces])
        if metric == "nsd" and traces[0].rows[0]["protocol"] == "challenge":
            values[np.array([trace.values("dice")[:length] for trace in traces]) <= FAILED] = 0
        return np.arange(length), values.mean(axis=0)

    return curve


def _by_click(traces: Sequence[Trace]) -> Curve:
    """IoU by click, from the first that any run has a mask after; who is content clicks no more, and keeps the last."""
    curves, first = [], MOST
    for trace in traces:
        ious = ious_by_click(trace)[:MOST] or [0.0]
        curves.append(ious + ious[-1:] * (MOST - len(ious)))
        first = min(first, int(trace.values("strokes")[trace.values("strokes") > 0][:1].sum()) or MOST)
    return np.arange(first, MOST + 1), np.mean(curves, axis=0)[first - 1 :]


def _over_time(group: Group, columns: Sequence[Column]) -> Callable[[Sequence[Trace]], Curve]:
    """Mean Dice of all runs at each moment: 0 before the first mask, then that of the last mask made."""
    ends = [t.values("user_seconds").sum() for c in columns for t in group.traces[c]]
    moments = np.linspace(0, max(float(np.quantile(ends, SHOWN)), 1e-6), MOMENTS)

    def curve(traces: Sequence[Trace]) -> Curve:
        total = np.zeros(MOMENTS)
        for trace in traces:
            made = np.cumsum(trace.values("user_seconds"))
            dice = np.concatenate([[0.0], trace.values("dice")])
            total += dice[np.searchsorted(made, moments, side="right")]
        return moments, total / len(traces)

    return curve
