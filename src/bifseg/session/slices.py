"""An object from slice to slice: carried on with its classifier, or filled in by the shapes between two."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, count

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.finetune import Round
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model
from bifseg.prompts.interaction import AXES, Box, overlap
from bifseg.session.interpolation import away, gaps, goes_on, shape_between
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Segment, State

LONGEST_NAME = 64  # characters of a name that nobody chose, so that every protocol can say it
EVERYWHERE = "end"  # of planes: until the object ends, both ways
Crops = Callable[[Box, Stopwatch], Crop]
Models = Callable[[Segment], Model]


def carried(
    state: State, source: Segment, planes: tuple[int, int], image: Image, crops: Crops, models: Models, *,
    refine: str, seed: int,
) -> Generator[Round, None, State]:  # fmt: skip
    """Carry an object from its plane through a range of planes, start and stop, both ways, until it ends.

    Yields the rounds of all parts, returns the state with them; the last one is current. Raises InvalidInput where
    there is none. ``crops``, ``models``: of a box, and of a segment.
    """
    axis, root, first = source.box.plane, source.part_of or source.name, state
    drawn = drawn_in(state, root, axis)
    for way in away(source.box.start[axis], *planes):
        before = source
        for index in way:
            if index in drawn:
                before = drawn[index]
                continue
            box, name = moved(before.box, axis, index), part_name(state, root, index)
            locked, inside = state.taken(box, but=name), box.crop(image.array)
            if not before.packed.any() or locked.all() or inside.min() == inside.max():
                break
            clock, model = Stopwatch(), models(before)
            crop = crops(box, clock)
            # "A box holds an object" is true where somebody drew it; that it does not is how an object ends.
            ends = before.parameters.but(never_empty=False)
            part = begin(name, crop, model, ends, part_of=root, start=before.classifier)
            part = yield from adapt(part, crop, model, refine=refine, locked=locked, seed=seed, clock=clock)
            beside = moved(box, axis, before.box.start[axis]).crop(image.array)
            if not goes_on(_in_frame(before, box, axis), _in_frame(part, box, axis), beside, inside):
                break
            before = replace(part, parameters=before.parameters)
            state = State({**state.objects, name: before}, name)
    if state is first:
        raise InvalidInput(
            f"The object {root!r} was not found beside the plane {source.box.start[axis]} along {AXES[axis]}, from "
            f"{planes[0]} to {planes[1] - 1}: no new part was made."
        )
    return state


def interpolated(
    state: State, source: Segment, between: tuple[int, int] | None, image: Image, crops: Crops, models: Models
) -> Generator[Round, None, State]:
    """Fill the planes between those an object was drawn in by the shapes in between.

    Yields nothing, returns the state with the new parts; the last one is current. Raises InvalidInput where there is
    nothing to fill.
    """
    axis, root, first = source.box.plane, source.part_of or source.name, state
    spacing = [s for k, s in enumerate(image.spacing) if k != axis]
    low, high = between or (0, image.shape[axis])
    drawn = {index: part for index, part in drawn_in(state, root, axis).items() if low <= index <= high}
    for a, b in gaps(list(drawn)):
        ends = drawn[a], drawn[b]
        if not all(end.packed.any() for end in ends):
            continue
        frame = Box.spanning(moved(end.box, axis, a) for end in ends)
        shapes = [_in_frame(end, frame, axis) for end in ends]
        for index in range(a + 1, b):
            share, clock = (index - a) / (b - a), Stopwatch()
            nearer = ends[share > 0.5]
            box, name, model = moved(frame, axis, index), part_name(state, root, index), models(nearer)
            crop = crops(box, clock)
            with clock("interpolate"):
                shape = shape_between(*shapes, share, spacing).reshape(box.shape)
            part = begin(name, crop, model, nearer.parameters, part_of=root, start=nearer.classifier)
            locked = state.taken(box, but=name)
            part = yield from adapt(part, crop, model, refine="none", locked=locked, initial=shape, clock=clock)
            state = State({**state.objects, name: part}, name)
    if state is first:
        raise InvalidInput(
            f"There is nothing to fill between the planes of {root!r}: draw it in two planes that are not neighbours."
        )
    return state


def planes_of(to: str | Sequence[int], axis: int, size: int) -> tuple[int, int]:
    """A range of planes (start, stop), half-open, of those there are; InvalidInput for what is none."""
    if isinstance(to, str) and to == EVERYWHERE:
        return 0, size
    if not _is_pair(to) or not 0 <= to[0] < to[1] <= size:
        raise InvalidInput(
            f"There are no planes {to!r} along {AXES[axis]}; give one from 0 to {size - 1}, a range of them as "
            f"[start, stop], or {EVERYWHERE!r}."
        )
    return int(to[0]), int(to[1])


def two_of(between: Sequence[int], axis: int, size: int) -> tuple[int, int]:
    """Two planes in their order; InvalidInput for what is not."""
    if not _is_pair(between) or not 0 <= min(between) < max(between) < size:
        raise InvalidInput(f"There are no two planes {between!r} along {AXES[axis]}; the image has 0 to {size - 1}.")
    return int(min(between)), int(max(between))


def drawn_in(state: State, root: str, axis: int) -> Mapping[int, Segment]:
    """The planes across an axis that an object is in, and its part there."""
    return {part.box.start[axis]: part for part in state.family(root).values() if part.box.plane == axis}


def moved(box: Box, axis: int, index: int) -> Box:
    """A plane's box in another plane across the same axis."""
    start, stop = list(box.start), list(box.stop)
    start[axis], stop[axis] = int(index), int(index) + 1
    return Box(tuple(start), tuple(stop))


def part_name(state: State, root: str, index: int) -> str:
    """A free name for an object's part in a plane."""
    ends = chain([f" @{index}"], (f" @{index} ({k})" for k in count(2)))
    names = (root[: LONGEST_NAME - len(end)] + end for end in ends)
    return next(name for name in names if name not in state.objects)


def _is_pair(given: object) -> bool:
    whole = (int, np.integer)
    return isinstance(given, (list, tuple)) and len(given) == 2 and all(isinstance(k, whole) for k in given)


def _in_frame(segment: Segment, frame: Box, axis: int) -> np.ndarray:
    """A segment's mask as it would lie in a box of another plane: bool, two axes."""
    inside = np.zeros(frame.shape, bool)
    here, there = overlap(frame, moved(segment.box, axis, frame.start[axis]))
    inside[here] = segment.mask[there]
    return inside.squeeze(axis)
