"""What changes no mask: which object is worked on, and what objects are called or whether they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bifseg.session.interactions.base import Arrays, Interaction, Rounds, check_free, check_known, text_of
from bifseg.session.state import State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.session.workbench import Workbench


@dataclass(frozen=True, eq=False)
class _Naming(Interaction):
    """What says no more than the name of an object or part."""

    computes = False
    name: str

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> _Naming:
        return cls(text_of(request, "name"))


class Select(_Naming):
    """Work on another object or part: it is unlocked, all others are locked."""

    kind = "select"

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        return _at_once(replace(state, current=self.name))


class Remove(_Naming):
    """Forget a part, or an object with its parts; if it is the current one, the last begun of the others is."""

    kind = "remove"

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        gone = state.family(self.name)
        objects = {key: value for key, value in state.objects.items() if key not in gone}
        left = state.current if state.current in objects else next(reversed(objects), None)
        return _at_once(State(objects, left))


@dataclass(frozen=True, eq=False)
class Rename(_Naming):
    """Call an object or a part something else; an object's parts stay its own, and keep their names."""

    kind = "rename"
    to: str

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Rename:
        return cls(text_of(request, "name"), text_of(request, "to"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        check_free(self.to, state)
        objects = {self.to if key == self.name else key: value for key, value in state.objects.items()}
        objects[self.to] = replace(objects[self.to], name=self.to)
        parts = {key: replace(value, part_of=self.to) for key, value in objects.items() if value.part_of == self.name}
        objects.update(parts)
        return _at_once(State(objects, self.to if state.current == self.name else state.current))


def _at_once(state: State) -> Rounds:
    yield from ()
    return state
