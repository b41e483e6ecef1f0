"""A session: one scan, boxes and scribbles on it, and the masks they become.

What holds at every moment, whatever the image, the network or the parameters:

* a scribbled voxel has the scribbled label;
* nothing outside an object's box belongs to the object;
* only the current object changes: all others are locked, and background to it.

The session's state is immutable; every interaction appends one, so undo and redo move along a list and restore
labels, scribbles and adapted classifier bit for bit.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import count

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.method.crop import Crop
from bifseg.method.finetune import Round
from bifseg.method.parameters import REFINEMENTS, Parameters, chosen
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import (
    AXES,
    ERASED,
    INTERACTIONS,
    Box,
    Patch,
    Stroke,
    merge,
    only_label,
    overlap,
    scribbles_in,
)
from bifseg.prompts.painting import rasterise
from bifseg.session import slices
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Segment, State

Labels = np.ndarray | Patch | str | os.PathLike | Sequence[Stroke]
CROPS_KEPT = 2  # features of the last boxes stay in memory; older ones are computed again when they are needed


class Session:
    """Interactive segmentation of one scan, in planes (2D) and volumes (3D).

    ``image``: an `Image`, an array (x, y) or (x, y, z), or a file. ``model``: a shipped name, a file, a `Model`, or
    ``default``, which fits the box's dimension. ``parameters``: ``fast``, ``paper``, `Parameters`, or a preset but for
    some of them, as in ``{"preset": "fast", "fill_holes": 0}``. ``seed`` fixes what is random: the same interactions
    give the same masks on one machine.

    Every array given or returned is in file order (x, y, z) and has the image's shape. Raises InvalidInput for an image
    that is constant or not finite.

    >>> session = Session("scan.nii.gz")                                      # doctest: +SKIP
    >>> mask = session.box(((40, 80), (52, 90), 12))                          # doctest: +SKIP
    >>> mask = session.scribble([Stroke([(60, 70, 12)], label=1, radius=2)])  # doctest: +SKIP
    >>> session.save("mask.nii.gz")                                           # doctest: +SKIP
    """

    def __init__(
        self,
        image: Image | np.ndarray | str | os.PathLike,
        model: Model | str | os.PathLike = "default",
        parameters: Parameters | str | Mapping = "fast",
        seed: int = 0,
        *,
        state: State | None = None,
    ) -> None:
        if isinstance(image, (str, os.PathLike)):
            image = images.read_image(image)
        self.image = image if isinstance(image, Image) else Image(image)
        if state is None:  # who has a state has had the image checked
            self.image.check_scan()
        self.seed = seed
        self._parameters, self._model = parameters, model
        for dimension in (2, 3):
            chosen(parameters, dimension)  # an unknown name is refused now, not at the first box
        if not isinstance(model, Model) and model != "default":
            self._model = load_model(model)
        self._crops: dict[Box, Crop] = {}
        self.go_on_from(state or State())

    # ---- interactions

    def box(
        self,
        ranges: Box | Sequence,
        name: str | None = None,
        *,
        refine: str = "auto",
        initial: Labels | None = None,
        scribbles: Labels | None = None,
    ) -> np.ndarray:
        """Begin an object: its mask, bool, from a box alone or with first scribbles.

        ``ranges``: per axis a half-open pair of voxel indices or one index, which makes the box a 2D plane.
        ``refine``: ``none`` (the network alone; for scribbles, nothing but their voxels changes), ``crf`` (one cut) or
        ``auto`` (fine-tuning, where there are scribbles or the parameters ask for it without). ``initial``: a mask of
        one label to start from instead of the network's; the classifier is first fitted to it (``none``: by the next
        interaction that refines). ``scribbles``: as in `scribble`. Objects begun before are locked from
        here on. Raises InvalidInput for a box that is empty, outside the image, within locked objects, or
        over a constant part of the image, and for a name already taken.
        """
        return self._exhaust(self._box(ranges, name, refine=refine, initial=initial, scribbles=scribbles))

    def scribble(
        self,
        labels: Labels | None = None,
        *,
        foreground: np.ndarray | None = None,
        background: np.ndarray | None = None,
        refine: str = "auto",
    ) -> np.ndarray:
        """Correct the current object: the new mask, bool.

        ``labels``: a label map (array or file; 1 foreground, 2 background, 0 none) or `Stroke`s; or two masks,
        ``foreground`` and ``background``. Scribbles add up; where a new one crosses an older one it wins. Where strokes
        with the label 0 take scribbles away, the classifier has learnt from what is no longer said: so it begins again
        as the object began, and learns from the scribbles that are left, as if the others had never been there; a mask
        that came from the user and was fitted since is not gone back to. Raises InvalidInput for another shape, other
        labels, a voxel in both masks, a scribble outside the box (the brush of a stroke inside it may reach over), a
        foreground scribble on a locked object, and an eraser that alone meets no scribble; the session then stays as it
        was.
        """
        return self._exhaust(self._scribble(labels, foreground=foreground, background=background, refine=refine))

    def resize(self, ranges: Box | Sequence, *, scribbles: Labels | None = None, refine: str = "auto") -> np.ndarray:
        """Give the current object another box, of either dimension: the new mask, bool.

        The object begins anew, with those of its scribbles that lie in the new box and, where they are given, further
        ``scribbles``. Raises InvalidInput as `box` and `scribble`, and for a part that would leave its plane.
        """
        return self._exhaust(self._resize(ranges, scribbles=scribbles, refine=refine))

    def propagate(self, to: int | str | Sequence[int], name: str | None = None, *, refine: str = "auto") -> np.ndarray:
        """Carry the current object, drawn in a plane, on to another plane: the mask there, bool.

        ``to``: the plane's index along the axis that the box is thin along; or a range of planes (start, stop),
        half-open; or ``end``, all there are. Through a range the object goes from plane to plane, both ways, until it
        ends: where nothing is found, or what is found hardly overlaps its neighbour. Planes that it is in already stay
        as they are, and it goes on from them. It is one interaction; its last new part is current. The new part has the
        same box in its plane and begins with the classifier as it is adapted by now; one cut makes its mask (``none``:
        no cut). It is the current object, and can be corrected and carried on itself; of the object's scribbles it has
        none. In `labels` it has the object's number. ``name``: of a single part; else the object's, with " @" and the
        plane. Raises InvalidInput for an object with a 3D box, a plane outside the image or in which the object is
        already, a range with no new part, and as `box`.
        """
        return self._exhaust(self._propagate(to, name, refine=refine))

    def interpolate(self, between: Sequence[int] | None = None) -> np.ndarray:
        """Fill the planes between those that the current object was drawn in: the last new part's mask, bool.

        ``between``: two planes; only gaps from the one to the other are filled, else all. Every shape in between (see
        `interpolation.shape_between`) is a part as those of `propagate`, and can be corrected; its first correction
        fits the classifier to it. It is one interaction; its last new part is current. Raises InvalidInput for an
        object with a 3D box, for planes outside the image, and where no two masks have free planes between them.
        """
        return self._exhaust(self._interpolate(between))

    def refine(self) -> np.ndarray:
        """Go on fine-tuning the current object with the scribbles it has: the new mask, bool."""
        return self._exhaust(self._refine())

    def rounds(self, interaction: str, *arguments: object, **options: object) -> Iterator[Round]:
        """One of ``box``, ``scribble``, ``resize``, ``refine``, ``propagate``, ``interpolate``: round by round.

        The session changes when all rounds were taken: to stop is to cancel.

        >>> for step in session.rounds("scribble", labels):  # doctest: +SKIP
        ...     print(step.index, step.energy)
        """
        if interaction not in INTERACTIONS:
            raise InvalidInput(f"Unknown interaction {interaction!r}; with rounds there are {', '.join(INTERACTIONS)}.")
        return getattr(self, f"_{interaction}")(*arguments, **options)

    def select(self, name: str) -> None:
        """Work on another object or part: it is unlocked, all others are locked. InvalidInput for an unknown name."""
        self._check_name(name)
        self._commit(replace(self.state, current=name))

    def remove(self, name: str) -> None:
        """Forget a part, or an object with its parts (undo brings it back).

        If the current one is forgotten, the last begun of the others is current. Raises InvalidInput for an unknown
        name.
        """
        self._check_name(name)
        gone = self.state.family(name)
        objects = {key: value for key, value in self.state.objects.items() if key not in gone}
        current = self.state.current if self.state.current in objects else next(reversed(objects), None)
        self._commit(State(objects, current))

    def rename(self, name: str, to: str) -> None:
        """Call an object or a part something else; an object's parts stay its own, and keep their names.

        Raises InvalidInput for an unknown name, and for one already taken.
        """
        self._check_name(name)
        self._check_free(to)
        objects = {to if key == name else key: value for key, value in self.state.objects.items()}
        objects[to] = replace(objects[to], name=to)
        parts = {key: replace(value, part_of=to) for key, value in objects.items() if value.part_of == name}
        objects.update(parts)
        self._commit(State(objects, to if self.state.current == name else self.state.current))

    def undo(self) -> bool:
        """Take back the last interaction; False where there is none."""
        return self._move(-1)

    def redo(self) -> bool:
        """Bring back what was undone last; False where there is nothing."""
        return self._move(+1)

    def go_on_from(self, state: State) -> None:
        """Make this state the whole history: it can be worked on, and nothing before it undone."""
        self._history, self._position = [state], 0

    # ---- what it knows

    @property
    def state(self) -> State:
        return self._history[self._position]

    @property
    def names(self) -> list[str]:
        """Names of the objects, in the order they were begun; parts of objects are in `parts`."""
        return list(self.state.names)

    @property
    def parts(self) -> dict[str, str]:
        """Which object each part belongs to: names by names of parts, in the order they were begun."""
        return {name: segment.part_of for name, segment in self.state.objects.items() if segment.part_of}

    @property
    def mask(self) -> np.ndarray:
        """The current object's mask: bool."""
        return self._full(self._current().mask)

    @property
    def scribbles(self) -> np.ndarray:
        """The current object's scribbles: uint8, 1 foreground, 2 background, 0 none."""
        return self._full(self._current().scribbles)

    @property
    def labels(self) -> np.ndarray:
        """All objects: 0 background, k the k-th object of `names` with its parts; uint8, uint16 beyond 255 objects."""
        return self.state.labels(self.image.shape)

    def probability(self) -> np.ndarray:
        """P(foreground) of the current object by its classifier: float32; scribbles 1 or 0; 0 outside the box."""
        return self._full(self._current().probability())

    def uncertainty(self) -> np.ndarray:
        """Entropy of `probability` in bits: float32, 0 (sure) to 1 (p = 0.5); 0 outside the box."""
        return self._full(self._current().uncertainty())

    def weight_map(self) -> np.ndarray | None:
        """w(i) of the last network update (Eq. 13): float32, 0 outside the box; None where there was none."""
        inside = self._current().weight_map()
        return None if inside is None else self._full(inside)

    def save(self, path: str | os.PathLike) -> None:
        """Write `labels` (of a single object: its mask, 0 and 1) with the image's geometry, atomically."""
        if not self.names:
            raise InvalidInput("There is nothing to save: draw a box first.")
        images.write_image(path, self.labels, self.image, names=self.names)

    def report(self) -> dict:
        """What was done and what it cost, ready for JSON: versions, models, parameters, times, energies, memory."""
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        return {
            "versions": {name: version(name) for name in ("bifseg", "numpy", "scipy", "torch", "SimpleITK")},
            "image": {
                "shape": list(self.image.shape),
                "spacing_mm": list(self.image.spacing) if self.image.calibrated else None,
            },
            "seed": self.seed,
            "objects": self.state.report(self.image),
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20),
        }

    # ---- inside: each interaction checks what it was given at once, and computes as its rounds are taken

    def _box(
        self,
        ranges: Box | Sequence,
        name: str | None = None,
        *,
        refine: str = "auto",
        initial: Labels | None = None,
        scribbles: Labels | None = None,
    ) -> Iterator[Round]:
        box = Box.of(ranges, self.image.shape)
        name = name or self._first_free(f"object {k}" for k in count(len(self.names) + 1))
        self._check_free(name)
        if initial is not None:
            initial = only_label(self._patch(initial).inside(box))
            if not initial.any():
                raise InvalidInput(f"The initial mask is empty inside the box {box}.")
        return self._begin(box, name, refine, initial, scribbles)

    def _scribble(
        self,
        labels: Labels | None = None,
        *,
        foreground: np.ndarray | None = None,
        background: np.ndarray | None = None,
        refine: str = "auto",
    ) -> Iterator[Round]:
        segment = self._current()
        if labels is None:
            labels = merge(*(None if mask is None else self._shaped(mask) for mask in (foreground, background)))
        elif foreground is not None or background is not None:
            raise InvalidInput("Scribbles are given as labels and as masks; give one of the two.")
        corrected = self._scribbled(segment, labels)
        if not ((segment.scribbles > 0) & (corrected.scribbles == 0)).any():
            return self._update(corrected, refine)
        _check_refinement(refine)
        self._model_of(segment)
        clock = Stopwatch()
        fresh = self._fresh(
            segment.box, segment.name, clock, segment.parameters, part_of=segment.part_of, start=segment.start
        )
        again = replace(fresh, scribbles=corrected.scribbles, packed=segment.packed, given=segment.given)
        return self._update(again, refine, clock=clock)

    def _resize(
        self, ranges: Box | Sequence, *, scribbles: Labels | None = None, refine: str = "auto"
    ) -> Iterator[Round]:
        old, box = self._current(), Box.of(ranges, self.image.shape)
        if old.part_of and _plane(box) != _plane(old.box):
            axis, index = _plane(old.box)
            raise InvalidInput(
                f"{old.name!r} is {old.part_of!r} in the plane {index} along {AXES[axis]}; give it a box in that plane."
            )
        here, there = overlap(box, old.box)
        kept, initial = np.zeros(box.shape, np.uint8), None
        kept[here] = old.scribbles[there]
        if old.given:
            initial = np.zeros(box.shape, bool)
            initial[here] = old.mask[there]
        start = old.start if old.model.sha256 == self._model_for(box).sha256 else None
        return self._begin(box, old.name, refine, initial, scribbles, kept, part_of=old.part_of, start=start)

    def _propagate(
        self, to: int | str | Sequence[int], name: str | None = None, *, refine: str = "auto"
    ) -> Iterator[Round]:
        source = self._current_plane("propagated")
        axis, root, size = source.box.plane, source.part_of or source.name, self.image.shape
        if isinstance(to, (list, tuple)) or (isinstance(to, str) and to == slices.EVERYWHERE):
            return self._carried(source, slices.planes_of(to, axis, size[axis]), name, refine)
        if not isinstance(to, (int, np.integer)) or not 0 <= to < size[axis]:
            raise InvalidInput(f"There is no plane {to!r} along {AXES[axis]}; the image has 0 to {size[axis] - 1}.")
        for other, part in self.state.family(root).items():
            if _plane(part.box) == (axis, to):
                raise InvalidInput(f"The object {root!r} is in the plane {to} already; select {other!r} to change it.")
        name = name or slices.part_name(self.state, root, to)
        self._check_free(name)
        self._model_of(source)
        return self._begin(
            slices.moved(source.box, axis, to), name, "crf" if refine == "auto" else refine, None, None, part_of=root,
            start=source.classifier, parameters=source.parameters,
        )  # fmt: skip

    def _carried(self, source: Segment, planes: tuple[int, int], name: str | None, refine: str) -> Iterator[Round]:
        _check_refinement(refine)
        if name is not None:
            raise InvalidInput("A range of planes makes several parts, which are named by their planes; give no name.")
        self._model_of(source)
        return self._committed(
            slices.carried(
                self.state, source, planes, self.image, self._crop, self._model_of,
                refine="crf" if refine == "auto" else refine, seed=self.seed,
            )
        )  # fmt: skip

    def _interpolate(self, between: Sequence[int] | None = None) -> Iterator[Round]:
        source = self._current_plane("interpolated")
        if between is not None:
            between = slices.two_of(between, source.box.plane, self.image.shape[source.box.plane])
        self._model_of(source)
        return self._committed(slices.interpolated(self.state, source, between, self.image, self._crop, self._model_of))

    def _committed(self, rounds: Generator[Round, None, State]) -> Iterator[Round]:
        self._commit((yield from rounds))

    def _current_plane(self, participle: str) -> Segment:
        segment = self._current()
        if segment.box.plane is None:
            raise InvalidInput(
                f"The object {segment.name!r} has a 3D box, {segment.box}; only a plane can be {participle}."
            )
        return segment

    def _refine(self) -> Iterator[Round]:
        return self._update(self._current(), "auto")

    def _begin(
        self,
        box: Box,
        name: str,
        refine: str,
        initial: np.ndarray | None,
        scribbles: Labels | None,
        kept: np.ndarray | None = None,
        *,
        part_of: str = "",
        start: Mapping[str, np.ndarray] | None = None,
        parameters: Parameters | None = None,
    ) -> Iterator[Round]:
        """An object of this name from its box, replacing one that has it; ``kept``: its scribbles so far."""
        _check_refinement(refine)
        if self.state.taken(box, but=name).all():
            raise InvalidInput(f"The box {box} lies within finished objects; nothing is left to segment.")
        clock = Stopwatch()
        segment = self._fresh(box, name, clock, parameters, part_of=part_of, start=start)
        if kept is not None:
            segment = replace(segment, scribbles=kept)
        if scribbles is not None:
            segment = self._scribbled(segment, scribbles)
        return self._update(segment, refine, initial, clock)

    def _fresh(
        self,
        box: Box,
        name: str,
        clock: Stopwatch,
        parameters: Parameters | None = None,
        *,
        part_of: str = "",
        start: Mapping[str, np.ndarray] | None = None,
    ) -> Segment:
        """An object that knows nothing but its box; ``parameters``: else the session's."""
        model, crop = self._model_for(box), self._crop(box, clock)
        if parameters is None:
            parameters = self._parameters
        parameters = chosen(parameters, model.dimension, model.tuned)
        with clock("classifier"):
            return begin(name, crop, model, parameters, part_of=part_of, start=start)

    def _scribbled(self, segment: Segment, labels: Labels) -> Segment:
        taken, patch = self.state.taken(segment.box, but=segment.name), self._patch(labels, segment.box)
        new, old = scribbles_in(segment.box, patch, taken), segment.scribbles
        scribbles = np.where(new > 0, new, old)
        if patch.erases:
            erased = new == ERASED
            if np.isin(new, (0, ERASED)).all() and not old[erased].any():
                raise InvalidInput(
                    f"The eraser meets no scribble of {segment.name!r}, so there is nothing to take away."
                )
            scribbles[erased] = 0
        return replace(segment, scribbles=scribbles)

    def _update(
        self,
        segment: Segment,
        refine: str,
        initial: np.ndarray | None = None,
        clock: Stopwatch | None = None,
    ) -> Iterator[Round]:
        """Adapt a segment, yielding the rounds; when they are all taken, the result becomes the current object."""
        _check_refinement(refine)
        return self._rounds(segment, self._model_of(segment), refine, initial, clock)

    def _rounds(
        self, segment: Segment, model: Model, refine: str, initial: np.ndarray | None, clock: Stopwatch | None
    ) -> Iterator[Round]:
        crop, locked = self._crop(segment.box, clock), self.state.taken(segment.box, but=segment.name)
        done = yield from adapt(
            segment, crop, model, refine=refine, locked=locked, initial=initial, seed=self.seed, clock=clock
        )
        self._commit(State({**self.state.objects, segment.name: done}, segment.name))

    def _exhaust(self, rounds: Iterator[Round]) -> np.ndarray:
        deque(rounds, maxlen=0)
        return self.mask

    def _commit(self, state: State) -> None:
        self._history[self._position + 1 :] = [state]
        self._position += 1

    def _move(self, step: int) -> bool:
        if not 0 <= self._position + step < len(self._history):
            return False
        self._position += step
        return True

    def _current(self) -> Segment:
        if self.state.current is None:
            raise InvalidInput("There is no object yet: draw a box first.")
        return self.state.objects[self.state.current]

    def _check_name(self, name: str) -> None:
        if name not in self.state.objects:
            raise InvalidInput(
                f"There is no object named {name!r}; there are: {', '.join(self.state.objects) or 'none'}."
            )

    def _check_free(self, name: str) -> None:
        if name in self.state.objects:
            raise InvalidInput(f"There is an object named {name!r} already; select it, or choose another name.")

    def _first_free(self, names: Iterable[str]) -> str:
        return next(name for name in names if name not in self.state.objects)

    def _model_for(self, box: Box) -> Model:
        if not isinstance(self._model, Model):
            return load_model("default", box.dimension)
        if self._model.dimension != box.dimension:
            raise InvalidInput(
                f"The model {self._model.name} is for {self._model.dimension}D boxes; {box} is {box.dimension}D."
            )
        return self._model

    def _model_of(self, segment: Segment) -> Model:
        """The model that a segment was begun with; InvalidInput where the session has another by now."""
        model = self._model_for(segment.box)
        if model.sha256 != segment.model.sha256:
            raise InvalidInput(
                f"The object {segment.name!r} was begun with another model, {segment.model.name} "
                f"({segment.model.sha256[:12]}); its mask stays as it is. Resize its box, and it begins anew."
            )
        return model

    def _crop(self, box: Box, clock: Stopwatch | None = None) -> Crop:
        crop = self._crops.pop(box, None) or Crop(self.image, box, self._model_for(box), clock)
        self._crops[box] = crop  # the most recently used is last
        while len(self._crops) > CROPS_KEPT:
            del self._crops[next(iter(self._crops))]
        return crop

    def _patch(self, labels: Labels, box: Box | None = None) -> Patch:
        """Labels as they lie in the image; the brush of strokes drawn in a plane ``box`` is a disc in it."""
        if isinstance(labels, Patch):
            return labels
        if isinstance(labels, (str, os.PathLike)):
            return Patch.of(images.read_labels(labels, self.image))
        if isinstance(labels, (list, tuple)) and all(isinstance(stroke, Stroke) for stroke in labels):
            return rasterise(labels, self.image, box)
        return Patch.of(self._shaped(labels))

    def _shaped(self, labels: np.ndarray) -> np.ndarray:
        """A label map or mask, if it has the image's shape; that of a picture may have two axes."""
        array = np.asarray(labels)
        if array.ndim == 2 and self.image.shape[2] == 1:
            array = array[..., None]
        if array.shape != self.image.shape:
            raise InvalidInput(f"The labels have the shape {array.shape}; the image has {self.image.shape}.")
        return array

    def _full(self, inside: np.ndarray) -> np.ndarray:
        """An array in the current object's box, in the image: 0 outside."""
        return self._current().box.paste(inside, self.image.shape)


class BIFSeg:
    """A session behind the one protocol of all interactive methods, `bifseg.prompts.interaction.InteractiveMethod`.

    ``refine``: as in `Session.box`; further options go to `Session`.
    """

    def __init__(self, refine: str = "auto", **options: object) -> None:
        _check_refinement(refine)
        self._refine, self._options = refine, options

    def start(self, image: Image, box: Box) -> np.ndarray:
        self.session = Session(image, **self._options)
        return self.session.box(box, refine=self._refine)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        return self.session.scribble(scribbles, refine=self._refine)


def _check_refinement(refine: str) -> None:
    if refine not in REFINEMENTS:
        raise InvalidInput(f"Unknown refinement {refine!r}; known are {', '.join(REFINEMENTS)}.")


def _plane(box: Box) -> tuple[int, int] | None:
    """Along which axis a box is a plane, and which one."""
    return None if box.plane is None else (box.plane, box.start[box.plane])
