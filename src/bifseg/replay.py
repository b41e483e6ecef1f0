"""A stored session run again: by BIFSeg as it was, to see that it comes out the same, or by another method.

A real person's boxes and scribbles, not a simulated user's; the mask to compare with is the one that person saw.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bifseg.checkpoint import load_model
from bifseg.durable import DurableSession
from bifseg.evaluation.methods import METHODS, check_methods, make
from bifseg.evaluation.metrics import dice
from bifseg.image import Image
from bifseg.interaction import Box, InteractiveMethod
from bifseg.segment import Segment
from bifseg.store import Store
from bifseg.store.journal import Entry

OWN = "bifseg"


@dataclass(frozen=True)
class Replayed:
    """One interaction, run again. ``dice``: of the new mask and the recorded one; ``same``: bit for bit."""

    number: int
    kind: str
    object: str | None
    voxels: int
    recorded: int
    dice: float | None
    same: bool
    seconds: float


def replay(store: Store, id: str, method: str = OWN, *, server: str = "") -> Iterator[Replayed]:
    """Run a session again, yielding each interaction that changed the current object, as it is done.

    ``bifseg`` does all of the journal, with the session's own model, parameters and seed. Any other method of
    `bifseg.evaluation.methods` gets the boxes and scribbles that led to where the session stands; what was undone is
    left out. ``server``: as in `make`. Raises UnknownError for the session, ValueError for the method.
    """
    check_methods([method])
    store.session(id)
    return _own(store, id) if method == OWN else _other(store, id, method, server)


def surviving(entries: list[Entry]) -> list[Entry]:
    """The entries that led to where the session stands: what was undone, and not done again, is left out."""
    path: list[Entry] = []
    position = 0
    for entry in entries:
        if entry.kind in ("undo", "redo"):
            position += 1 if entry.kind == "redo" else -1
        elif entry.state is not None:
            path[position:] = [entry]
            position += 1
    return path[:position]


def _own(store: Store, id: str) -> Iterator[Replayed]:
    row = store.session(id)
    twin = store.create(
        row.image,
        row.owner,
        title=row.title,
        model=row.model,
        parameters=row.parameters,
        seed=row.seed,
        client="replay",
    )
    try:
        session = DurableSession(store, twin)
        for entry in store.entries(id):
            start = time.perf_counter()
            deque(session.apply({"kind": entry.kind, **entry.request}), maxlen=0)
            seconds = time.perf_counter() - start
            if entry.state is not None and entry.state["current"]:
                name = entry.state["current"]
                before = store.segment(entry.state["objects"][name]["segment"])
                after = store.state(twin).objects[name]
                yield _compared(entry, before, after.mask, _same(before, after), seconds)
    finally:
        store.delete(twin)


def _other(store: Store, id: str, name: str, server: str) -> Iterator[Replayed]:
    row, previous, methods = store.session(id), {}, {}
    image = store.image(row.image)
    for entry in surviving(store.entries(id)):
        current = entry.state["current"]
        if current is None:
            continue
        segment = store.segment(entry.state["objects"][current]["segment"])
        known = previous.get(current)
        if known is not None and known.packed is segment.packed:
            continue  # selected or renamed
        previous[current] = segment
        start = time.perf_counter()
        if known is None or known.box != segment.box:
            model = load_model("default", segment.box.dimension) if METHODS[name].learns else None
            methods[current] = make(name, model, seed=row.seed, server=server)
            mask = _started(methods[current], image, segment)
        else:
            new = np.where(segment.scribbles != known.scribbles, segment.scribbles, 0)
            if not new.any():
                continue
            mask = methods[current].refine(_full(new, segment.box, image))
        seconds = time.perf_counter() - start
        yield _compared(entry, segment, segment.box.crop(mask).reshape(segment.box.shape), False, seconds)


def _started(method: InteractiveMethod, image: Image, segment: Segment) -> np.ndarray:
    """The first mask of a method, from the box and the scribbles that there are with it."""
    box = segment.box
    if getattr(method, "begins_with", "box") == "scribbles":
        fixed = {box.plane: (box.start[box.plane], box.stop[box.plane])} if box.plane is not None else {}
        box = Box.of([fixed.get(axis, (0, n)) for axis, n in enumerate(image.shape)], image.shape)
    mask = method.start(image, box)
    return method.refine(_full(segment.scribbles, segment.box, image)) if segment.scribbles.any() else mask


def _full(inside: np.ndarray, box: Box, image: Image) -> np.ndarray:
    full = np.zeros(image.shape, np.uint8)
    full[box.slices] = inside
    return full


def _same(one: Segment, other: Segment) -> bool:
    return (
        np.array_equal(one.packed, other.packed)
        and np.array_equal(one.scribbles, other.scribbles)
        and np.array_equal(one.grid_probability, other.grid_probability)
    )


def _compared(entry: Entry, recorded: Segment, mask: np.ndarray, same: bool, seconds: float) -> Replayed:
    truth = recorded.mask
    return Replayed(
        entry.number, entry.kind, recorded.name, int(np.count_nonzero(mask)), int(np.count_nonzero(truth)),
        dice(mask, truth) if truth.any() or mask.any() else None, same, seconds,
    )  # fmt: skip
