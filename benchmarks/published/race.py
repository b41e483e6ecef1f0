"""User time to a Dice of 0.90, BIFSeg's against another method's, on the runs that both have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bifseg.evaluation.report.acceptance import Times, median, reached


@dataclass(frozen=True)
class Race:
    """User time to the level, ours against theirs, on the runs that both have; medians, None: half never got there."""

    runs: int
    ours: float | None
    theirs: float | None
    theirs_at_least: float  # the median where a run that never got there counts with the time it spent
    ours_reached: float
    theirs_reached: float
    slower: int  # runs in which ours took longer, or never got there and theirs did
    faster: int

    @property
    def ratio(self) -> float | None:
        """Ours to theirs; where half of theirs never got there it is at most this. None where half of ours did not."""
        theirs = self.theirs_at_least if self.theirs is None else self.theirs
        return None if self.ours is None else self.ours / theirs if theirs else np.inf

    @property
    def lost(self) -> bool:
        """More runs slower than faster."""
        return self.slower > self.faster


def race(ours: Times, theirs: Times) -> Race | None:
    """None where no run is in both."""
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return None
    a, b = ([side[key] for key in common] for side in (ours, theirs))
    pairs = list(zip(a, b, strict=True))
    return Race(
        len(common), median(a), median(b), float(np.median([one.seconds for one in b])), reached(a), reached(b),
        sum(y.there and not (x.there and x.seconds <= y.seconds) for x, y in pairs),
        sum(x.there and not (y.there and y.seconds <= x.seconds) for x, y in pairs),
    )  # fmt: skip
