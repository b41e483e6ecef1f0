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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import numpy as np
from scipy.special import entr

from bifseg import io
from bifseg.checkpoint import Model, load_model
from bifseg.crop import Crop
from bifseg.finetune import Round
from bifseg.image import Image, slabs
from bifseg.interaction import BACKGROUND, FOREGROUND, Box, Stroke, merge, rasterise, scribbles_in
from bifseg.parameters import REFINEMENTS, Parameters, preset
from bifseg.segment import Segment, adapt
from bifseg.stopwatch import Stopwatch

Labels = np.ndarray | str | os.PathLike | Sequence[Stroke]
CROPS_KEPT = 2  # features of the last boxes stay in memory; older ones are computed again when they are needed


@dataclass(frozen=True)
class State:
    """All objects of a session, in the order they were begun, and which one is being worked on."""

    objects: Mapping[str, Segment] = field(default_factory=dict)
    current: str | None = None


class Session:
    """Interactive segmentation of one scan, in planes (2D) and volumes (3D).

    ``image``: an `Image`, an array (x, y) or (x, y, z), or a file. ``model``: a shipped name, a file, a `Model`, or
    ``default``, which fits the box's dimension. ``parameters``: ``fast``, ``paper``, or `Parameters`. ``seed`` fixes
    what is random: the same interactions give the same masks on one machine.

    Every array given or returned is in file order (x, y, z) and has the image's shape. Raises ValueError for an image
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
        parameters: Parameters | str = "fast",
        seed: int = 0,
    ) -> None:
        if isinstance(image, (str, os.PathLike)):
            image = io.read_image(image)
        self.image = (image if isinstance(image, Image) else Image(image)).check_scan()
        self.seed = seed
        self._parameters, self._model = parameters, model
        if isinstance(parameters, str):
            preset(parameters, 2)  # an unknown name is refused now, not at the first box
        if not isinstance(model, Model) and model != "default":
            self._model = load_model(model)
        self._defaults: dict[int, Model] = {}
        self._crops: dict[Box, Crop] = {}
        self._history, self._position = [State()], 0

    # ---- interactions

    def box(
        self,
        ranges: Box | Sequence,
        name: str | None = None,
        *,
        refine: str = "auto",
        initial: Labels | None = None,
    ) -> np.ndarray:
        """Begin an object: its mask, bool, from a box alone.

        ``ranges``: per axis a half-open pair of voxel indices or one index, which makes the box a 2D plane.
        ``refine``: ``none`` (the network alone; for scribbles, nothing but their voxels changes), ``crf`` (one cut) or
        ``auto`` (fine-tuning, where there are scribbles or the parameters ask for it without). ``initial``: a mask to
        start from instead of the network's; the classifier is first fitted to it. Objects begun before are locked from
        here on. Raises ValueError for a box that is empty, outside the image, within locked objects, or
        over a constant part of the image, and for a name already taken.
        """
        box = Box.of(ranges, self.image.shape)
        name = name or self._free_name()
        if name in self.state.objects:
            raise ValueError(f"There is an object named {name!r} already; select it, or choose another name.")
        _check_refinement(refine)
        if initial is not None:
            initial = box.crop(self._label_map(initial) != 0).reshape(box.shape)
            if not initial.any():
                raise ValueError(f"The initial mask is empty inside the box {box}.")
        if self._locked(box, but=name).all():
            raise ValueError(f"The box {box} lies within finished objects; nothing is left to segment.")
        clock = Stopwatch()
        model, crop = self._model_for(box), self._crop(box, clock)
        parameters = self._parameters
        if isinstance(parameters, str):
            parameters = preset(parameters, model.dimension, model.tuned)
        with clock("classifier"):
            segment = Segment.begin(name, crop, model, parameters)
        _exhaust(self._update(segment, refine, initial, clock))
        return self.mask

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
        ``foreground`` and ``background``. Scribbles add up; where a new one crosses an older one it wins. Raises
        ValueError for another shape, other labels, a voxel in both masks, a scribble outside the box, and a foreground
        scribble on a locked object; the session then stays as it was.
        """
        _exhaust(self.rounds(labels, foreground=foreground, background=background, refine=refine))
        return self.mask

    def rounds(
        self,
        labels: Labels | None = None,
        *,
        foreground: np.ndarray | None = None,
        background: np.ndarray | None = None,
        refine: str = "auto",
    ) -> Iterator[Round]:
        """As `scribble`, round by round; the session changes when all rounds were taken: to stop is to cancel."""
        _check_refinement(refine)
        segment = self._current()
        if labels is None:
            labels = merge(foreground, background)
        elif foreground is not None or background is not None:
            raise ValueError("Scribbles are given as labels and as masks; give one of the two.")
        new = scribbles_in(segment.box, self._label_map(labels), self._locked(segment.box, but=segment.name))
        return self._update(replace(segment, scribbles=np.where(new > 0, new, segment.scribbles)), refine)

    def refine(self) -> np.ndarray:
        """Go on fine-tuning the current object with the scribbles it has: the new mask, bool."""
        _exhaust(self._update(self._current(), "auto"))
        return self.mask

    def select(self, name: str) -> None:
        """Work on another object: it is unlocked, all others are locked. Raises ValueError for an unknown name."""
        self._check_name(name)
        self._commit(replace(self.state, current=name))

    def remove(self, name: str) -> None:
        """Forget an object (undo brings it back); if it was the current one, the last begun of the others is."""
        self._check_name(name)
        objects = {key: value for key, value in self.state.objects.items() if key != name}
        current = self.state.current if self.state.current in objects else next(reversed(objects), None)
        self._commit(State(objects, current))

    def undo(self) -> bool:
        """Take back the last interaction; False where there is none."""
        return self._move(-1)

    def redo(self) -> bool:
        """Bring back what was undone last; False where there is nothing."""
        return self._move(+1)

    # ---- what it knows

    @property
    def state(self) -> State:
        return self._history[self._position]

    @property
    def names(self) -> list[str]:
        """Names of the objects, in the order they were begun."""
        return list(self.state.objects)

    @property
    def mask(self) -> np.ndarray:
        """The current object's mask: bool."""
        segment = self._current()
        return self._full(segment.box, segment.mask)

    @property
    def scribbles(self) -> np.ndarray:
        """The current object's scribbles: uint8, 1 foreground, 2 background, 0 none."""
        segment = self._current()
        return self._full(segment.box, segment.scribbles)

    @property
    def labels(self) -> np.ndarray:
        """All objects: 0 background, k the k-th object of `names`; uint8, or uint16 beyond 255 objects."""
        labels = np.zeros(self.image.shape, np.uint8 if len(self.names) < 256 else np.uint16, order="F")
        for k, segment in enumerate(self.state.objects.values(), start=1):
            labels[segment.box.slices][segment.mask] = k
        return labels

    def probability(self) -> np.ndarray:
        """P(foreground) of the current object by its classifier: float32; scribbles 1 or 0; 0 outside the box."""
        segment = self._current()
        full = self._full(segment.box, self._crop(segment.box).map_in_box(segment.grid_probability))
        inside = full[segment.box.slices]
        inside[segment.scribbles == FOREGROUND] = 1
        inside[segment.scribbles == BACKGROUND] = 0
        return full

    def uncertainty(self) -> np.ndarray:
        """Entropy of `probability` in bits: float32, 0 (sure) to 1 (p = 0.5); 0 outside the box."""
        full = self.probability()
        for p in slabs(full[self._current().box.slices]):
            p[...] = (entr(p) + entr(1 - p)) / np.float32(np.log(2))
        return full

    def weight_map(self) -> np.ndarray | None:
        """w(i) of the last network update (Eq. 13): float32, 0 outside the box; None where there was none."""
        segment = self._current()
        if segment.grid_weights is None:
            return None
        inside = self._crop(segment.box).map_in_box(segment.grid_weights)
        omega = np.float32(segment.parameters.omega if segment.parameters.weighted else 1)
        return self._full(segment.box, np.where(segment.scribbles > 0, omega, inside))

    def save(self, path: str | os.PathLike) -> None:
        """Write `labels` (of a single object: its mask, 0 and 1) with the image's geometry, atomically."""
        if not self.names:
            raise ValueError("There is nothing to save: draw a box first.")
        io.write_image(path, self.labels, self.image)

    def report(self) -> dict:
        """What was done and what it cost, ready for JSON: versions, models, parameters, times, energies, memory."""
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
        return {
            "versions": {name: version(name) for name in ("bifseg", "numpy", "scipy", "torch", "SimpleITK")},
            "image": {"shape": list(self.image.shape), "spacing_mm": list(self.image.spacing)},
            "seed": self.seed,
            "objects": [segment.report() for segment in self.state.objects.values()],
            "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20),
        }

    # ---- inside

    def _update(
        self,
        segment: Segment,
        refine: str,
        initial: np.ndarray | None = None,
        clock: Stopwatch | None = None,
    ) -> Iterator[Round]:
        """Adapt a segment, yielding the rounds; when they are all taken, the result becomes the current object."""
        crop, locked = self._crop(segment.box, clock), self._locked(segment.box, but=segment.name)
        done = yield from adapt(
            segment, crop, refine=refine, locked=locked, initial=initial, seed=self.seed, clock=clock
        )
        self._commit(State({**self.state.objects, segment.name: done}, segment.name))

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
            raise ValueError("There is no object yet: draw a box first.")
        return self.state.objects[self.state.current]

    def _check_name(self, name: str) -> None:
        if name not in self.state.objects:
            raise ValueError(f"There is no object named {name!r}; there are: {', '.join(self.names) or 'none'}.")

    def _free_name(self) -> str:
        k = len(self.names) + 1
        while f"object {k}" in self.names:
            k += 1
        return f"object {k}"

    def _model_for(self, box: Box) -> Model:
        if isinstance(self._model, Model):
            if self._model.dimension != box.dimension:
                raise ValueError(
                    f"The model {self._model.name} is for {self._model.dimension}D boxes; {box} is {box.dimension}D."
                )
            return self._model
        if box.dimension not in self._defaults:
            self._defaults[box.dimension] = load_model("default", box.dimension)
        return self._defaults[box.dimension]

    def _crop(self, box: Box, clock: Stopwatch | None = None) -> Crop:
        crop = self._crops.pop(box, None) or Crop(self.image, box, self._model_for(box), clock)
        self._crops[box] = crop  # the most recently used is last
        while len(self._crops) > CROPS_KEPT:
            del self._crops[next(iter(self._crops))]
        return crop

    def _locked(self, box: Box, but: str) -> np.ndarray:
        """Voxels of the box that belong to other objects: bool, the box's shape."""
        locked = np.zeros(box.shape, bool)
        for other in self.state.objects.values():
            start, stop = np.maximum(box.start, other.box.start), np.minimum(box.stop, other.box.stop)
            if other.name != but and (start < stop).all():
                here, there = (
                    tuple(slice(a, b) for a, b in zip(start - o, stop - o, strict=True))
                    for o in (box.start, other.box.start)
                )
                locked[here] |= other.mask[there]
        return locked

    def _label_map(self, labels: Labels) -> np.ndarray:
        if isinstance(labels, (str, os.PathLike)):
            return io.read_labels(labels, self.image)
        if isinstance(labels, (list, tuple)) and all(isinstance(stroke, Stroke) for stroke in labels):
            return rasterise(labels, self.image)
        array = np.asarray(labels)
        if array.ndim == 2 and self.image.shape[2] == 1:
            array = array[..., None]
        if array.shape != self.image.shape:
            raise ValueError(f"The labels have the shape {array.shape}; the image has {self.image.shape}.")
        return array

    def _full(self, box: Box, inside: np.ndarray) -> np.ndarray:
        full = np.zeros(self.image.shape, inside.dtype, order="F")
        full[box.slices] = inside
        return full


class BIFSeg:
    """A session behind the one protocol of all interactive methods, `bifseg.interaction.InteractiveMethod`.

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


def _exhaust(rounds: Iterator[Round]) -> None:
    deque(rounds, maxlen=0)


def _check_refinement(refine: str) -> None:
    if refine not in REFINEMENTS:
        raise ValueError(f"Unknown refinement {refine!r}; known are {', '.join(REFINEMENTS)}.")
