"""How a user and a method work together, step by step: the field's protocols, each a generator of steps in a file here.

A method that begins with scribbles is shown no box: in ``rounds`` its user draws the first scribbles instead, in the
others its work begins with the first click. Every run of a protocol has the same number of steps: of a user who is
content the last mask counts on, and costs nothing.

A protocol is a function of (method, target, user, seed, count) that yields a `steps.Step` for the start and for each of
``count`` rounds or clicks, and one line of `PROTOCOLS`, from which command line, report and docs take what they say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

BOX_CLICKS = 2  # its two corners


@dataclass(frozen=True)
class Protocol:
    """One entry. Places are ``module:name``, so that nothing is imported before it is needed.

    ``steps``: the place of the generator. ``help``: what a user does, for command line and docs. ``dimension``: of the
    objects that it is for; None: both. ``count``: of rounds or clicks after the start, where the protocol fixes it.
    ``users``: whether kinds of users differ in it. ``box_clicks``: how many of its clicks a box stands for.
    ``tables``, ``figures``: the places of what a report shows of a group of its runs.
    """

    steps: str
    help: str
    dimension: int | None = None
    count: int | None = None
    users: bool = False
    box_clicks: int = 0
    tables: str = "bifseg.evaluation.report.interactive:step_tables"
    figures: str = "bifseg.evaluation.report.figures:step_figures"

    def load(self, part: str) -> Callable:
        """The function behind one of the places: ``steps``, ``tables`` or ``figures``."""
        return resolve_name(getattr(self, part))


_STEPS, _REPORT = "bifseg.evaluation.protocols", "bifseg.evaluation.report"

PROTOCOLS: dict[str, Protocol] = {
    "rounds": Protocol(
        f"{_STEPS}.rounds:rounds", "a box, then --rounds rounds of scribbles", users=True,
        tables=f"{_REPORT}.interactive:interactive_tables", figures=f"{_REPORT}.figures:rounds_figures",
    ),
    "challenge": Protocol(
        f"{_STEPS}.challenge:challenge", "CVPR 2025, 3D: a box, then five clicks", dimension=3, count=5,
        tables=f"{_REPORT}.clicks:challenge_tables", figures=f"{_REPORT}.figures:challenge_figures",
    ),
    "noc": Protocol(
        f"{_STEPS}.noc:noc", "2D: clicks until the IoU is 0.90, at most 20", dimension=2, count=20,
        box_clicks=BOX_CLICKS, tables=f"{_REPORT}.clicks:noc_tables", figures=f"{_REPORT}.figures:noc_figures",
    ),
}  # fmt: skip
