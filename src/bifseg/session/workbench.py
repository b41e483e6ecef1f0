"""What a session computes with: its scan, its network, and the crops of the boxes used last. It holds no objects."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.finetune import Round
from bifseg.method.parameters import Parameters, check_refinement, chosen
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model, load_model, shipped
from bifseg.prompts.interaction import ERASED, Box, Labels, Patch, Stroke
from bifseg.prompts.painting import rasterise
from bifseg.prompts.scribbles import scribbles_in
from bifseg.session import slices
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Prior, Segment, State

CROPS_KEPT = 2  # features of the last boxes stay in memory; older ones are computed again when they are needed


class Workbench:
    """Makes objects out of boxes, scribbles and what objects there are.

    Parameters
    ----------
    image
        The scan.
    model
        None for the default of the box's dimension.
    parameters
        As `Session` takes them.
    seed
        Of what is random.
    """

    def __init__(self, image: Image, model: Model | None, parameters: Parameters | str | Mapping, seed: int) -> None:
        self.image, self.parameters, self.seed = image, parameters, seed
        self._model = model
        self._crops: dict[tuple[Box, str], Crop] = {}

    # ---- networks and crops

    def model_for(self, box: Box) -> Model:
        """The network for a box.

        Parameters
        ----------
        box
            In a plane or not.

        Returns
        -------
        Model
            InvalidInput is raised where the session's is of the other dimension.
        """
        if self._model is None:
            return load_model("default", box.dimension)
        if self._model.dimension != box.dimension:
            raise InvalidInput(
                f"The model {self._model.name} is for {self._model.dimension}D boxes; {box} is {box.dimension}D."
            )
        return self._model

    def model_of(self, segment: Segment) -> Model:
        """The network that an object was begun with.

        Parameters
        ----------
        segment
            The object.

        Returns
        -------
        Model
            A session without a network of its own goes on with what was the default then, if it still ships.
            InvalidInput is raised where the session has another by now.
        """
        model = self.model_for(segment.box)
        if self._model is None and segment.model.name in shipped():
            model = load_model(segment.model.name, segment.box.dimension)
        if model.sha256 != segment.model.sha256:
            raise InvalidInput(
                f"The object {segment.name!r} was begun with another model, {segment.model.name} "
                f"({segment.model.sha256[:12]}); its mask stays as it is. Resize its box, and it begins anew."
            )
        return model

    def crop(self, box: Box, model: Model, clock: Stopwatch | None = None) -> Crop:
        """The crop of a box; those used last are kept.

        Parameters
        ----------
        box
            Where in the image.
        model
            The network that looks at it.
        clock
            Takes the time, where it is made.

        Returns
        -------
        Crop
            Image and features.
        """
        key = box, model.sha256
        crop = self._crops.pop(key, None) or Crop(self.image, box, model, clock)
        self._crops[key] = crop  # the most recently used is last
        while len(self._crops) > CROPS_KEPT:
            del self._crops[next(iter(self._crops))]
        return crop

    # ---- labels

    def patch(self, labels: Labels, box: Box | None = None) -> Patch:
        """Labels as they lie in the image.

        Parameters
        ----------
        labels
            A label map of the image's shape, strokes, or a patch.
        box
            Of strokes drawn in a plane: their brush is a disc in it.

        Returns
        -------
        Patch
            InvalidInput is raised for another shape.
        """
        if isinstance(labels, Patch):
            return labels
        if isinstance(labels, (list, tuple)) and all(isinstance(stroke, Stroke) for stroke in labels):
            return rasterise(labels, self.image, box)
        return Patch.of(self.shaped(labels))

    def shaped(self, labels: np.ndarray | Sequence) -> np.ndarray:
        """A label map or mask that has the image's shape; that of a picture may have two axes.

        Parameters
        ----------
        labels
            (x, y, z).

        Returns
        -------
        ndarray
            InvalidInput is raised for another shape.
        """
        array = np.asarray(labels)
        if array.ndim == 2 and self.image.shape[2] == 1:
            array = array[..., None]
        if array.shape != self.image.shape:
            raise InvalidInput(f"The labels have the shape {array.shape}; the image has {self.image.shape}.")
        return array

    def scribbled(self, segment: Segment, labels: Labels, state: State) -> Segment:
        """An object with further scribbles, not refined yet; where a new one crosses an older one it wins.

        Parameters
        ----------
        segment, labels
            The object, and what is painted on it.
        state
            All objects: foreground on another is refused.

        Returns
        -------
        Segment
            InvalidInput is raised as in `Session.scribble`.
        """
        taken, patch = state.taken(segment.box, but=segment.name), self.patch(labels, segment.box)
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

    # ---- objects

    def fresh(
        self,
        box: Box,
        name: str,
        clock: Stopwatch,
        *,
        parameters: Parameters | None = None,
        part_of: str = "",
        start: Mapping[str, np.ndarray] | None = None,
        prior: Prior | None = None,
    ) -> Segment:
        """An object that knows nothing but its box.

        Parameters
        ----------
        box, name
            Of the object.
        clock
            Takes the time of the stages.
        parameters
            None: the session's.
        part_of, start, prior
            As in `refine.begin`.

        Returns
        -------
        Segment
            Without a mask.
        """
        model = self.model_for(box)
        crop = self.crop(box, model, clock)
        wanted = self.parameters if parameters is None else parameters
        settings = chosen(wanted, model.dimension, model.tuned)
        with clock("classifier"):
            return begin(name, crop, model, settings, part_of=part_of, start=start, prior=prior)

    def begun(
        self,
        state: State,
        box: Box,
        name: str,
        refine: str,
        *,
        initial: np.ndarray | None = None,
        scribbles: Labels | None = None,
        kept: np.ndarray | None = None,
        parameters: Parameters | None = None,
        part_of: str = "",
        start: Mapping[str, np.ndarray] | None = None,
        prior: Prior | None = None,
    ) -> Generator[Round, None, State]:
        """An object of this name from its box, replacing one that has it.

        What it was given is checked now, and computed as the rounds are taken.

        Parameters
        ----------
        state
            All objects as they stand.
        box, name, refine, initial, scribbles
            As in `Session.box`.
        kept
            Its scribbles so far: uint8, the box's shape.
        parameters, part_of, start, prior
            As in `fresh`.

        Returns
        -------
        generator of Round
            It returns the state that follows.
        """
        check_refinement(refine)
        if state.taken(box, but=name).all():
            raise InvalidInput(f"The box {box} lies within finished objects; nothing is left to segment.")
        clock = Stopwatch()
        segment = self.fresh(box, name, clock, parameters=parameters, part_of=part_of, start=start, prior=prior)
        if kept is not None:
            segment = replace(segment, scribbles=kept)
        if scribbles is not None:
            segment = self.scribbled(segment, scribbles, state)
        return self.refined(state, segment, refine, initial, clock)

    def refined(
        self,
        state: State,
        segment: Segment,
        refine: str,
        initial: np.ndarray | None = None,
        clock: Stopwatch | None = None,
    ) -> Generator[Round, None, State]:
        """An object fitted to its scribbles.

        Parameters
        ----------
        state, segment
            All objects, and the one to fit.
        refine, initial, clock
            As in `refine.adapt`.

        Returns
        -------
        generator of Round
            It returns the state in which the object is the current one.
        """
        check_refinement(refine)
        return self._rounds(state, segment, self.model_of(segment), refine, initial, clock)

    def _rounds(
        self, state: State, segment: Segment, model: Model, refine: str, initial: np.ndarray | None,
        clock: Stopwatch | None,
    ) -> Generator[Round, None, State]:  # fmt: skip
        crop, locked = self.crop(segment.box, model, clock), state.taken(segment.box, but=segment.name)
        done = yield from adapt(
            segment, crop, model, refine=refine, locked=locked, initial=initial, seed=self.seed, clock=clock
        )
        return State({**state.objects, segment.name: done}, segment.name)

    # ---- from slice to slice

    def carried(
        self, state: State, source: Segment, axis: int, planes: tuple[int, int], refine: str
    ) -> Generator[Round, None, State]:
        """An object carried through a range of planes until it ends.

        Parameters
        ----------
        state, source, axis, planes, refine
            As in `slices.carried`.

        Returns
        -------
        generator of Round
            It returns the state that follows.
        """
        self.model_of(source)
        return slices.carried(state, source, axis, planes, refine, self)

    def interpolated(
        self, state: State, source: Segment, axis: int, between: tuple[int, int] | None
    ) -> Generator[Round, None, State]:
        """The planes between those that an object was drawn in, filled.

        Parameters
        ----------
        state, source, axis, between
            As in `slices.interpolated`.

        Returns
        -------
        generator of Round
            It returns the state that follows.
        """
        self.model_of(source)
        return slices.interpolated(state, source, axis, between, self)
