"""What people took, as others published it, beside what our model of hand and eye says (`bifseg.evaluation.effort`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.published.evidence_tables import table
from bifseg.evaluation.effort import BOX, Effort
from bifseg.evaluation.report import read_results

CLICKS = Effort(strokes=4, length=3 * 0.5**0.5)  # the four extreme points of a disc, one after the other


@dataclass(frozen=True)
class Study:
    """What was asked of people, who says what it took them, and how the model is asked the same.

    ``seconds``: measured, in the mean; ``source``: paper and place in it; ``predicted``: seconds of the model, and how.
    """

    task: str
    seconds: float
    source: str
    predicted: Callable[[Sequence[Mapping]], tuple[float, str]]


def _constant(seconds: float, words: str) -> Callable[[Sequence[Mapping]], tuple[float, str]]:
    return lambda rows: (seconds, words)


def _accepted(label: str, dice: float) -> Callable[[Sequence[Mapping]], tuple[float, str]]:
    """BIFSeg in 3D by the careful user: seconds until this Dice, waiting included, or to the end of the rounds."""

    def asked(rows: Sequence[Mapping]) -> tuple[float, str]:
        taken, got = [], 0
        runs: dict[tuple, list[Mapping]] = {}
        for row in rows:
            if (row["label"], row["method"], row["dimension"], row["user"]) == (label, "bifseg", 3, "careful"):
                runs.setdefault((row["dataset"], row["case"], row["seed"], row["network"]), []).append(row)
        for run in runs.values():
            steps = sorted(run, key=lambda row: row["step"])
            enough = [k for k, row in enumerate(steps) if row["dice"] >= dice]
            got += bool(enough)
            taken.append(sum(row["user_seconds"] for row in steps[: enough[0] + 1 if enough else None]))
        if not taken:
            raise ValueError(f"No careful user worked with BIFSeg on {label} in these results.")
        return float(np.mean(taken)), (
            f"careful user, our network, BRATS: until Dice {dice:.3f} or the end; {got} of {len(taken)} got there"
        )

    return asked


STUDIES = (
    Study(
        "a box, by its four extreme points", 7.0, "Papadopoulos et al., ICCV 2017, arXiv 1708.02750, abstract",
        _constant(CLICKS.seconds, "four clicks, and the way between them on a disc"),
    ),
    Study(
        "a box, drawn by its corners and adjusted until tight", 35.0, "the same: extreme points are five times as fast",
        _constant(BOX[2], "from corner to corner, never adjusted, up to 10 voxels loose"),
    ),
    Study(
        "tumour core in 3D with BIFSeg, until accepted", 82.3, "Wang et al., IEEE TMI 2018, section III-C5; two users",
        _accepted("core", 0.875),
    ),
    Study(
        "whole tumour in 3D with BIFSeg, until accepted", 68.0, "the same", _accepted("whole", 0.881),
    ),
)  # fmt: skip
"""Only what could be read at its source. Left out: DeepIGeoS, MIDeepSeg and the studies of nnInteractive, whose tables
could not be had; and ScribblePrompt (arXiv 2312.07381), which tells a share of another method's time."""


def predictions(results: Path) -> list[dict]:
    """Every study with what the model says, from the rows of the protocol ``rounds``, as JSON."""
    rows = read_results([results / "rounds.jsonl.gz"])[0]
    found = []
    for study in STUDIES:
        seconds, how = study.predicted(rows)
        found.append({
            "task": study.task, "measured": study.seconds, "source": study.source, "predicted": round(seconds, 1),
            "how": how,
        })  # fmt: skip
    return found


def shown(studies: Sequence[Mapping]) -> str:
    """The table in Markdown."""
    lines = [
        [one["task"], f"{one['measured']:g} s", one["source"], f"{one['predicted']:.1f} s", one["how"]]
        for one in studies
    ]
    return table(["task", "people", "says", "our model", "how it was asked"], lines)
