"""The paper's Tables I to VI from rows of the protocol ``rounds``, and the paired comparisons behind them."""

from __future__ import annotations

from bifseg.evaluation.report.document import Block, Cell, Heading, Table, Text
from bifseg.evaluation.report.groups import Column, Group, only, short_names
from bifseg.evaluation.report.tables import DAGGER, comparison_cells, head_names, score_table, step_name
from bifseg.evaluation.statistics import compare

NUMERALS = {2: ("I", "II", "III"), 3: ("IV", "V", "VI")}
PARTS = (("crf", "network"), ("bifseg-w", "network"))  # what a refinement without all of BIFSeg makes of the mask


def paper_tables(group: Group) -> list[Block]:
    """Tables I-III (2D) or IV-VI (3D): networks from the box; refinement without scribbles; one round of scribbles."""
    first, second, third = NUMERALS[group.dimension]
    grabcut = Column("grabcut")
    networks = [c for c in group.traces if c.method == "network"] + ([grabcut] if grabcut in group.traces else [])
    blocks: list[Block] = [Heading(f"{group.dimension}D: Tables {first} to {third} of the paper", 3)]
    table = score_table(
        group, networks, 0, f"table-{first}", f"Table {first}. {group.dimension}D, from the box alone: Dice (%)"
    )
    blocks += [table] if table else [Text(f"Table {first} is empty: no network and no GrabCut was judged.")]
    for network in group.networks:
        family = group.family(network)
        if len(family) < 2:
            continue
        suffix = f"-{network}" if sum(len(group.family(n)) > 1 for n in group.networks) > 1 else ""
        for numeral, step, what in (
            (second, 0, "refinement without scribbles"), (third, 1, "one round of the same scribbles"),
        ):  # fmt: skip
            notes = "Tm is the whole step's: from the box it holds the network's own pass." if step == 0 else ""
            table = score_table(
                group, family, step, f"table-{numeral}{suffix}",
                f"Table {numeral}. {group.dimension}D, {what}, on {network}: Dice (%)", notes=notes,
            )  # fmt: skip
            blocks += [table] if table else [Text(f"Table {numeral} is empty: {network} was judged without scribbles.")]
    for network in group.networks:
        parts = group.parts(network)
        if len(parts) > len(group.family(network)) and group.last:
            for step in dict.fromkeys((1, group.last)):
                table = score_table(
                    group, parts, step, f"parts-{group.dimension}d-{network}-{step}",
                    f"{group.dimension}D, BIFSeg and its parts on {network}, {step_name(step)}: Dice (%)",
                )  # fmt: skip
                blocks += [table] if table else []
    if not any(len(group.family(network)) > 1 for network in group.networks):
        blocks.append(Text(f"Tables {second} and {third} are empty: no refinements of one network were judged."))
    return blocks


def comparisons(group: Group) -> Table | None:
    """BIFSeg less each other method, and a network's other refinements less the network: paired differences of Dice.

    Over all objects of data sets that neither was trained on, at the start, after one round and at the end; and by data
    set at the end.
    """
    if group.main is None:
        return None
    own = group.main.network
    pairs = [(group.main, rival) for rival in group.rivals]
    pairs += [(Column(a, own), Column(b, own)) for a, b in PARTS if {Column(a, own), Column(b, own)} <= {*group.traces}]
    names, told = short_names(d for d, _ in group.rows), head_names([group.main, *group.rivals])
    lines = []
    for ours, theirs in pairs:
        unseen = group.unseen([ours, theirs])
        for step in dict.fromkeys((0, min(1, group.last), group.last)):
            a, b = group.scores(ours, step), group.scores(theirs, step)
            chosen = [("**all**", unseen)] if len(unseen) > 1 or not group.rows else []
            if step == group.last or len(unseen) == 1:
                chosen += [(_marked(names[d], d not in unseen), {d}) for d in sorted({d for d, _ in group.rows})]
            for name, datasets in chosen:
                if found := compare(only(a, datasets=datasets), only(b, datasets=datasets)):
                    what = f"{told[ours]} − {told[theirs]}"
                    lines.append([Cell(what), Cell(step_name(step)), Cell(name), *comparison_cells(found)])
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
