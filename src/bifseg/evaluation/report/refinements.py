"""Networks from the box alone, and what each refinement of one network makes of it."""

from __future__ import annotations

from bifseg.evaluation.report.document import Block, Heading, Table
from bifseg.evaluation.report.groups import Group
from bifseg.evaluation.report.tables import score_table, step_name


def refinement_tables(group: Group) -> list[Block]:
    """A table of the networks' own masks; of each network with several refinements one at the start, after one round
    and at the end. Empty where no network and no refinement was judged beside BIFSeg itself."""
    d = group.dimension
    networks = [column for column in group.traces if column.method == "network"]
    tables = [score_table(group, networks, 0, f"networks-{d}d", f"{d}D, networks from the box alone: Dice (%)")]
    for network in group.networks:
        if len(group.parts(network)) > 1:
            tables += [parts_table(group, network, step) for step in dict.fromkeys((0, min(1, group.last), group.last))]
    blocks = [table for table in tables if table]
    return [Heading(f"{d}D: networks and their refinements", 3), *blocks] if blocks else []


def parts_table(group: Group, network: str, step: int) -> Table | None:
    """BIFSeg on one network and all that is less than it, after a step."""
    notes = "Tm is the whole step's: from the box it holds the network's own pass." if step == 0 else ""
    return score_table(
        group, group.parts(network), step, f"parts-{group.dimension}d-{network}-{step}",
        f"{group.dimension}D, BIFSeg and its parts on {network}, {step_name(step)}: Dice (%)", notes=notes,
    )  # fmt: skip
