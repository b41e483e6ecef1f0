"""The project's target: whether it is met, missed or open."""

from __future__ import annotations

from benchmarks.published.race import Race, race
from bifseg.evaluation.report.acceptance import LEVEL, times_of
from bifseg.evaluation.report.document import EMPTY, Block, Cell, Table, Text
from bifseg.evaluation.report.groups import Column, Group, gaps, only, short_names, title
from bifseg.evaluation.report.tables import points_of, rounded, seconds_text

TARGETS = ("grabcut", "random_walks", "slicseg", "geos", "growcut")
SHARE = 0.5  # of their user time
BELOW = 0.01  # of Dice, that is allowed at the end
TEXT = (
    "On objects of data sets that its network has not seen, BIFSeg is to reach Dice 0.90 in at most half "
    "the simulated user time of each of GrabCut, Random Walks, SlicSeg, GeoS and GrowCut, and never to end "
    "more than 0.01 of Dice below any of them on any structure."
)


def target(group: Group) -> tuple[list[Block], dict]:
    """The project's target on objects of data sets unseen by BIFSeg's network: met or missed, rival by rival."""
    d = group.dimension
    known = f"**{d}D, user {group.user}:**"
    if group.main is None:
        return [Text(f"{known} BIFSeg was not judged, so the target is open.")], {"verdict": "open"}
    unseen = group.unseen([group.main])
    ours = only(group.scores(group.main, group.last), datasets=unseen)
    if not ours:
        text = f"{known} {group.main.network} was trained on all of this data, so the target is open."
        return [Text(text)], {"verdict": "open"}
    names = short_names(data for data, _ in group.rows)
    lines, met, missing = [], [], []
    for method in TARGETS:
        rival = Column(method)
        theirs = only(group.scores(rival, group.last), datasets=unseen)
        found = race(times_of(group, group.main, unseen), times_of(group, rival, unseen))
        if found is None or not theirs:
            missing.append(title(rival))
            continue
        gap = gaps(ours, theirs)
        by_row = {
            row: float(own.mean()) for row in group.rows
            if row[0] in unseen and len(own := gaps(only(ours, row=row), only(theirs, row=row)))
        }  # fmt: skip
        row, worst = min(by_row.items(), key=lambda item: item[1])
        fast, good = _fast(found), worst >= -BELOW
        met.append(False if fast is False or not good else fast)
        lines.append([
            Cell(title(rival)), Cell(str(found.runs), found.runs),
            *_race_cells(found), Cell(_yes(fast), fast),
            Cell(points_of(gap.mean()), rounded(gap.mean())),
            Cell(f"{points_of(worst)} ({names[row[0]]}, {row[1]})", {"mean": rounded(worst), "row": list(row)}),
            Cell(f"{100 * (gap < -BELOW).mean():.0f} %", rounded((gap < -BELOW).mean())), Cell(_yes(good), good),
        ])  # fmt: skip
    if not lines:
        return [Text(f"{known} none of the methods named in the target was judged, so it is open.")], {
            "verdict": "open"
        }
    verdict = "missed" if False in met else "met" if all(met) and not missing else "open"
    counts = {"met": met.count(True), "missed": met.count(False), "open": met.count(None) + len(missing)}
    lacking = f" Not judged: {', '.join(missing)}." if missing else ""
    each = ", ".join(f"{name} against {count}" for name, count in counts.items() if count)
    said = f"{known} **{verdict}** ({each} of {len(TARGETS)} methods).{lacking}"
    heads = ["Against", "Runs", "BIFSeg, s", "Theirs, s", "Ratio", "≤ half", "At the end", "Lowest", "Lower", "≥ −1"]
    end = "at the start" if group.last == 0 else f"after round {group.last}"
    notes = (
        f"Unseen data only, {group.main.network}. Seconds: median user time to Dice {LEVEL:.2f} over paired runs, and "
        "the share that got there; – where half never did: then the ratio is at most what is shown, by the time they "
        "spent in vain, and open where that does not decide. ≤ half: of their time. At the end: points of Dice "
        f"{end}, BIFSeg less theirs, mean over objects. Lowest: the structure where that is lowest. Lower: the share "
        "of objects that end lower by more than a point. ≥ −1: no structure is lower by more than a point."
    )
    table = Table(f"target-{d}d", f"{d}D: the target", heads, lines, 1, notes)
    return [Text(said), table], {"verdict": verdict, **counts, "not_judged": missing}


def _race_cells(found: Race) -> list[Cell]:
    cells = [
        Cell(f"{seconds_text(middle)} ({100 * share:.0f} %)", {"median": rounded(middle), "reached": rounded(share)})
        for middle, share in ((found.ours, found.ours_reached), (found.theirs, found.theirs_reached))
    ]
    least = "" if found.theirs is not None else "≤ "
    return [*cells, EMPTY if found.ratio is None else Cell(f"{least}{found.ratio:.2f}", rounded(found.ratio))]


def _fast(found: Race) -> bool | None:
    """Whether ours takes at most half of their time; None where too few of their runs get there to tell."""
    if found.ratio is None:
        return False
    return True if found.ratio <= SHARE else None if found.theirs is None else False


def _yes(value: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "open"}[value]
