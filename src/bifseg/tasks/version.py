"""A version of a task: what it learnt at one moment, and how that was proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """What a task learnt at one moment.

    ``base``: SHA-256 of the shipped network that it began with. ``examples``: digests. ``patients``: how many.
    ``strength``: how far the network went from that one. ``shape``: how much the place of its objects counts. Where
    both are 0 the shipped network stays, and there are no weights. ``sha256``: of the weights. ``shipped``,
    ``learnt``: Dice of the examples by the network and, for each of `named`, by what was learnt from others; none with
    too few patients.
    ``reach``: how far strokes count, see `bifseg.tasks.strokes`. ``drawn_on``: what that was chosen by.
    """

    number: int
    dimension: int
    learner: int
    base: str
    examples: tuple[str, ...]
    patients: int
    strength: float = 0.0
    sha256: str = ""
    shipped: tuple[float, ...] = ()
    learnt: Mapping[str, tuple[float, ...]] | None = None
    rejected: bool = False
    shape: float = 0.0
    reach: str = ""
    drawn_on: Mapping[str, tuple[float, ...]] | None = None

    @property
    def better(self) -> bool:
        """Whether something proved better than the shipped network."""
        return self.strength > 0 or self.shape > 0

    @property
    def before(self) -> float | None:
        """Mean Dice, 0 to 1, of the shipped network's first masks of the examples; None with too few patients."""
        return sum(self.shipped) / len(self.shipped) if self.shipped else None

    @property
    def gain(self) -> float:
        """Mean gain in Dice, 0 to 1, on examples that it had not learnt from."""
        if not self.better or not self.learnt:
            return 0.0
        scores = self.learnt[named(self.strength, self.shape)]
        return sum(scores) / len(scores) - sum(self.shipped) / len(self.shipped)


def named(strength: float, shape: float) -> str:
    """What a version calls scores of a network and a shape."""
    return f"{strength}, shape {shape}" if shape else str(strength)
