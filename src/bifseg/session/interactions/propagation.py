"""What leads an object from slice to slice: propagation and interpolation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.parameters import check_refinement
from bifseg.prompts.interaction import AXES
from bifseg.session.interactions.base import Arrays, Interaction, Rounds, check_free, current
from bifseg.session.planes import EVERYWHERE, drawn_in, moved, part_name, planes_of, two_of
from bifseg.session.state import Segment, State

if TYPE_CHECKING:  # this module does not need torch
    from bifseg.session.workbench import Workbench


@dataclass(frozen=True, eq=False)
class Propagate(Interaction):
    """Carry the current object on to another plane, or through a range of them: see `Session.propagate`."""

    kind = "propagate"
    to: int | str | Sequence[int]
    name: str | None = None
    _: KW_ONLY
    refine: str = "auto"

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Propagate:
        to = cast("int", request.get("to"))  # `apply` looks at it
        return cls(to, request.get("name"), refine=request.get("refine", "auto"))

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
            start=source.classifier, prior=source.prior,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Interpolate(Interaction):
    """Fill the planes between those that the current object was drawn in: see `Session.interpolate`."""

    kind = "interpolate"
    between: Sequence[int] | None = None

    @classmethod
    def from_json(cls, request: Mapping, arrays: Arrays, shape: Sequence[int]) -> Interpolate:
        return cls(request.get("between"))

    def apply(self, state: State, bench: Workbench) -> Rounds:
        source, axis = _current_plane(state, "interpolated")
        between = None if self.between is None else two_of(self.between, axis, bench.image.shape[axis])
        return bench.interpolated(state, source, axis, between)


def _current_plane(state: State, participle: str) -> tuple[Segment, int]:
    """The current object, drawn in a plane, and the axis across it; InvalidInput for one with a 3D box."""
    segment = current(state)
    if segment.box.plane is None:
        raise InvalidInput(
            f"The object {segment.name!r} has a 3D box, {segment.box}; only a plane can be {participle}."
        )
    return segment, segment.box.plane
