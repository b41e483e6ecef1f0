"""What becomes of small holes and islands, decided anew for an object that there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

from bifseg.errors import InvalidInput
from bifseg.method.parameters import RULES, shares_of
from bifseg.session.interactions.base import Arrays, Interaction, Rounds, current
from bifseg.session.state import State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.session.workbench import Workbench


@dataclass(frozen=True, eq=False)
class Tidy(Interaction):
    """Fill the current object's small holes and drop its small islands, or leave them: see `Session.tidy`."""

    kind = "tidy"
    fill_holes: float | bool | None = None
    drop_islands: float | bool | None = None

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Tidy:
        for name in RULES:
            if not isinstance(request.get(name), Real | None):
                raise InvalidInput(f"{name} is {str(request[name])[:40]!r}; it must be true, false or a share.")
        return cls(**{name: request.get(name) for name in RULES})

    def apply(self, state: State, bench: Workbench) -> Rounds:
        shares = shares_of({name: getattr(self, name) for name in RULES})
        segment = current(state)
        parts = state.family(segment.part_of or segment.name)
        return bench.tidied(state, list(parts.values()), shares)
