"""The whole report of the evidence, docs/results/evidence.md, from the numbers in evidence.json."""

from __future__ import annotations

from benchmarks.published import libraries
from benchmarks.published.evidence_tables import (
    HANDS,
    STEPS,
    Numbers,
    ablation,
    claims,
    gaps,
    losers,
    means,
    sets,
    structures,
    users,
    within,
    worse,
)

SUBSETS = {
    "all": "all",
    "identified": "a box identifies them",
    "nested": "they share their box with another",
    "known": "sets reported before",
    "new": "sets judged for the first time in November 2026",
}
INTRODUCTION = """\
Made by `python -m benchmarks.published.evidence` from rounds.jsonl.gz, unseen.jsonl.gz and nested.json of this
folder; do not edit. Dice in %, macro means: the unit is a structure, a class of a data set (mean over its patients of
the mean over a patient's objects), and every structure counts the same. In brackets 95 % intervals of a bootstrap that
draws data sets and, within each, patients: with so few data sets they are too narrow rather than too wide; none for one
patient. No network has learnt from any of these data sets, and no patient here is one that a parameter was chosen on;
of some data sets other patients were ("its other cases tuned on"). Of Hippocampus left and right of one person may be
two cases whose pairing is not known, so there the two halves may share persons. **start**: a box, or for Random Walks,
SlicSeg, GeoS, GrowCut and BIFSeg (no box) first scribbles. An object *shares its box* where another labelled object, at
least half as large, has nine tenths of its voxels in it (`python -m benchmarks.published.nested`)."""
HOW_TIME = (
    "What a user has after so many seconds of looking, drawing and waiting (one thread), whether it began with a box "
    "or with first scribbles, which take longer; nothing yet counts as 0. A hand 1 x as fast is the modelled one, and "
    "what a start takes is told of it. After the colon BIFSeg less it, in points."
)
PICTURE = "![BIFSeg less every other method, as rounds go on](evidence.png)"
HOW_POINTS = (
    "Points of Dice, paired; bold: the whole interval is below 0 (BIFSeg loses); *: the whole interval is above 0."
)


def page(numbers: Numbers) -> str:
    """The whole report, docs/results/evidence.md."""
    parts = ["# The evidence, with its intervals", INTRODUCTION, "## Data sets", sets(numbers)]
    parts += [
        "## BIFSeg less the others, all objects",
        HOW_POINTS,
        gaps(numbers),
        PICTURE,
        "## With the same first scribbles",
        HOW_POINTS,
        gaps(numbers, "scribbled", ours="bifseg-scribbles"),
        "## Where others are above",
        losers(numbers),
        "## After the same time",
        HOW_TIME,
        *(f"### {d}, a hand {hand} x as fast\n\n{within(numbers, d, hand)}" for d in STEPS for hand in HANDS),
    ]
    for subset, words in SUBSETS.items():
        parts.append(f"## Objects: {words}")
        parts += [f"### {d}\n\n{means(numbers, d, subset)}" for d in STEPS]
        if subset != "all":
            parts.append(gaps(numbers, subset=subset))
    parts += ["## What the parts of BIFSeg add", HOW_POINTS, ablation(numbers)]
    parts += ["## What the paper claims", HOW_POINTS, claims(numbers)]
    parts += ["## Kinds of users (2D)", HOW_POINTS, users(numbers)]
    parts += ["## Scribbles that people drew (2D)", HOW_POINTS, users(numbers, "humans")]
    parts += ["## Other people's methods, ours and libraries' own", libraries.shown(numbers["libraries"])]
    parts += ["## Objects that a round made worse", worse(numbers)]
    three = "Dice in % at the start / after round 1 / after round 5."
    parts += [f"## {d}: every structure\n\n{three}\n\n{structures(numbers, d)}" for d in STEPS]
    return "\n\n".join(parts) + "\n"
