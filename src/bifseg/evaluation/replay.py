"""A stored session run again: by BIFSeg as it was, to see that it comes out the same, or by another method.

A real person's boxes and scribbles, not a simulated user's; the mask to compare with is the one that person saw.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.evaluation.methods import METHODS, check_methods, make
from bifseg.evaluation.metrics import dice
from bifseg.imaging.image import Image
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box, InteractiveMethod
from bifseg.session.interactions import INTERACTIONS
from bifseg.session.state import Segment, State
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.storage.journal import MOVES, Entry, blobs_of

OWN = "bifseg"


@dataclass(frozen=True)
class Replayed:
    """One interaction, run again. ``dice``: of the new mask and the recorded one; ``same``: all of the object, bit for
    bit, its classifier included."""

    number: int
    kind: str
    object: str | None
    voxels: int
    recorded: int
    dice: float | None
    same: bool
    seconds: float


def replay(
    store: Store, id: str, method: str = OWN, *, models: Mapping[str, Path] | None = None, server: str = ""
) -> Iterator[Replayed]:
    """Run a session again, yielding each interaction that changed the current object, as it is done.

    ``bifseg`` does all of the journal, with the session's own model, parameters and seed. Any other method of
    `bifseg.evaluation.methods` gets the boxes and scribbles that led to where the session stands: what was undone is
    left out; so are masks given to start from and erasers, which no other method knows, and a part of an object in
    another plane is to it an object of its own. The store stays as it is. ``models``: files of models that are known by
    a name; ``server``: as in `make`. Raises NotFound for the session, InvalidInput for the method.
    """
    check_methods([method])
    store.session(id)
    models = models or {}
    return _own(store, id, models) if method == OWN else _other(store, id, method, models, server)


def surviving(entries: list[Entry]) -> list[Entry]:
    """The entries that led to where the session stands: what was undone, and not done again, is left out."""
    path: list[Entry] = []
    position = 0
    for entry in entries:
        if entry.kind in MOVES:
            position += 1 if entry.kind == "redo" else -1
        elif entry.state is not None:
            path[position:] = [entry]
            position += 1
    return path[:position]


def _own(store: Store, id: str, models: Mapping[str, Path]) -> Iterator[Replayed]:
    row = store.session(id)
    with TemporaryDirectory(prefix="bifseg-") as folder, closing(Store(Path(folder))) as copy:
        twin = copy.create(
            copy.add_image(store.image(row.image), row.owner), row.owner, model=row.model, parameters=row.parameters,
            seed=row.seed,
        )  # fmt: skip
        session = DurableSession(copy, twin, models=models)
        for entry in store.entries(id):
            for sha in blobs_of(entry.request):
                copy.add_blob(store.blob(sha))
            start = time.perf_counter()
            deque(session.apply({**entry.request, "kind": entry.kind}), maxlen=0)
            seconds = time.perf_counter() - start
            if entry.state is not None and (name := entry.state["current"]) is not None:
                before = store.segment(entry.state["objects"][name]["segment"])
                after = copy.state(twin).objects.get(name)
                if after is None:
                    raise InvalidInput(f"The entry {entry.number} does not lead to the object {name[:80]!r} any more.")
                yield _compared(entry, before, after.mask, _same(before, after), seconds)


def _other(store: Store, id: str, name: str, models: Mapping[str, Path], server: str) -> Iterator[Replayed]:
    row, before = store.session(id), State()
    methods: dict[str, InteractiveMethod] = {}
    image = store.image(row.image)
    for entry in surviving(store.entries(id)):
        state = State() if entry.state is None else store.load(entry.state)
        before, previous = state, before
        methods = {_now(key, entry): method for key, method in methods.items()}
        if state.current is None or not (entry.kind in INTERACTIONS and INTERACTIONS[entry.kind].computes):
            continue
        segment, known = state.objects[state.current], previous.objects.get(state.current)
        start = time.perf_counter()
        if entry.kind in ("box", "resize") or known is None:
            model = None
            if METHODS[name].learns:
                model = load_model(models.get(row.model, row.model), segment.box.dimension)
            methods[state.current] = make(name, model, seed=row.seed, server=server)
            mask = _started(methods[state.current], image, segment)
        else:
            new = np.where(segment.scribbles != known.scribbles, segment.scribbles, 0)
            if not new.any():
                continue
            mask = methods[state.current].refine(segment.box.paste(new, image.shape))
        seconds = time.perf_counter() - start
        inside = segment.box.crop(mask).reshape(segment.box.shape) & ~state.taken(segment.box, but=state.current)
        yield _compared(entry, segment, inside, False, seconds)


def _now(name: str, entry: Entry) -> str:
    """What an object is called after an interaction."""
    return entry.request["to"] if entry.kind == "rename" and name == entry.request.get("name") else name


def _started(method: InteractiveMethod, image: Image, segment: Segment) -> np.ndarray:
    """The first mask of a method, from the box and the scribbles that there are with it."""
    box = segment.box
    if getattr(method, "begins_with", "box") == "scribbles":
        fixed = {box.plane: (box.start[box.plane], box.stop[box.plane])} if box.plane is not None else {}
        box = Box.of([fixed.get(axis, (0, n)) for axis, n in enumerate(image.shape)], image.shape)
    mask = method.start(image, box)
    return method.refine(segment.box.paste(segment.scribbles, image.shape)) if segment.scribbles.any() else mask


def _same(one: Segment, other: Segment) -> bool:
    return (
        np.array_equal(one.packed, other.packed)
        and np.array_equal(one.scribbles, other.scribbles)
        and np.array_equal(one.grid_probability, other.grid_probability)
        and _equal(one.grid_weights, other.grid_weights)
        and one.classifier.keys() == other.classifier.keys()
        and all(np.array_equal(weights, other.classifier[name]) for name, weights in one.classifier.items())
    )


def _equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def _compared(entry: Entry, recorded: Segment, mask: np.ndarray, same: bool, seconds: float) -> Replayed:
    truth = recorded.mask
    return Replayed(
        entry.number, entry.kind, recorded.name, int(np.count_nonzero(mask)), int(np.count_nonzero(truth)),
        dice(mask, truth) if truth.any() or mask.any() else None, same, seconds,
    )  # fmt: skip
