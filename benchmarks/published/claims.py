"""The paper's claims, each with its differences here: paired, with intervals, and a verdict that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.published.intervals import Values, paired, told
from bifseg.errors import InvalidInput
from bifseg.evaluation.report import read_about, read_results
from bifseg.evaluation.report.groups import Column, Group, group_rows, only
from bifseg.evaluation.statistics import by_thing

NETWORK = {2: "fcn2d", 3: "multiscale3d"}  # those that ship


@dataclass(frozen=True)
class Claim:
    """``above`` is better than ``below`` after ``steps``; each a method and, by dimension, its network.

    ``paper``: what the paper's tables II, III, V and VI say of it, in points of Dice. ``files``: where it was tried.
    """

    text: str
    paper: str
    above: tuple[str, Mapping[int, str]]
    below: tuple[str, Mapping[int, str]]
    steps: tuple[int, ...] = (1,)
    files: tuple[str, ...] = ("rounds", "unseen")


CLAIMS = (
    Claim(
        "fine-tuning without scribbles improves the network's mask", "+1.0 to +1.8 (2D), +2.8 and +3.5 (3D)",
        ("bifseg", NETWORK), ("network", NETWORK), (0,),
    ),
    Claim(
        "with the same scribbles, a cut (+CRF) improves on the network", "+2.2 to +5.3 (2D)",
        ("crf", NETWORK), ("network", NETWORK),
    ),
    Claim(
        "fine-tuning with scribbles (BIFSeg) improves on +CRF", "+1.5 to +3.3 (2D)",
        ("bifseg", NETWORK), ("crf", NETWORK), (1, 5),
    ),
    Claim(
        "the weights w(i) help", "+0.3 to +2.5 (2D)", ("bifseg", NETWORK), ("bifseg-w", NETWORK), (1, 5), ("rounds",)
    ),
    Claim(
        "the same, with the printed parameters, against +CRF", "+1.5 to +3.3 (2D)",
        ("bifseg-printed", NETWORK), ("crf", NETWORK), files=("printed",),
    ),
    Claim(
        "P-Net above FCN, PC-Net above DeepMedic, from the box", "above",
        ("network", {2: "pnet", 3: "pcnet"}), ("network", {2: "fcn", 3: "deepmedic"}), (0,), ("networks",),
    ),
    Claim(
        "P-Net above U-Net, PC-Net above HighRes3DNet, from the box", "above",
        ("network", {2: "pnet", 3: "pcnet"}), ("network", {2: "unet", 3: "highres3dnet"}), (0,), ("networks",),
    ),
)  # fmt: skip


def tried(results: Path) -> list[dict]:
    """Every claim with its differences, as JSON takes it; a file that is not there counts as empty."""
    groups: dict[tuple[str, ...], list[Group]] = {}
    found = []
    for claim in CLAIMS:
        if claim.files not in groups:
            paths = _paths(results, claim)
            groups[claim.files] = group_rows(read_results(paths)[0]) if paths else []
        dates = sorted(date for path in _paths(results, claim) if (date := read_about(path).get("date")))
        found.append({
            "text": claim.text, "paper": claim.paper, "date": " to ".join(dict.fromkeys((*dates[:1], *dates[-1:]))),
            "here": list(_differences(claim, groups[claim.files])),
        })  # fmt: skip
    return found


def _paths(results: Path, claim: Claim) -> list[Path]:
    return [path for name in claim.files if (path := results / f"{name}.jsonl.gz").exists()]


def verdict(low: float | None, high: float | None) -> str:
    """What an interval of a difference says of a claim that it is above 0."""
    if low is None or high is None:
        return "open"
    return "holds" if low > 0 else "the opposite" if high < 0 else "not shown"


def _differences(claim: Claim, groups: list[Group]) -> Iterator[dict]:
    for group in groups:
        columns = [Column(method, by.get(group.dimension)) for method, by in (claim.above, claim.below)]
        if any(column not in group.traces for column in columns):
            continue
        datasets = group.unseen(columns)
        for step in claim.steps:
            above, below = (_values(group, column, step, datasets) for column in columns)
            try:
                one = paired(above, below)
            except InvalidInput:  # no object that both were judged on
                continue
            yield {
                "dimension": group.dimension, "step": step, "objects": one.objects, "patients": one.patients,
                "difference": told(one),
            }  # fmt: skip


def _values(group: Group, column: Column, step: int, datasets: set[str]) -> Values:
    return by_thing(only(group.scores(column, step), datasets=datasets))
