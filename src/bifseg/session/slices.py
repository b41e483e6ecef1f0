"""An object from slice to slice: carried on with its classifier, or filled in by the shapes between two."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.method.finetune import Round
from bifseg.method.timing import Stopwatch
from bifseg.prompts.interaction import AXES, Box, overlap
from bifseg.session.crops_ahead import CropsAhead
from bifseg.session.planes import drawn_in, moved, part_name
from bifseg.session.priors import seen_by
from bifseg.session.refine import adapt, begin
from bifseg.session.shape_interpolation import away, core_and_rest, gaps, goes_on, shape_between
from bifseg.session.state import Segment, State

if TYPE_CHECKING:
    from bifseg.session.workbench import Workbench


def carried(
    state: State, source: Segment, axis: int, planes: tuple[int, int], refine: str, bench: Workbench
) -> Generator[Round, None, State]:
    """Carry an object from its plane through a range of planes, both ways, until it ends.

    Parameters
    ----------
    state, source
        All objects, and the part to go on from.
    axis, planes
        Across the planes; start and stop.
    refine
        As in `Session.propagate`.
    bench
        Image, network and crops.

    Returns
    -------
    State
        With the new parts, the last of which is current.

    Yields
    ------
    Round
        Of all parts.

    Raises
    ------
    InvalidInput
        Where there is no new part.
    """
    root, first = source.part_of or source.name, state
    drawn = drawn_in(state, root, axis)
    for way in away(source.box.start[axis], *planes):
        state = yield from _carried(state, source, axis, way, drawn, refine, bench)
    if state is first:
        raise InvalidInput(
            f"The object {root!r} was not found beside the plane {source.box.start[axis]} along {AXES[axis]}, from "
            f"{planes[0]} to {planes[1] - 1}: no new part was made."
        )
    return state


def _carried(
    state: State, before: Segment, axis: int, way: range, drawn: Mapping[int, Segment], refine: str, bench: Workbench
) -> Generator[Round, None, State]:
    """One way, until the object ends; ``drawn``: its parts in planes that it is in already."""
    root = before.part_of or before.name
    with CropsAhead(bench) as ahead:
        for k, index in enumerate(way):
            if index in drawn:
                before = drawn[index]
                continue
            box, name = moved(before.box, axis, index), part_name(state, root, index)
            locked, inside = state.taken(box, but=name), box.crop(bench.image.array)
            if not before.packed.any() or locked.all() or inside.min() == inside.max():
                break
            clock, model = Stopwatch(), bench.model_of(before)
            following = takewhile(lambda later: later not in drawn, way[k + 1 :])
            planes = (moved(box, axis, later) for later in following)
            crop = ahead.crop(box, planes, seen_by(model, before.prior), clock)
            # "A box holds an object" is true where somebody drew it; that it does not is how an object ends.
            ends = before.parameters.but(never_empty=False)
            part = begin(name, crop, model, ends, part_of=root, start=before.classifier, prior=before.prior)
            expected = core_and_rest(crop.mask_on_grid(_in_frame(before, box, axis)))
            part = yield from adapt(
                part, crop, model, refine=refine, locked=locked, beside=expected, seed=bench.seed, clock=clock
            )
            beside = moved(box, axis, before.box.start[axis]).crop(bench.image.array)
            if not goes_on(_in_frame(before, box, axis), _in_frame(part, box, axis), beside, inside):
                break
            before = replace(part, parameters=before.parameters)
            state = State({**state.objects, name: before}, name)
    return state


def interpolated(
    state: State, source: Segment, axis: int, between: tuple[int, int] | None, bench: Workbench
) -> Generator[Round, None, State]:
    """Fill the planes between those an object was drawn in by the shapes in between.

    Parameters
    ----------
    state, source
        All objects, and a part of the one to fill.
    axis
        Across the planes.
    between
        Two planes that the gaps lie between; None: all gaps.
    bench
        Image, network and crops.

    Returns
    -------
    State
        With the new parts, the last of which is current.

    Yields
    ------
    Round
        One for each plane, when its shape is there: to stop iterating is to cancel.

    Raises
    ------
    InvalidInput
        Where there is nothing to fill.
    """
    root, first = source.part_of or source.name, state
    spacing = [s for k, s in enumerate(bench.image.spacing) if k != axis]
    low, high = between or (0, bench.image.shape[axis])
    drawn = {index: part for index, part in drawn_in(state, root, axis).items() if low <= index <= high}
    open_gaps = [(a, b) for a, b in gaps(list(drawn)) if drawn[a].packed.any() and drawn[b].packed.any()]
    count, done = sum(b - a - 1 for a, b in open_gaps), 0
    for a, b in open_gaps:
        ends = drawn[a], drawn[b]
        frame = Box.spanning(moved(end.box, axis, a) for end in ends)
        shapes = [_in_frame(end, frame, axis) for end in ends]
        boxes = [moved(frame, axis, index) for index in range(a + 1, b)]
        with CropsAhead(bench) as ahead:
            for k, box in enumerate(boxes):
                share, clock = (k + 1) / (b - a), Stopwatch()
                nearer, name = ends[share > 0.5], part_name(state, root, a + 1 + k)
                model = bench.model_of(nearer)
                crop = ahead.crop(box, boxes[k + 1 :], seen_by(model, nearer.prior), clock)
                with clock("interpolate"):
                    shape = shape_between(shapes[0], shapes[1], share, spacing).reshape(box.shape)
                part = begin(
                    name, crop, model, nearer.parameters, part_of=root, start=nearer.classifier, prior=nearer.prior
                )
                locked = state.taken(box, but=name)
                part = yield from adapt(part, crop, model, refine="none", locked=locked, initial=shape, clock=clock)
                state, done = State({**state.objects, name: part}, name), done + 1
                labels, energy = crop.mask_on_grid(part.mask), crop.energy(part.parameters)
                value = energy(labels, part.grid_probability)
                yield Round(done - 1, done == count, value, labels, part.grid_probability, milliseconds=dict(clock))
    if state is first:
        raise InvalidInput(
            f"There is nothing to fill between the planes of {root!r}: draw it in two planes that are not neighbours."
        )
    return state


def _in_frame(segment: Segment, frame: Box, axis: int) -> np.ndarray:
    """A segment's mask as it would lie in a box of another plane: bool, two axes."""
    inside = np.zeros(frame.shape, bool)
    here, there = overlap(frame, moved(segment.box, axis, frame.start[axis]))
    inside[here] = segment.mask[there]
    return inside.squeeze(axis)
