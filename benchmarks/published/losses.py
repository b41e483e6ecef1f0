"""Where BIFSeg loses: the structures, methods and steps, and the single objects."""

from __future__ import annotations

from benchmarks.published.race import race
from bifseg.evaluation.report.acceptance import LEVEL, times_of
from bifseg.evaluation.report.document import EMPTY, Block, Cell, Heading, Table, Text
from bifseg.evaluation.report.groups import Group, gaps, only, short_names, surely_above
from bifseg.evaluation.report.tables import DAGGER, head_names, points_of, rounded, seconds_text, step_name
from bifseg.evaluation.statistics import by_thing

POINT = 0.01
MOST = 15  # objects in the list of the worst


def losses(group: Group) -> list[Block]:
    """Every structure and method where BIFSeg is lower by more than a point at some step, or takes more user time."""
    if group.main is None:
        return []
    d, main = group.dimension, group.main
    names, told = short_names(data for data, _ in group.rows), head_names([main, *group.rivals])
    lines, pairs, fewer = [], 0, 0
    for row in group.rows:
        for rival in group.rivals:
            steps = [
                (only(group.scores(main, step), row=row), only(group.scores(rival, step), row=row))
                for step in range(group.last + 1)
            ]
            found = [gaps(*pair) for pair in steps]
            timed = race(times_of(group, main, [row[0]], row[1]), times_of(group, rival, [row[0]], row[1]))
            if timed is None:
                continue
            pairs += 1
            below = [len(gap) > 0 and gap.mean() < -POINT for gap in found]
            slower = timed.lost
            fewer += any(below)
            if not any(below) and not slower:
                continue
            cells = [
                EMPTY if not len(gap) else Cell(
                    points_of(gap.mean()) + ("*" if less and surely_above(*pair[::-1]) else ""),
                    rounded(gap.mean()), bool(less),
                )
                for gap, less, pair in zip(found, below, steps, strict=True)
            ]  # fmt: skip
            mark = DAGGER if group.seen(main, row[0]) or group.seen(rival, row[0]) else ""
            n = max(len(gap) for gap in found)
            lines.append((min((g.mean() for g in found if len(g)), default=0), [
                Cell(names[row[0]] + mark), Cell(row[1]), Cell(told[rival]), Cell(str(n), n), *cells,
                Cell(seconds_text(timed.ours), rounded(timed.ours)),
                Cell(seconds_text(timed.theirs), rounded(timed.theirs)),
                Cell(f"{timed.slower} of {timed.runs}", {"slower": timed.slower, "runs": timed.runs}, slower),
            ]))  # fmt: skip
    blocks: list[Block] = [
        Heading(f"{d}D, user {group.user}", 3),
        Text(
            f"Of {pairs} pairs (structure and method), BIFSeg is lower by more than a point of Dice after at "
            f"least one step in {fewer}, and takes more user time to {LEVEL:.2f} in "
            f"{sum(line[-1].best for _, line in lines)}."
        ),
    ]
    if lines:
        steps = [step_name(step) for step in range(group.last + 1)]
        heads = ["Data", "Object", "Against", "n", *steps, "BIFSeg, s", "Theirs, s", "Slower in"]
        notes = (
            "Points of Dice, BIFSeg less the other, mean over n objects; bold where it loses by more than one, * where "
            "p < 0.05 (paired t-test). At the start BIFSeg has a box only, and methods that begin with scribbles have "
            "some. Slower in: runs in which BIFSeg took more user time to Dice 0.90, or did not get there and the "
            "other did; bold where those are more than the faster ones."
        )
        if any(DAGGER in line[0].text for _, line in lines):
            notes += f" {DAGGER}: one of the two networks was trained on this data set."
        rows = [line for _, line in sorted(lines, key=lambda item: item[0])]
        blocks.append(Table(f"losses-{d}d", f"{d}D: where BIFSeg loses", heads, rows, 3, notes))
    return [*blocks, *_worst_objects(group)]


def _worst_objects(group: Group) -> list[Block]:
    """The objects that BIFSeg left furthest below the best of the others at the end."""
    ours = by_thing(group.scores(group.main, group.last))
    theirs = {column: by_thing(group.scores(column, group.last)) for column in group.rivals}
    names, told = short_names(d for d, _ in group.rows), head_names([group.main, *group.rivals])
    lost = []
    for thing, dice in ours.items():
        others = {column: found[thing] for column, found in theirs.items() if thing in found}
        if others:
            best = max(others, key=others.get)
            lost.append((dice - others[best], thing, dice, best, others[best]))
    below = [one for one in sorted(lost, key=lambda one: one[:2]) if one[0] < -POINT]
    if not below:
        return []
    lines = [
        [
            Cell(names[t.dataset] + (DAGGER if group.seen(group.main, t.dataset) else "")), Cell(t.case), Cell(t.label),
            Cell(f"{100 * dice:.1f}", rounded(dice)), Cell(f"{told[best]}: {100 * top:.1f}", rounded(top)),
            Cell(points_of(gap), rounded(gap)),
        ]
        for gap, t, dice, best, top in below[:MOST]
    ]  # fmt: skip
    notes = (
        f"{len(below)} of {len(lost)} objects end more than a point below the best of all other methods on "
        f"that object; the {len(lines)} furthest below are shown. Choosing the best of several afterwards favours "
        "the others."
    )
    heads = ["Data", "Case", "Object", "BIFSeg", "Best other", "Points"]
    return [Table(f"lost-{group.dimension}d", f"{group.dimension}D: the objects lost most", heads, lines, 3, notes)]
