"""Whole interactive methods side by side: scores round by round, user time, machine time, memory, kinds of users."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from bifseg.evaluation.report.acceptance import LEVEL, Reach, median, reached, times, times_of
from bifseg.evaluation.report.comparisons import comparisons
from bifseg.evaluation.report.document import EMPTY, Block, Cell, Heading, Table, Text
from bifseg.evaluation.report.groups import Column, Group, only, short_names, structure
from bifseg.evaluation.report.tables import (
    DAGGER,
    KEEPS,
    METRICS,
    cost_table,
    head_names,
    rounded,
    score_table,
    seconds_text,
    step_name,
)
from bifseg.evaluation.simulated_users import MARGIN
from bifseg.evaluation.statistics import Thing, averages


def interactive_tables(group: Group) -> list[Block]:
    """Dice and NSD after every round, user time to a Dice of 0.90, costs, and paired comparisons."""
    d, columns = group.dimension, group.interactive
    blocks: list[Block] = [Heading(f"{d}D: interactive methods side by side", 3)]
    if not columns:
        return [*blocks, Text("No interactive method was judged.")]
    shown: list[Table | None] = [_by_round(group, columns), time_table(group, columns)]
    for metric, name in METRICS.items():
        for step in range(group.last + 1):
            shown.append(
                score_table(
                    group, columns, step, f"{metric}-{d}d-{step}",
                    f"{d}D, {_after(step)}: {name} (%)", metric=metric, seconds=False,
                )
            )  # fmt: skip
    every = list(group.traces)
    shown.append(
        cost_table(group, every, "seconds", f"seconds-{d}d", f"{d}D: machine time of a step, median seconds", ".2f")
    )
    shown.append(
        cost_table(group, every, "peak_mib", f"memory-{d}d", f"{d}D: peak memory of a step, median MiB", ".0f")
    )
    shown.append(comparisons(group))
    return blocks + [table for table in shown if table]


def step_tables(group: Group) -> list[Block]:
    """Dice and NSD after every step: for protocols without tables of their own."""
    blocks: list[Block] = [Heading(f"{group.dimension}D, {group.protocol}: scores after each step", 3)]
    for metric, name in METRICS.items():
        for step in range(group.last + 1):
            table = score_table(
                group, list(group.traces), step, f"{group.protocol}-{metric}-{group.dimension}d-{step}",
                f"{group.dimension}D, {group.protocol}, step {step}: {name} (%)", metric=metric,
            )  # fmt: skip
            blocks += [table] if table else []
    return blocks


def time_table(group: Group, columns: Sequence[Column]) -> Table:
    """The median user time to a Dice of 0.90 by structure, and the share of runs that got there."""
    names, heads = short_names(d for d, _ in group.rows), head_names(columns)
    unseen = group.unseen(columns)
    lines = []
    for dataset, label in group.rows:
        cells = [
            _time_cell(
                list(times_of(group, c, {dataset}, label).values()), DAGGER if group.seen(c, dataset) else ""
            )
            for c in columns
        ]  # fmt: skip
        lines.append([Cell(names[dataset]), Cell(label), *_with_best(cells, True)])
    cells = [_time_cell(list(times_of(group, c, unseen).values())) for c in columns]
    lines.append([Cell("**all runs**"), Cell(""), *_with_best(cells, True)])
    notes = (
        "In brackets the share of runs (objects x seeds) that got there within the rounds. The others count as "
        "longer than any: – where the median run is one of them. Time is the user's hand and eye by the cost model, "
        "and waiting."
    )
    notes += f" {KEEPS}" if len(unseen) < len({d for d, _ in group.rows}) else ""
    return Table(
        f"time-{group.dimension}d", f"{group.dimension}D: user seconds to Dice {LEVEL:.2f}, median",
        ["Data", "Object", *(heads[c] for c in columns)], lines, 2, notes,
    )  # fmt: skip


def users_tables(groups: Sequence[Group]) -> list[Block]:
    """Kinds of users and box margins side by side, for each dimension that has several of them.

    Where a user worked on other objects than the first one, the first user's scores on the same objects stand below.
    """
    blocks: list[Block] = []
    for dimension in (2, 3):
        alike = [group for group in groups if group.dimension == dimension]
        if len(alike) < 2:
            continue
        columns = list(dict.fromkeys(c for group in alike for c in group.interactive))
        unseen = set.intersection(*(group.unseen(columns) | _absent(group, alike) for group in alike))
        things = {
            id(g): {t.thing for c in columns for t in g.traces.get(c, ()) if t.thing.dataset in unseen} for g in alike
        }
        first = alike[0]
        pairs = [(first, first.user, things[id(first)])]
        for group in alike[1:]:
            pairs.append((group, group.user, things[id(group)]))
            common = things[id(group)] & things[id(first)]
            if common and common != things[id(first)]:
                pairs.append((first, f"{first.user}, same objects", common))
        blocks.append(Heading(f"{dimension}D: other users, other boxes", 3))
        titles = head_names(columns)
        heads = ["User", "Margin", "Objects", *(titles[c] for c in columns)]
        for what, key in (("after one round", "one"), ("after the last round", "last"), ("", "time")):
            lines = []
            for group, name, chosen in pairs:
                if not chosen:
                    continue
                kind, _, margin = group.user.partition(":")
                fixed = [name.replace(group.user, kind), margin or str(MARGIN), str(len(chosen))]
                cells = [_user_cell(group, c, chosen, key) for c in columns]
                lines.append([*(Cell(text) for text in fixed), *_with_best(cells, key == "time")])
            caption = f"{dimension}D, by user: " + (
                f"macro average of Dice (%) {what}"
                if what
                else f"user seconds to Dice {LEVEL:.2f}, median (share that got there)"
            )
            notes = (
                "Margin: a side of the box lies 0 to so many voxels outside the object. Data that no network here was "
            )
            notes += "trained on."
            blocks.append(Table(f"users-{dimension}d-{key}", caption, heads, lines, 3, notes))
    return blocks


def _by_round(group: Group, columns: Sequence[Column]) -> Table | None:
    """The macro average round by round, and at acceptance: the whole comparison at one glance."""
    unseen = group.unseen(columns)
    if not unseen:
        return None
    heads, structures = head_names(columns), {row for row in group.rows if row[0] in unseen}
    lines = []
    for metric, name in METRICS.items():
        for step in range(group.last + 1):
            cells = []
            for column in columns:
                scores = only(group.scores(column, step, metric), datasets=unseen)
                cells.append(
                    _mean_cell(averages(scores).macro) if {structure(t) for t in scores} == structures else EMPTY
                )
            lines.append([Cell(name), Cell(step_name(step)), *_with_best(cells)])
    return Table(
        f"rounds-{group.dimension}d", f"{group.dimension}D, macro average by round: Dice and NSD (%)",
        ["Score", "After", *(heads[c] for c in columns)], lines, 2,
        f"Over {len(structures)} structures of {len(unseen)} data sets that no network here was trained on.",
    )  # fmt: skip


def _absent(group: Group, groups: Sequence[Group]) -> set[str]:
    """The data sets of other groups that this one has no runs on."""
    return {d for other in groups for d, _ in other.rows} - {d for d, _ in group.rows}


def _user_cell(group: Group, column: Column, things: set[Thing], key: str) -> Cell:
    if key == "time":
        traces = [t for t in group.traces.get(column, ()) if t.thing in things]
        return _time_cell(list(times(traces).values()))
    step = min(1, group.last) if key == "one" else group.last
    scores = {t: v for t, v in group.scores(column, step).items() if t in things}
    return (
        _mean_cell(averages(scores).macro)
        if scores and set(map(structure, scores)) == set(map(structure, things))
        else EMPTY
    )


def _mean_cell(mean: float) -> Cell:
    return Cell(f"{100 * mean:.1f}", round(mean, 5))


def _with_best(cells: Sequence[Cell], least: bool = False) -> list[Cell]:
    """The same cells, the highest (``least``: the lowest) of those without a dagger in bold."""
    values = [_value(cell) for cell in cells]
    known = [value for value in values if value is not None]
    best = None if not known else min(known) if least else max(known)
    return [Cell(c.text, c.numbers, v is not None and v == best) for c, v in zip(cells, values, strict=True)]


def _value(cell: Cell) -> float | None:
    """The number that a cell shows; None for none, and for one with a dagger."""
    number = re.match(r"[\d.]+", cell.text)
    return float(number[0]) if number and DAGGER not in cell.text else None


def _time_cell(reaches: Sequence[Reach], mark: str = "") -> Cell:
    if not reaches:
        return EMPTY
    middle, share = median(reaches), reached(reaches)
    numbers = {
        "median": rounded(middle), "reached": rounded(share), "runs": len(reaches),
        "accepted_seconds": rounded(float(np.median([one.seconds for one in reaches]))),
        "accepted_dice": rounded(float(np.mean([one.dice for one in reaches]))),
    }  # fmt: skip
    return Cell(f"{seconds_text(middle)} ({100 * share:.0f} %){mark}", numbers)


def _after(step: int) -> str:
    return "from the start (the box, or the first scribbles)" if step == 0 else f"after round {step} of scribbles"
