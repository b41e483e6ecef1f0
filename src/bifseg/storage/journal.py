"""A session's journal: every interaction in its order. It *is* the session: what can be undone follows from it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from bifseg.errors import InvalidInput, KeyReused, Stale
from bifseg.prompts.interaction import Box
from bifseg.session.interactions import INTERACTIONS

MOVES = ("undo", "redo")  # along the history
KINDS = (*INTERACTIONS, *MOVES, "submit")
STATELESS = (*MOVES, "submit")  # no state comes of these
EMPTY: dict[str, Any] = {"objects": {}, "current": None}
VERSION = 16  # digits of a segment's hash, which tell it from all others of its session


@dataclass(frozen=True)
class Entry:
    """One interaction.

    ``state``: all objects after it, {"objects": {name: {"segment", "box", "voxels", "tidy"}}, "current"}; a part of
    an object has "part_of", and one that began with what a task had learnt "prior"; what older versions wrote has no
    "tidy". None for those that change none (undo and redo go to a state there is)."""

    number: int
    kind: str
    request: dict
    state: dict | None
    summary: dict
    key: str | None
    created: float


@dataclass(frozen=True)
class History:
    """What undo and redo move along. ``number``: of the last entry; ``made_by``: of those that made the states."""

    states: tuple[dict, ...] = (EMPTY,)
    position: int = 0
    number: int = 0
    made_by: tuple[int, ...] = (0,)

    @cached_property
    def size(self) -> int:
        """How many segments its states name, each state one more: what it costs to keep."""
        return sum(1 + len(state["objects"]) for state in self.states)

    @property
    def state(self) -> dict:
        return self.states[self.position]

    @property
    def can_undo(self) -> bool:
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        return self.position + 1 < len(self.states)

    def version(self, name: str | None = None) -> str | None:
        """An object's version, the current one's where ``name`` is None: as long as it is the same, all of it is. None
        where there is no such object."""
        about = self.state["objects"].get(self.state["current"] if name is None else name)
        return None if about is None else about["segment"][:VERSION]

    def voxels(self, name: str | None = None) -> int:
        """How many voxels an object's box has, the current one's where ``name`` is None; 0 where there is none."""
        about = self.state["objects"].get(self.state["current"] if name is None else name)
        return 0 if about is None else prod(Box.parse(about["box"]).shape)

    def after(self, entries: Iterable[tuple[int, str, dict | None]]) -> History:
        """The history with further entries, (number, kind, state) each; InvalidInput where one cannot follow."""
        states, position, number, made_by = list(self.states), self.position, self.number, list(self.made_by)
        for number, kind, state in entries:
            if kind in MOVES:
                position += 1 if kind == "redo" else -1
                if not 0 <= position < len(states):
                    raise InvalidInput(f"The journal is damaged: its entry {number}, {kind}, has nowhere to go.")
            elif state is not None:
                states[position + 1 :], made_by[position + 1 :] = [state], [number]
                position += 1
        return History(tuple(states), position, number, tuple(made_by))

    def summary(self) -> dict:
        """Where the session stands, ready for JSON."""
        objects = [
            {
                "name": name, "box": about["box"], "voxels": about["voxels"],
                "version": about["segment"][:VERSION], "part_of": about.get("part_of"), "prior": about.get("prior"),
                "tidy": about.get("tidy"),
            }
            for name, about in self.state["objects"].items()
        ]  # fmt: skip
        return {
            "number": self.number,
            "objects": objects,
            "current": self.state["current"],
            "can_undo": self.can_undo,
            "can_redo": self.can_redo,
            "undoes": self.made_by[self.position] if self.can_undo else None,
        }


def check_current(history: History, expected: Collection[str] | None, name: str | None = None) -> None:
    """Stale where a session is at none of the expected versions; None and "*" expect nothing.

    A version is the number of the session's last interaction, or that of the object ``name``, of the current one where
    it is None: who changes one object may do so whatever became of the others.
    """
    if expected is None or "*" in expected:
        return
    if str(history.number) in expected or history.version(name) in expected:
        return
    bases = ", ".join(sorted(expected))[:80] or "none"
    raise Stale(
        f"The session was changed meanwhile: it is at version {history.number}, and the request was made for {bases}; "
        "nothing was done. Look at what changed, and ask again.",
        number=history.number,
    )


def repeated(history: History, entry: Entry, kind: str, request: Mapping) -> dict:
    """The answer to an interaction that was done before: where the session stands, and what it did then.

    KeyReused where this is another interaction than that of the entry: it was not done, and nobody may believe so.
    """
    asked = {**json.loads(json.dumps(request)), "prior": entry.request.get("prior")}  # a task may have learnt meanwhile
    if (entry.kind, {"prior": None, **entry.request}) != (kind, asked):
        raise KeyReused(
            f"This key came with another interaction before, number {entry.number}, {entry.kind}; give each its own."
        )
    return {**history.summary(), **entry.summary, "kind": entry.kind, "changed": False, "repeated": True}


def blobs_of(request: Mapping) -> list[str]:
    """The stored arrays that an interaction refers to."""
    places = [request.get(name) for name in ("initial", "labels", "scribbles", "prior")]
    places += [place.get("labels") for place in places if isinstance(place, Mapping)]
    return [place["blob"] for place in places if isinstance(place, Mapping) and "blob" in place]
