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
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.method.finetune import Round
from bifseg.method.parameters import Parameters, check_refinement, chosen
from bifseg.method.timing import peak_memory
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box, Labels
from bifseg.session.interactions import (
    INTERACTIONS,
    DrawBox,
    Interaction,
    Interpolate,
    Propagate,
    Refine,
    Remove,
    Rename,
    Resize,
    Rounds,
    Scribble,
    Select,
    current,
)
from bifseg.session.state import State
from bifseg.session.workbench import Workbench


class Session:
    """Interactive segmentation of one scan, in planes (2D) and volumes (3D).

    ``image``: an `Image`, or an array (x, y) or (x, y, z). ``model``: a shipped name, a file, a `Model`, or
    ``default``, which fits the box's dimension. ``parameters``: ``fast``, ``paper``, `Parameters`, or a preset but for
    some of them, as in ``{"preset": "fast", "fill_holes": 0}``. ``seed`` fixes what is random: the same interactions
    give the same masks on one machine.

    Every array given or returned is in file order (x, y, z) and has the image's shape. Raises InvalidInput for an image
    that is constant or not finite.

    >>> session = Session(bifseg.read_image("scan.nii.gz"))                   # doctest: +SKIP
    >>> mask = session.box(((40, 80), (52, 90), 12))                          # doctest: +SKIP
    >>> mask = session.scribble([Stroke([(60, 70, 12)], label=1, radius=2)])  # doctest: +SKIP
    >>> session.save("mask.nii.gz")                                           # doctest: +SKIP
    """

    def __init__(
        self,
        image: Image | np.ndarray,
        model: Model | str | os.PathLike = "default",
        parameters: Parameters | str | Mapping = "fast",
        seed: int = 0,
        *,
        state: State | None = None,
    ) -> None:
        self.image = image if isinstance(image, Image) else Image(image)
        if state is None:  # who has a state has had the image checked
            self.image.check_scan()
        for dimension in (2, 3):
            chosen(parameters, dimension)  # an unknown name is refused now, not at the first box
        known: Model | None
        if isinstance(model, Model):
            known = model
        else:
            known = None if model == "default" else load_model(model)
        self.seed = seed
        self._bench = Workbench(self.image, known, parameters, seed)
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
        return self._do(DrawBox(ranges, name, refine=refine, initial=initial, scribbles=scribbles))

    def scribble(
        self,
        labels: Labels | None = None,
        *,
        foreground: np.ndarray | None = None,
        background: np.ndarray | None = None,
        refine: str = "auto",
    ) -> np.ndarray:
        """Correct the current object: the new mask, bool.

        ``labels``: a label map (1 foreground, 2 background, 0 none) or `Stroke`s; or two masks,
        ``foreground`` and ``background``. Scribbles add up; where a new one crosses an older one it wins. Where strokes
        with the label 0 take scribbles away, the classifier has learnt from what is no longer said: so it begins again
        as the object began, and learns from the scribbles that are left, as if the others had never been there; a mask
        that came from the user and was fitted since is not gone back to. Raises InvalidInput for another shape, other
        labels, a voxel in both masks, a scribble outside the box (the brush of a stroke inside it may reach over), a
        foreground scribble on a locked object, and an eraser that alone meets no scribble; the session then stays as it
        was.
        """
        return self._do(Scribble(labels, foreground=foreground, background=background, refine=refine))

    def resize(self, ranges: Box | Sequence, *, scribbles: Labels | None = None, refine: str = "auto") -> np.ndarray:
        """Give the current object another box, of either dimension: the new mask, bool.

        The object begins anew, with those of its scribbles that lie in the new box and, where they are given, further
        ``scribbles``. Raises InvalidInput as `box` and `scribble`, and for a part that would leave its plane.
        """
        return self._do(Resize(ranges, scribbles=scribbles, refine=refine))

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
        return self._do(Propagate(to, name, refine=refine))

    def interpolate(self, between: Sequence[int] | None = None) -> np.ndarray:
        """Fill the planes between those that the current object was drawn in: the last new part's mask, bool.

        ``between``: two planes; only gaps from the one to the other are filled, else all. Every shape in between (see
        `interpolation.shape_between`) is a part as those of `propagate`, and can be corrected; its first correction
        fits the classifier to it. It is one interaction; its last new part is current. Raises InvalidInput for an
        object with a 3D box, for planes outside the image, and where no two masks have free planes between them.
        """
        return self._do(Interpolate(between))

    def refine(self) -> np.ndarray:
        """Go on fine-tuning the current object with the scribbles it has: the new mask, bool."""
        return self._do(Refine())

    def rounds(self, interaction: Interaction | str, *arguments: object, **options: object) -> Iterator[Round]:
        """An interaction round by round: an `Interaction`, or the name of one that computes, with its arguments.

        The session changes when all rounds were taken: to stop is to cancel.

        >>> for step in session.rounds("scribble", labels):  # doctest: +SKIP
        ...     print(step.index, step.energy)
        """
        if isinstance(interaction, str):
            known = {kind: one for kind, one in INTERACTIONS.items() if one.computes}
            if interaction not in known:
                raise InvalidInput(f"Unknown interaction {interaction!r}; with rounds there are {', '.join(known)}.")
            interaction = known[interaction](*arguments, **options)
        return self._taken(interaction.apply(self.state, self._bench))

    def select(self, name: str) -> None:
        """Work on another object or part: it is unlocked, all others are locked. InvalidInput for an unknown name."""
        self._do_at_once(Select(name))

    def remove(self, name: str) -> None:
        """Forget a part, or an object with its parts (undo brings it back).

        If the current one is forgotten, the last begun of the others is current. Raises InvalidInput for an unknown
        name.
        """
        self._do_at_once(Remove(name))

    def rename(self, name: str, to: str) -> None:
        """Call an object or a part something else; an object's parts stay its own, and keep their names.

        Raises InvalidInput for an unknown name, for one already taken, and for one without a letter or digit.
        """
        self._do_at_once(Rename(name, to))

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
        return self._full(current(self.state).mask)

    @property
    def scribbles(self) -> np.ndarray:
        """The current object's scribbles: uint8, 1 foreground, 2 background, 0 none."""
        return self._full(current(self.state).scribbles)

    @property
    def labels(self) -> np.ndarray:
        """All objects: 0 background, k the k-th object of `names` with its parts; uint8, uint16 beyond 255 objects."""
        return self.state.labels(self.image.shape)

    def probability(self) -> np.ndarray:
        """P(foreground) of the current object by its classifier: float32; scribbles 1 or 0; 0 outside the box."""
        return self._full(current(self.state).probability())

    def uncertainty(self) -> np.ndarray:
        """Entropy of `probability` in bits: float32, 0 (sure) to 1 (p = 0.5); 0 outside the box."""
        return self._full(current(self.state).uncertainty())

    def weight_map(self) -> np.ndarray | None:
        """w(i) of the last network update (Eq. 13): float32, 0 outside the box; None where there was none."""
        inside = current(self.state).weight_map()
        return None if inside is None else self._full(inside)

    def save(self, path: str | os.PathLike) -> None:
        """Write `labels` (of a single object: its mask, 0 and 1) with the image's geometry, atomically."""
        if not self.names:
            raise InvalidInput("There is nothing to save: draw a box first.")
        write_image(Path(path), self.labels, self.image, names=self.names)

    def report(self) -> dict:
        """What was done and what it cost, ready for JSON: versions, models, parameters, times, energies, memory."""
        return {
            "versions": {name: version(name) for name in ("bifseg", "numpy", "scipy", "torch", "SimpleITK")},
            "image": {
                "shape": list(self.image.shape),
                "spacing_mm": list(self.image.spacing) if self.image.calibrated else None,
            },
            "seed": self.seed,
            "objects": self.state.report(self.image),
            "peak_memory_mib": peak_memory(),
        }

    # ---- inside

    def _do(self, interaction: Interaction) -> np.ndarray:
        self._do_at_once(interaction)
        return self.mask

    def _do_at_once(self, interaction: Interaction) -> None:
        deque(self.rounds(interaction), maxlen=0)

    def _taken(self, steps: Rounds) -> Iterator[Round]:
        state = yield from steps
        self._commit(state)

    def _commit(self, state: State) -> None:
        self._history[self._position + 1 :] = [state]
        self._position += 1

    def _move(self, step: int) -> bool:
        if not 0 <= self._position + step < len(self._history):
            return False
        self._position += step
        return True

    def _full(self, inside: np.ndarray) -> np.ndarray:
        """An array in the current object's box, in the image: 0 outside."""
        return current(self.state).box.paste(inside, self.image.shape)


class BIFSeg:
    """A session behind the one protocol of all interactive methods, `bifseg.prompts.interaction.InteractiveMethod`.

    ``refine``: as in `Session.box`; further options go to `Session`.
    """

    def __init__(self, refine: str = "auto", **options: Any) -> None:
        check_refinement(refine)
        self._refine, self._options = refine, options

    def start(self, image: Image, box: Box) -> np.ndarray:
        self.session = Session(image, **self._options)
        return self.session.box(box, refine=self._refine)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        return self.session.scribble(scribbles, refine=self._refine)
