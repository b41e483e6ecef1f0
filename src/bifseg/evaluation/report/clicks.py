"""Protocols of clicks: the CVPR 2025 challenge's areas under curves, and the number of clicks to an IoU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from bifseg.evaluation.challenge import scores_of_clicks
from bifseg.evaluation.metrics import number_of_clicks
from bifseg.evaluation.report.document import Block, Cell, Heading, Table
from bifseg.evaluation.report.groups import Column, Group, Trace, short_names
from bifseg.evaluation.report.tables import DAGGER, KEEPS, head_names

LEVELS = (0.80, 0.85, 0.90)  # IoU
MOST = 20  # clicks; also what a failure counts
LIMIT = 90.0  # seconds for an object in the challenge; beyond it an entry scores 0


def challenge_scores(trace: Trace) -> dict[str, float]:
    """The challenge's four scores of a run, and its seconds in all."""
    scores = scores_of_clicks(trace.values("dice")[1:].tolist(), trace.values("nsd")[1:].tolist())
    return scores | {"seconds": float(trace.values("seconds").sum())}


def ious_by_click(trace: Trace) -> list[float]:
    """IoU after 1, 2, ... clicks; before the second corner of a box there is no mask, and 0."""
    curve: list[float] = []
    for dice, strokes in zip(trace.values("dice"), trace.values("strokes"), strict=True):
        before = curve[-1] if curve else 0.0
        if strokes:
            curve += [before] * (int(strokes) - 1) + [float(dice / (2 - dice))]
    return curve


def challenge_tables(group: Group) -> list[Block]:
    """By data set and method: the challenge's four scores and the time; then the mean over data sets."""
    heads = ["Data", "Method", "n", "DSC AUC", "NSD AUC", "DSC final", "NSD final", "s/object", "> 90 s"]
    forms = {"dsc_auc": ".3f", "nsd_auc": ".3f", "dsc_final": ".3f", "nsd_final": ".3f", "seconds": ".2f"}

    def numbers(traces: Sequence[Trace]) -> dict[str, float]:
        scores = [challenge_scores(trace) for trace in traces if len(trace.rows) > 1]
        means = {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}
        return means | {"late": float(np.mean([one["seconds"] > LIMIT for one in scores]))}

    table = _by_method(group, heads, forms | {"late": ".0%"}, numbers, "challenge", (
        "Box and five clicks by the challenge's rules. Areas: trapezoids over the five clicks, the box left "
        "out; at most 4. NSD at 2 mm, 0 where the Dice is 0.2 or less. Means over runs; time is that of all six steps."
    ))  # fmt: skip
    return [Heading(f"{group.dimension}D: the CVPR 2025 interactive challenge's protocol", 3), table]


def noc_tables(group: Group) -> list[Block]:
    """By data set and method: NoC@80/85/90, the share of failures, and seconds per click."""
    heads = ["Data", "Method", "n", *(f"NoC@{100 * level:.0f}" for level in LEVELS)]
    heads += [f"≥ {MOST}@{100 * level:.0f}" for level in LEVELS[1:]] + ["s/click"]
    forms = {f"noc{100 * level:.0f}": ".2f" for level in LEVELS}
    forms |= {f"failed{100 * level:.0f}": ".0%" for level in LEVELS[1:]} | {"seconds": ".3f"}

    def numbers(traces: Sequence[Trace]) -> dict[str, float]:
        means = {}
        for level in LEVELS:
            mean, failures = number_of_clicks(map(ious_by_click, traces), level, MOST)
            means[f"noc{100 * level:.0f}"] = mean
            means[f"failed{100 * level:.0f}"] = failures / len(traces)
        clicks = sum(trace.values("strokes").sum() for trace in traces)
        means["seconds"] = float(sum(t.values("seconds").sum() for t in traces) / clicks) if clicks else 0.0
        return means

    table = _by_method(group, heads, forms, numbers, "noc", (
        f"Mean number of clicks to the IoU; a box counts as two clicks, a failure as {MOST}. ≥ {MOST}: the "
        "share of runs that needed all clicks or failed. IoU = Dice / (2 - Dice)."
    ))  # fmt: skip
    return [Heading(f"{group.dimension}D: number of clicks", 3), table]


def _by_method(
    group: Group, heads: Sequence[str], forms: dict, numbers: Callable[[list[Trace]], dict[str, float]], name: str,
    notes: str,
) -> Table:  # fmt: skip
    titles, short = head_names(group.traces), short_names(d for d, _ in group.rows)
    unseen = group.unseen(group.traces)
    datasets = sorted(short)
    lines: list[list[Cell]] = []
    means: dict[Column, dict[str, dict[str, float]]] = defaultdict(dict)
    for dataset in datasets:
        for column, traces in group.traces.items():
            if chosen := [t for t in traces if t.thing.dataset == dataset]:
                means[column][dataset] = mean = numbers(chosen)
                mark = DAGGER if group.seen(column, dataset) else ""
                lines.append([
                    Cell(short[dataset]), Cell(titles[column] + mark), Cell(str(len(chosen)), len(chosen)),
                    *_cells(mean, forms),
                ])  # fmt: skip
    for column, by_set in means.items():
        if unseen and unseen <= by_set.keys():
            mean = {key: float(np.mean([by_set[d][key] for d in sorted(unseen)])) for key in forms}
            lines.append(
                [Cell("**mean of data sets**"), Cell(titles[column]), Cell(str(len(unseen))), *_cells(mean, forms)]
            )
    if len(unseen) < len(datasets):
        notes += f" {KEEPS}"
    caption = f"{group.dimension}D, protocol {name}: means by data set"
    return Table(f"{name}-{group.dimension}d", caption, heads, lines, 2, notes)


def _cells(numbers: dict[str, float], forms: dict[str, str]) -> list[Cell]:
    return [Cell(f"{numbers[key]:{form}}".replace("%", " %"), round(numbers[key], 5)) for key, form in forms.items()]
