"""The paper's Tables I to VI from rows of the protocol ``rounds``."""

from __future__ import annotations

from bifseg.evaluation.report.document import Block, Heading, Text
from bifseg.evaluation.report.groups import Column, Group
from bifseg.evaluation.report.refinements import parts_table
from bifseg.evaluation.report.tables import score_table

NUMERALS = {2: ("I", "II", "III"), 3: ("IV", "V", "VI")}
BOX_PLOTS = {2: 7, 3: 11}  # its figures of Dice and user time at acceptance


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
                table = parts_table(group, network, step)
                blocks += [table] if table else []
    if not any(len(group.family(network)) > 1 for network in group.networks):
        blocks.append(Text(f"Tables {second} and {third} are empty: no refinements of one network were judged."))
    return blocks
