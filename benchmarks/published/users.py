"""BIFSeg beside the others for each kind of user, and with scribbles that people drew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.published.claims import NETWORK
from benchmarks.published.intervals import estimate, paired, told
from bifseg.evaluation.methods import METHODS
from bifseg.evaluation.report import read_about, read_results
from bifseg.evaluation.report.groups import Column, Group, group_rows, only
from bifseg.evaluation.statistics import by_thing

STEPS = {"users": (1, 3), "humans": (1,)}  # by file
DEVELOPED = "Dataset120_MedScribble"  # of the development fold; nobody else drew scribbles three times


def by_user(results: Path) -> list[dict]:
    """Dice by user and method, and BIFSeg's less theirs, after some steps; a file that is not there counts as empty."""
    found = []
    for name in STEPS:
        path = results / f"{name}.jsonl.gz"
        if path.exists():
            date = read_about(path).get("date")
            for group in group_rows(read_results([path])[0]):
                found += [one | {"file": name, "date": date} for one in _of(group, STEPS[name], name == "humans")]
    return found


def _of(group: Group, steps: tuple[int, ...], apart: bool) -> Iterator[dict]:
    ours = Column("bifseg", NETWORK[group.dimension])
    if ours not in group.traces:
        return
    columns = [c for c in group.traces if c.network in (None, ours.network) and METHODS[c.method].standard]
    datasets = sorted(group.unseen(columns))
    for own in [[dataset] for dataset in datasets] if apart else [datasets]:
        for step in steps:
            values = {c.method: by_thing(only(group.scores(c, step), datasets=own)) for c in columns}
            yield {
                "user": group.user, "step": step, "sets": own, "objects": len(values["bifseg"]),
                "patients": len({thing[:2] for thing in values["bifseg"]}),
                "means": {method: told(estimate(one)) for method, one in values.items()},
                "gaps": {m: told(paired(values["bifseg"], one)) for m, one in values.items() if m != "bifseg"},
            }  # fmt: skip
