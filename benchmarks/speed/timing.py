"""Cases timed in turn, so that a machine's drift hits all of them alike, and what they took."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

Seconds = dict[tuple[str, str], float]  # by moment ("first mask", "refinement") and stage; the stage `WHOLE` is all
FIRST, REFINEMENT, WHOLE = "first mask", "refinement", "whole"
MOMENTS = (FIRST, REFINEMENT)
LEAST = 3  # repetitions of even the slowest case
FP32, BF16 = "fp32", "bf16"


@dataclass(frozen=True)
class Work:
    """What a stage must do at the least: operations (a multiply-add is two) and bytes to and from memory."""

    operations: float = 0.0
    bytes: float = 0.0
    counted: str = ""
    arithmetic: str = FP32

    def limit(self, rates: Mapping[str, float], bandwidth: float) -> float:
        """Seconds that the machine needs for it: the longer of computing and moving."""
        return max(self.operations / rates[self.arithmetic], self.bytes / bandwidth)


@dataclass(frozen=True)
class Measurement:
    """One stage of one case: what it took, and what the machine's limit is. All times in seconds."""

    part: str
    facts: Mapping[str, object]  # which case
    moment: str
    stage: str
    seconds: tuple[float, ...]
    work: Work | None = None
    limit: float | None = None

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.percentile(self.seconds, (25, 75))
        return float(low), float(high)

    @property
    def ratio(self) -> float | None:
        """The median over the limit; None where there is no limit."""
        return self.median / self.limit if self.limit else None

    def matches(self, **facts: object) -> bool:
        known = {**self.facts, "part": self.part, "moment": self.moment, "stage": self.stage}
        return all(known.get(name) == value for name, value in facts.items())

    def as_dict(self) -> dict:
        low, high = self.quartiles
        told = {
            "part": self.part, **self.facts, "moment": self.moment, "stage": self.stage, "n": len(self.seconds),
            "median_s": _short(self.median), "iqr_s": _short(high - low), "quartiles_s": [_short(low), _short(high)],
        }  # fmt: skip
        if self.work is not None and self.limit:
            told |= {
                "operations": int(self.work.operations), "bytes": int(self.work.bytes), "counted": self.work.counted,
                "arithmetic": self.work.arithmetic, "limit_s": _short(self.limit), "ratio": _short(self.ratio),
            }  # fmt: skip
        return told


@dataclass(eq=False)
class Case:
    """Something to be timed again and again. ``run`` is given the number of the repetition."""

    part: str
    facts: Mapping[str, object]
    run: Callable[[int], Seconds]
    work: Callable[[], Mapping[tuple[str, str], Work]] = dict  # asked after the runs
    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def take(self, repetition: int) -> None:
        with undisturbed():
            found = self.run(repetition)
        for key, seconds in found.items():
            self.times.setdefault(key, []).append(seconds)

    def measurements(self, rates: Mapping[str, float], bandwidth: float) -> Iterator[Measurement]:
        works = self.work()
        for (moment, stage), seconds in self.times.items():
            work = works.get((moment, stage))
            limit = None if work is None else work.limit(rates, bandwidth)
            yield Measurement(self.part, self.facts, moment, stage, tuple(seconds), work, limit)


def take_in_turn(cases: Sequence[Case], repetitions: int, seconds: float, say: Callable[[str], None]) -> None:
    """Warm every case up once, then go round: each is taken ``repetitions`` times, slow ones less often.

    A case that would overdraw its share of ``seconds`` is taken `LEAST` times or more, spread over the rounds.
    """
    counts = []
    for k, case in enumerate(cases):
        begun = time.perf_counter()
        case.take(0)
        spent = time.perf_counter() - begun
        case.times.clear()
        counts.append(int(np.clip(seconds / len(cases) / spent, min(LEAST, repetitions), repetitions)))
        say(f"  {case.part} {k + 1} of {len(cases)}: {spent:.2f} s, {counts[-1]} times")
    for k in range(repetitions):
        for case, count in zip(cases, counts, strict=True):
            done = (k * count) // repetitions
            if (k + 1) * count // repetitions > done:
                case.take(done)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without the garbage collector, which would stop the clock's victim at any moment."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(call: Callable[[], object]) -> tuple[object, float]:
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun


def _short(value: float) -> float:
    return float(f"{value:.4g}")
