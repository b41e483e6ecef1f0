"""What a session computes with, beside networks and crops: labels, and how objects begin. It holds no objects."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.finetune import Round
from bifseg.method.parameters import Parameters, check_refinement, chosen
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model
from bifseg.prompts.first_scribbles import NEITHER, box_of, box_of_strokes
from bifseg.prompts.interaction import ERASED, Box, Labels, Patch, Stroke
from bifseg.prompts.painting import rasterise
from bifseg.prompts.scribbles import scribbles_in
from bifseg.session import slices, tidying
from bifseg.session.crops import Crops
from bifseg.session.priors import seen_by, tuned_for
from bifseg.session.refine import adapt, begin
from bifseg.session.state import Prior, Segment, State


class Workbench(Crops):
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
        super().__init__(image, model)
        self.parameters, self.seed = parameters, seed

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

    def first_box(self, scribbles: Labels | None) -> Box:
        """The box of an object that begins with scribbles alone.

        Parameters
        ----------
        scribbles
            As `patch` takes them.

        Returns
        -------
        Box
            See `bifseg.prompts.first_scribbles.box_of`; InvalidInput is raised where there are none.
        """
        if scribbles is None:
            raise InvalidInput(NEITHER)
        if isinstance(scribbles, (list, tuple)) and all(isinstance(stroke, Stroke) for stroke in scribbles):
            return box_of_strokes(scribbles, self.image)
        return box_of(self.patch(scribbles), self.image.shape, self.image.spacing)

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
        crop = self.crop(box, seen_by(model, prior), clock)
        parameters = self.settings(box, prior) if parameters is None else parameters
        return begin(name, crop, model, parameters, part_of=part_of, start=start, prior=prior, clock=clock)

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
        crop = self.crop(segment.box, seen_by(model, segment.prior), clock)
        locked = state.taken(segment.box, but=segment.name)
        done = yield from adapt(
            segment, crop, model, refine=refine, locked=locked, initial=initial, seed=self.seed, clock=clock
        )
        return State({**state.objects, segment.name: done}, segment.name)

    def settings(self, box: Box, prior: Prior | None = None) -> Parameters:
        """The session's parameters for a box.

        Parameters
        ----------
        box, prior
            Of an object, and what it begins with.

        Returns
        -------
        Parameters
            For the network that sees it.
        """
        model = self.model_for(box)
        return chosen(self.parameters, model.dimension, tuned_for(model, prior))

    def parameters_for(self, box: Box, like: Segment) -> Parameters:
        """The session's parameters for a box in which an object begins anew.

        Parameters
        ----------
        box, like
            As in `tidying.parameters_for`.

        Returns
        -------
        Parameters
            With the rules for holes and islands that the object was given.
        """
        return tidying.parameters_for(box, like, self)

    def tidied(
        self, state: State, segments: Sequence[Segment], shares: Mapping[str, float]
    ) -> Generator[Round, None, State]:
        """Objects with other rules for holes and islands.

        Parameters
        ----------
        state, segments, shares
            As in `tidying.tidied`.

        Returns
        -------
        generator of Round
            It returns the state that follows.
        """
        for segment in segments:
            self.model_of(segment)
        return tidying.tidied(state, segments, shares, self)

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
