"""What the product promises, and whether this run found it so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.speed.load import COUNT
from benchmarks.speed.peers import FAIR, OURS, PEERS
from benchmarks.speed.timing import FIRST, REFINEMENT, WHOLE, Measurement
from bifseg.networks.checkpoint import DEFAULT

RIVALS = PEERS[:3]
FROM = 48  # voxels along a side, from where on cost is compared with size
SAME = 1.1  # a ratio up to this is called independence


@dataclass(frozen=True)
class Target:
    """``value`` must not exceed ``most``; without a value it was not measured."""

    name: str
    most: float
    unit: str
    value: float | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "pass" if self.value <= self.most else "fail"

    def as_dict(self) -> dict:
        value = None if self.value is None else float(f"{self.value:.4g}")
        return {"name": self.name, "at_most": self.most, "unit": self.unit, "value": value, "verdict": self.verdict}


def targets(found: Sequence[Measurement], memory: Iterable[dict], cold: Iterable[dict] = ()) -> list[Target]:
    """All of them, in the order they are told."""
    flat = {"dimension": 2, "side": FAIR[2], "preset": "fast", "network": DEFAULT[2], "part": "stages"}
    deep = {"dimension": 3, "side": FAIR[3], "grid": FAIR[3], "preset": "fast", "part": "grid"}
    own = {"dimension": 3, "side": FAIR[3], "preset": "fast", "network": DEFAULT[3], "part": "stages"}
    made = [
        Target("2D, 128 px: features and cut of the first mask", 1.5, "x limit", _first_over_limit(found, flat)),
        Target("2D, 128 px: refinement", 0.08, "s", _median(found, **flat, moment=REFINEMENT, stage=WHOLE)),
        Target("3D, 80^3 on its own grid: first mask", 0.4, "s", _median(found, **own, moment=FIRST, stage=WHOLE)),
        Target("3D, 80^3 on its own grid: refinement", 0.4, "s", _median(found, **own, moment=REFINEMENT, stage=WHOLE)),
        Target("3D, 80^3 on a grid of 80: first mask", 2.0, "s", _median(found, **deep, moment=FIRST, stage=WHOLE)),
        Target(
            "3D, 80^3 on a grid of 80: refinement", 0.8, "s", _median(found, **deep, moment=REFINEMENT, stage=WHOLE)
        ),
        Target("PC-Net with 64 features, 80^3: features", 1.3, "x limit", _printed(found)),
    ]
    made += _under_load(found)
    for dimension, side in FAIR.items():
        for name in RIVALS:
            title = next((m.facts["title"] for m in found if m.matches(part="peers", method=name)), name)
            for moment in (FIRST, REFINEMENT):
                ratio = against(found, dimension, name, moment)
                made.append(Target(f"{dimension}D, {side} px: {moment}, against {title}", 1.0, "x its time", ratio))
    for moment in (FIRST, REFINEMENT):
        name = f"3D: {moment}, growth with the voxels from {FROM}^3 on (slope, log-log)"
        made.append(Target(name, 1.0, "", slope(found, moment)))
    for moment in (FIRST, REFINEMENT):
        name = f"3D, 80^3: {moment} in the largest scan against the smallest"
        made.append(Target(name, SAME, "x", of_scans(found, moment)))
    for dimension, most in ((2, 0.5), (3, 1.5)):
        peaks = [m["peak_mib"] for m in memory if m["dimension"] == dimension and m["peak_mib"] is not None]
        value = max(peaks) / 1024 if peaks else None
        made.append(Target(f"{dimension}D: peak memory of a session above the opened scan", most, "GiB", value))
    made += _from_nothing(list(cold))
    return made


def _from_nothing(cold: Sequence[dict]) -> Iterator[Target]:
    """A new process, from its start to its first mask, on a machine that does nothing else."""
    for compiled, name, most in ((True, "a new process", 1.7), (False, "the first one after installing", 4.0)):
        for dimension in (2, 3):
            waits = [
                one["first mask"] for one in cold
                if (one["dimension"], one["compiled"], one["beside"]) == (dimension, compiled, 0)
            ]  # fmt: skip
            yield Target(f"{dimension}D: {name} to its first mask", most, "s", min(waits, default=None))


def _under_load(found: Sequence[Measurement]) -> Iterator[Target]:
    """Beside two busy processes: not much slower than without, and quick enough."""
    for dimension, most in ((2, 0.1), (3, 0.4)):
        for moment in (FIRST, REFINEMENT):
            free, loaded = (beside_busy(found, dimension, moment, beside) for beside in (0, COUNT))
            ratio = None if free is None or loaded is None else loaded.median / free.median
            made = f"{dimension}D, {FAIR[dimension]} px: {moment} beside {COUNT} busy processes"
            yield Target(made, 3.0, "x free", ratio)
        slowest = None if loaded is None else float(np.percentile(loaded.seconds, 95))
        yield Target(f"{made}, 95th percentile", most, "s", slowest)


def beside_busy(found: Sequence[Measurement], dimension: int, moment: str, beside: int) -> Measurement | None:
    """What an interaction took beside so many busy processes."""
    facts = {"part": "loaded", "dimension": dimension, "moment": moment, "stage": WHOLE, "beside": beside}
    return next((m for m in found if m.matches(**facts)), None)


def against(
    found: Sequence[Measurement], dimension: int, name: str, moment: str, grid: int | None = None
) -> float | None:
    """Our median, on another method's grid or on ``grid``, over that method's; None where either is missing."""
    same = {"part": "peers", "dimension": dimension, "side": FAIR[dimension], "moment": moment}
    ours = _median(found, **same, method=OURS, grid=grid or FAIR[dimension])
    theirs = _median(found, **same, method=name, grid=FAIR[dimension])
    return None if ours is None or theirs is None else ours / theirs


def slope(found: Sequence[Measurement], moment: str) -> float | None:
    """Of log time over log voxels, the grid growing with the box; least squares."""
    points = list(curve(found, 3, moment))
    points = [(side, m.median) for side, m in points if side >= FROM]
    if len(points) < 2:
        return None
    sides, medians = np.log(np.array(points, float)).T
    return float(np.polyfit(3 * sides, medians, 1)[0])


def curve(found: Sequence[Measurement], dimension: int, moment: str, stage: str = WHOLE) -> Iterator:
    """(side, measurement) of boxes whose grid is their own, from small to large."""
    same = {"part": "grid", "dimension": dimension, "moment": moment, "stage": stage}
    yield from sorted(((m.facts["side"], m) for m in found if m.matches(**same)), key=lambda pair: pair[0])


def of_scans(found: Sequence[Measurement], moment: str) -> float | None:
    """The median in the largest scan over that in the smallest."""
    medians = {m.facts["scan"]: m.median for m in found if m.matches(part="scan", moment=moment, stage=WHOLE)}
    return medians[max(medians)] / medians[min(medians)] if len(medians) > 1 else None


def _first_over_limit(found: Sequence[Measurement], facts: dict) -> float | None:
    features = next((m for m in found if m.matches(**facts, moment=FIRST, stage="features")), None)
    cut = _median(found, **facts, moment=FIRST, stage="cut")
    return None if features is None or cut is None else (features.median + cut) / features.limit


def _printed(found: Sequence[Measurement]) -> float | None:
    same = {"part": "printed", "dimension": 3, "side": FAIR[3]}
    return next((m.ratio for m in found if m.matches(**same)), None)


def _median(found: Sequence[Measurement], **facts: object) -> float | None:
    return next((m.median for m in found if m.matches(**facts)), None)
