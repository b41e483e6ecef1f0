"""What a user can do to a session, as data: one class for each kind. A new kind is a new class.

A protocol makes them as JSON, a worker gets them, a journal keeps them, and a replay does them again. ``apply`` takes
the state of a session to the next one; it checks what it was given at once, and computes as its rounds are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.parameters import check_refinement
from bifseg.method.timing import Stopwatch
from bifseg.prompts.interaction import AXES, Box, Labels, Patch, Stroke, merge, only_label, overlap
from bifseg.session.planes import EVERYWHERE, drawn_in, moved, part_name, planes_of, two_of
from bifseg.session.state import Segment, State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.method.finetune import Round
    from bifseg.session.workbench import Workbench

Rounds = Generator["Round", None, State]  # the rounds of an interaction, which return the state that follows
Arrays = Callable[[object], Patch]  # a stored array, of what JSON says of it


class Interaction:
    """Something that a user does. ``kind``: its name in JSON; ``computes``: whether it has rounds."""

    kind: ClassVar[str]
    computes: ClassVar[bool] = True

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interaction:
        """The interaction that JSON tells; ``shape``: of the image. Raises InvalidInput for another form."""
        raise NotImplementedError

    def apply(self, state: State, bench: Workbench) -> Rounds:
        """The rounds that lead from a state to the next. Raises InvalidInput for what cannot be."""
        raise NotImplementedError

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        """The scribbles that come with it, and the box that they are painted in."""
        return None, None


@dataclass(frozen=True, eq=False)
class DrawBox(Interaction):
    """Begin an object: see `Session.box`."""

    kind = "box"
    ranges: Box | Sequence
    name: str | None = None
    _: KW_ONLY
    refine: str = "auto"
    initial: Labels | None = None
    scribbles: Labels | None = None

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> DrawBox:
        initial = told.get("initial")
        return cls(
            Box.parse(_text(told, "box"), shape), told.get("name"), refine=told.get("refine", "auto"),
            initial=None if initial is None else arrays(initial), scribbles=_scribbles(told, arrays),
        )  # fmt: skip

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.scribbles, Box.of(self.ranges, shape)

    def apply(self, state: State, bench: Workbench) -> Rounds:
        box = Box.of(self.ranges, bench.image.shape)
        name = self.name or first_free((f"object {k}" for k in count(len(state.names) + 1)), state)
        check_free(name, state)
        initial = None
        if self.initial is not None:
            initial = only_label(bench.patch(self.initial).inside(box))
            if not initial.any():
                raise InvalidInput(f"The initial mask is empty inside the box {box}.")
        return bench.begun(state, box, name, self.refine, initial=initial, scribbles=self.scribbles)


@dataclass(frozen=True, eq=False)
class Scribble(Interaction):
    """Correct the current object: see `Session.scribble`."""

    kind = "scribble"
    labels: Labels | None = None
    _: KW_ONLY
    foreground: np.ndarray | None = None
    background: np.ndarray | None = None
    refine: str = "auto"

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Scribble:
        return cls(_scribbles(told, arrays), refine=told.get("refine", "auto"))

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.labels, current(state).box

    def apply(self, state: State, bench: Workbench) -> Rounds:
        segment, labels = current(state), self.labels
        if labels is None:
            masks = self.foreground, self.background
            labels = merge(*(None if mask is None else bench.shaped(mask) for mask in masks))
        elif self.foreground is not None or self.background is not None:
            raise InvalidInput("Scribbles are given as labels and as masks; give one of the two.")
        corrected = bench.scribbled(segment, labels, state)
        if not ((segment.scribbles > 0) & (corrected.scribbles == 0)).any():
            return bench.refined(state, corrected, self.refine)
        # The classifier has learnt from what is no longer said: the object begins again as it began.
        check_refinement(self.refine)
        bench.model_of(segment)
        clock = Stopwatch()
        fresh = bench.fresh(
            segment.box, segment.name, clock, parameters=segment.parameters, part_of=segment.part_of,
            start=segment.start,
        )  # fmt: skip
        again = replace(fresh, scribbles=corrected.scribbles, packed=segment.packed, given=segment.given)
        return bench.refined(state, again, self.refine, clock=clock)


@dataclass(frozen=True, eq=False)
class Resize(Interaction):
    """Give the current object another box: see `Session.resize`."""

    kind = "resize"
    ranges: Box | Sequence
    _: KW_ONLY
    scribbles: Labels | None = None
    refine: str = "auto"

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Resize:
        box = Box.parse(_text(told, "box"), shape)
        return cls(box, scribbles=_scribbles(told, arrays), refine=told.get("refine", "auto"))

    def painted(self, state: State, shape: Sequence[int]) -> tuple[Labels | None, Box | None]:
        return self.scribbles, Box.of(self.ranges, shape)

    def apply(self, state: State, bench: Workbench) -> Rounds:
        old, box = current(state), Box.of(self.ranges, bench.image.shape)
        plane = _plane(old.box)
        if old.part_of and plane is not None and _plane(box) != plane:
            axis, index = plane
            raise InvalidInput(
                f"{old.name!r} is {old.part_of!r} in the plane {index} along {AXES[axis]}; give it a box in that plane."
            )
        here, there = overlap(box, old.box)
        kept, initial = np.zeros(box.shape, np.uint8), None
        kept[here] = old.scribbles[there]
        if old.given:
            initial = np.zeros(box.shape, bool)
            initial[here] = old.mask[there]
        start = old.start if old.model.sha256 == bench.model_for(box).sha256 else None
        return bench.begun(
            state, box, old.name, self.refine, initial=initial, scribbles=self.scribbles, kept=kept,
            part_of=old.part_of, start=start,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Refine(Interaction):
    """Go on fine-tuning the current object with the scribbles it has."""

    kind = "refine"

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Refine:
        return cls()

    def apply(self, state: State, bench: Workbench) -> Rounds:
        return bench.refined(state, current(state), "auto")


@dataclass(frozen=True, eq=False)
class Propagate(Interaction):
    """Carry the current object on to another plane, or through a range of them: see `Session.propagate`."""

    kind = "propagate"
    to: int | str | Sequence[int]
    name: str | None = None
    _: KW_ONLY
    refine: str = "auto"

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Propagate:
        to = cast("int", told.get("to"))  # `apply` looks at it
        return cls(to, told.get("name"), refine=told.get("refine", "auto"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        source, axis = _current_plane(state, "propagated")
        to, root, size = self.to, source.part_of or source.name, bench.image.shape[axis]
        refine = "crf" if self.refine == "auto" else self.refine
        if isinstance(to, (list, tuple)) or (isinstance(to, str) and to == EVERYWHERE):
            check_refinement(refine)
            if self.name is not None:
                raise InvalidInput(
                    "A range of planes makes several parts, which are named by their planes; give no name."
                )
            return bench.carried(state, source, axis, planes_of(to, axis, size), refine)
        if not isinstance(to, (int, np.integer)) or not 0 <= to < size:
            raise InvalidInput(f"There is no plane {to!r} along {AXES[axis]}; the image has 0 to {size - 1}.")
        if to in (drawn := drawn_in(state, root, axis)):
            other = drawn[int(to)].name
            raise InvalidInput(f"The object {root!r} is in the plane {to} already; select {other!r} to change it.")
        name = self.name or part_name(state, root, int(to))
        check_free(name, state)
        bench.model_of(source)
        return bench.begun(
            state, moved(source.box, axis, int(to)), name, refine, parameters=source.parameters, part_of=root,
            start=source.classifier,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Interpolate(Interaction):
    """Fill the planes between those that the current object was drawn in: see `Session.interpolate`."""

    kind = "interpolate"
    between: Sequence[int] | None = None

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interpolate:
        return cls(told.get("between"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        source, axis = _current_plane(state, "interpolated")
        between = None if self.between is None else two_of(self.between, axis, bench.image.shape[axis])
        return bench.interpolated(state, source, axis, between)


@dataclass(frozen=True, eq=False)
class Select(Interaction):
    """Work on another object or part: it is unlocked, all others are locked."""

    kind = "select"
    computes = False
    name: str

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Select:
        return cls(_text(told, "name"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        return _at_once(replace(state, current=self.name))


@dataclass(frozen=True, eq=False)
class Remove(Interaction):
    """Forget a part, or an object with its parts; if it is the current one, the last begun of the others is."""

    kind = "remove"
    computes = False
    name: str

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Remove:
        return cls(_text(told, "name"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        gone = state.family(self.name)
        objects = {key: value for key, value in state.objects.items() if key not in gone}
        left = state.current if state.current in objects else next(reversed(objects), None)
        return _at_once(State(objects, left))


@dataclass(frozen=True, eq=False)
class Rename(Interaction):
    """Call an object or a part something else; an object's parts stay its own, and keep their names."""

    kind = "rename"
    computes = False
    name: str
    to: str

    @classmethod
    def from_json(cls, told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Rename:
        return cls(_text(told, "name"), _text(told, "to"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        check_known(self.name, state)
        check_free(self.to, state)
        objects = {self.to if key == self.name else key: value for key, value in state.objects.items()}
        objects[self.to] = replace(objects[self.to], name=self.to)
        parts = {key: replace(value, part_of=self.to) for key, value in objects.items() if value.part_of == self.name}
        objects.update(parts)
        return _at_once(State(objects, self.to if state.current == self.name else state.current))


INTERACTIONS: dict[str, type[Interaction]] = {
    one.kind: one for one in (DrawBox, Scribble, Resize, Refine, Propagate, Interpolate, Select, Remove, Rename)
}


def interaction_of(told: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interaction:
    """The interaction that JSON tells; InvalidInput for a kind that there is not, and for another form."""
    kind = told.get("kind")
    if kind not in INTERACTIONS:
        raise InvalidInput(f"Unknown interaction {str(kind)[:80]!r}; known are {', '.join(INTERACTIONS)}.")
    return INTERACTIONS[kind].from_json(told, arrays, shape)


def current(state: State) -> Segment:
    """The object that is being worked on; InvalidInput where there is none."""
    if state.current is None:
        raise InvalidInput("There is no object yet: draw a box first.")
    return state.objects[state.current]


def first_free(names: Iterable[str], state: State) -> str:
    """The first of the names that no object has."""
    return next(name for name in names if name not in state.objects)


def check_known(name: str, state: State) -> None:
    """Refuse a name that no object has."""
    if name not in state.objects:
        raise InvalidInput(f"There is no object named {name!r}; there are: {', '.join(state.objects) or 'none'}.")


def check_free(name: str, state: State) -> None:
    """Refuse a name that an object has, and one that nobody could read."""
    if not name.strip():
        raise InvalidInput(f"An object cannot be named {name!r}; give at least one letter or digit.")
    if name in state.objects:
        raise InvalidInput(f"There is an object named {name!r} already; select it, or choose another name.")


def _at_once(state: State) -> Rounds:
    yield from ()
    return state


def _current_plane(state: State, participle: str) -> tuple[Segment, int]:
    """The current object, drawn in a plane, and the axis across it; InvalidInput for one with a 3D box."""
    segment = current(state)
    if segment.box.plane is None:
        raise InvalidInput(
            f"The object {segment.name!r} has a 3D box, {segment.box}; only a plane can be {participle}."
        )
    return segment, segment.box.plane


def _plane(box: Box) -> tuple[int, int] | None:
    """Along which axis a box is a plane, and which one."""
    return None if box.plane is None else (box.plane, box.start[box.plane])


def _text(told: Mapping, name: str) -> str:
    value = told.get(name)
    if not isinstance(value, str):
        raise InvalidInput(f"The interaction needs {name!r}, a text; it has {value!r}.")
    return value


def _scribbles(told: Mapping, arrays: Arrays) -> Labels | None:
    """Strokes, or a stored array of labels."""
    given = told.get("scribbles")
    if given is None:
        return None
    if not isinstance(given, Mapping) or len({"strokes", "labels"} & given.keys()) != 1:
        raise InvalidInput('Scribbles are {"strokes": [...]} or {"labels": ...}; give one of the two.')
    if "labels" in given:
        return arrays(given["labels"])
    try:
        strokes = [Stroke(s["points"], s.get("label", 1), s.get("radius", 0.0)) for s in given["strokes"]]
    except (TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"A stroke needs points (x, y, z), a label and a radius; {error} is wrong.") from None
    if not strokes:
        raise InvalidInput("There are no strokes; give one or more.")
    return strokes
