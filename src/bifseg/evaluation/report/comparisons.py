"""Paired differences of Dice: BIFSeg less each other method, and a network's refinements less the network."""

from __future__ import annotations

from bifseg.evaluation.report.document import Cell, Table
from bifseg.evaluation.report.groups import Column, Group, only, short_names
from bifseg.evaluation.report.tables import DAGGER, comparison_cells, head_names, step_name
from bifseg.evaluation.statistics import compare

PARTS = (("crf", "network"), ("bifseg-w", "network"))  # what a refinement without all of BIFSeg makes of the mask


def comparisons(group: Group) -> Table | None:
    """BIFSeg less each other method, and a network's other refinements less the network: paired differences of Dice.

    Over all objects of data sets that neither was trained on, at the start, after one round and at the end; and by data
    set at the end.
    """
    if group.main is None:
        return None
    network = group.main.network
    pairs = [(group.main, rival) for rival in group.rivals]
    parts = [(Column(a, network), Column(b, network)) for a, b in PARTS]
    pairs += [pair for pair in parts if {*pair} <= {*group.traces}]
    names, titles = short_names(d for d, _ in group.rows), head_names([group.main, *group.rivals])
    lines = []
    for ours, theirs in pairs:
        unseen = group.unseen([ours, theirs])
        for step in dict.fromkeys((0, min(1, group.last), group.last)):
            a, b = group.scores(ours, step), group.scores(theirs, step)
            chosen = [("**all**", unseen)] if len(unseen) > 1 or not group.rows else []
            if step == group.last or len(unseen) == 1:
                chosen += [(_marked(names[d], d not in unseen), {d}) for d in sorted({d for d, _ in group.rows})]
            for name, datasets in chosen:
                if comparison := compare(only(a, datasets=datasets), only(b, datasets=datasets)):
                    what = f"{titles[ours]} − {titles[theirs]}"
                    lines.append([Cell(what), Cell(step_name(step)), Cell(name), *comparison_cells(comparison)])
    if not lines:
        return None
    heads = ["Compared", "After", "Data", "n (patients)", "Points of Dice [95 %]", "t-test", "Wilcoxon", "Worse by > 1"]
    notes = (
        "Paired by object, each averaged over its seeds; 95 % interval by bootstrap over patients; worse: the "
        "share of objects that the first of the two left more than a point below the second."
    )
    return Table(
        f"comparisons-{group.dimension}d", f"{group.dimension}D, paired comparisons", heads, lines, 3, notes, True
    )


def _marked(name: str, seen: bool) -> str:
    return name + DAGGER if seen else name
