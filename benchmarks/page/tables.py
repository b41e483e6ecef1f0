"""What was measured, as Markdown and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cost:
    """Something measured n times in seconds ("s") or per second ("/s"); ``most`` is what was promised of the median:
    at most so many seconds, at least so many a second."""

    name: str
    values: Sequence[float]
    unit: str
    most: float | None = None
    worst_counts: bool = False  # the promise is about the worst, not the median

    @property
    def median(self) -> float:
        return float(np.median(self.values))

    @property
    def quartiles(self) -> tuple[float, float]:
        low, high = np.percentile(self.values, (25, 75))
        return float(low), float(high)

    @property
    def worst(self) -> float:
        return float(min(self.values) if self.unit == "/s" else max(self.values))

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        if self.most is None:
            return None
        counted = self.worst if self.worst_counts else self.median
        return counted >= self.most if self.unit == "/s" else counted <= self.most

    def as_dict(self) -> dict:
        return {
            "name": self.name, "unit": self.unit, "n": len(self.values), "median": self.median,
            "quartiles": self.quartiles, "worst": self.worst, "promised": self.most, "kept": self.kept,
        }  # fmt: skip


def table(costs: Sequence[Cost]) -> str:
    rows = [["", "n", "median", "quartiles", "worst", "promise"]]
    for cost in costs:
        low, high = (shown(value, cost.unit) for value in cost.quartiles)
        rows.append([
            cost.name, str(len(cost.values)), shown(cost.median, cost.unit), f"{low} to {high}",
            shown(cost.worst, cost.unit), _promise(cost),
        ])  # fmt: skip
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def shown(value: float, unit: str) -> str:
    """Two or three digits: ``1.24 s``, ``48 ms``, ``59 /s``."""
    if unit == "/s":
        return f"{value:.0f} /s"
    return f"{value:.2f} s" if value >= 0.9995 else f"{1000 * value:.{0 if value >= 0.00995 else 1}f} ms"


def _promise(cost: Cost) -> str:
    if cost.most is None:
        return ""
    of = "worst " if cost.worst_counts else ""
    verdict = "kept" if cost.kept else "**broken**"
    return f"{of}at {'least' if cost.unit == '/s' else 'most'} {shown(cost.most, cost.unit)}: {verdict}"


def document(told: dict, sections: Sequence[tuple[str, str, Sequence[Cost]]]) -> str:
    """The whole page; sections are (title, sentences, costs)."""
    about = told["about"]
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
    parts = [
        "# What the page costs\n",
        f"{about['date']}; {about['cpu']}, {about['cores']} cores; {versions}. {about['browser']}, headless, drawing "
        f"on the CPU; server and browser on this machine. Load average at the start {about['load_average_at_start']}. "
        "Medians over n.\n",
        *(f"**{warning}**\n" for warning in about["warnings"]),
    ]
    for title, sentences, costs in sections:
        parts += [
            f"## {title}\n",
            *([f"{sentences}\n"] if sentences else []),
            *([f"{table(costs)}\n"] if costs else []),
        ]
    return "\n".join(parts)


def ratio(costs: Sequence[Cost], of: str, to: str) -> float:
    """How many times as long the one named ``of`` takes as the one named ``to``."""
    found = {cost.name: cost.median for cost in costs}
    return found[of] / found[to]
