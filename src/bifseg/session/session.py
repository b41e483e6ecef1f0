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
from collections.abc import Mapping, Sequence

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.parameters import Parameters, chosen
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box, Labels
from bifseg.session import interactions as kinds
from bifseg.session.interactions import Interaction
from bifseg.session.objects import SessionObjects
from bifseg.session.state import Prior, State
from bifseg.session.workbench import Workbench


class Session(SessionObjects):
    """Interactive segmentation of one scan, in planes (2D) and volumes (3D).

    Every array given or returned is in file order (x, y, z) and has the image's shape. An interaction that raises
    InvalidInput leaves the session as it was.

    Parameters
    ----------
    image
        An `Image`, or an array (x, y) or (x, y, z), finite and not constant. A file is read by `bifseg.read_image`.
    model
        A shipped name, a file, a `Model`, or ``default``, which fits the box's dimension.
    parameters
        ``fast``, ``paper``, `Parameters`, or a preset but for some of them: ``{"preset": "fast", "fill_holes": 0}``.
    seed
        Of what is random: the same interactions give the same masks on one machine.
    state
        Objects to go on from, on an image that was checked before.

    Raises
    ------
    InvalidInput
        For an image, a model or parameters that cannot be.

    Examples
    --------
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
        if isinstance(image, (str, os.PathLike)):
            raise InvalidInput(
                f"A Session takes an Image or an array; {str(image)!r} is a path. Read the file first: "
                f"Session(bifseg.read_image({str(image)!r}))."
            )
        image = image if isinstance(image, Image) else Image(image)
        if state is None:  # who has a state has had the image checked
            image.check_scan()
        for dimension in (2, 3):
            chosen(parameters, dimension)  # an unknown name is refused now, not at the first box
        given = model if isinstance(model, Model) else None if model == "default" else load_model(model)
        bench = Workbench(image, given, parameters, seed)
        super().__init__(image, state or State(), bench, seed)

    def box(
        self,
        ranges: Box | Sequence | None = None,
        name: str | None = None,
        *,
        refine: str = "auto",
        initial: Labels | None = None,
        scribbles: Labels | None = None,
        prior: Prior | None = None,
    ) -> np.ndarray:
        """Begin an object, from a box alone or with first scribbles; objects begun before are locked from here on.

        Parameters
        ----------
        ranges
            Per axis a half-open pair of voxel indices or one index, which makes the box a 2D plane. None: the scribbles
            make the box, see `bifseg.prompts.first_scribbles.box_of`.
        name
            Of the object; by default "object 1", and so on.
        refine
            ``none`` (the network alone; of scribbles, nothing but their voxels changes), ``crf`` (one cut) or ``auto``
            (fine-tuning, where there are scribbles or the parameters ask for it without).
        initial
            A mask of one label to start from instead of the network's; the classifier is first fitted to it (``none``:
            by the next interaction that refines).
        scribbles
            As in `scribble`.
        prior
            What a task learnt of such objects, in the place of the trained classifier; see `bifseg.tasks.priors`.

        Returns
        -------
        ndarray
            The object's mask, bool.

        Raises
        ------
        InvalidInput
            For a box that is empty, outside the image, within locked objects or over a constant part of the image, for
            neither box nor scribbles, and for a name already taken.
        """
        return self._do(kinds.DrawBox(ranges, name, refine=refine, initial=initial, scribbles=scribbles, prior=prior))

    def scribble(
        self,
        labels: Labels | None = None,
        *,
        foreground: np.ndarray | None = None,
        background: np.ndarray | None = None,
        refine: str = "auto",
    ) -> np.ndarray:
        """Correct the current object. Scribbles add up; where a new one crosses an older one it wins.

        Strokes with the label 0 take scribbles away. The classifier then begins as the object began, and learns from
        the scribbles that are left alone; a mask that came from the user and was fitted since is not gone back to.

        Parameters
        ----------
        labels
            A label map (1 foreground, 2 background, 0 none) or `Stroke`s.
        foreground, background
            Two masks, in place of ``labels``.
        refine
            As in `box`.

        Returns
        -------
        ndarray
            The new mask, bool.

        Raises
        ------
        InvalidInput
            For another shape, other labels, a voxel in both masks, a scribble outside the box (the brush of a stroke
            inside it may reach over), foreground on a locked object, and an eraser that alone meets no scribble.
        """
        return self._do(kinds.Scribble(labels, foreground=foreground, background=background, refine=refine))

    def resize(
        self,
        ranges: Box | Sequence,
        *,
        scribbles: Labels | None = None,
        refine: str = "auto",
        prior: Prior | None = None,
    ) -> np.ndarray:
        """Give the current object another box, in which it begins anew with its scribbles that lie there.

        Parameters
        ----------
        ranges, scribbles, refine
            As in `box`; the dimension may be another, and scribbles are further ones.
        prior
            What the task that the object began with says of this box. Without it, and for an object that began
            otherwise, what the object began with is used again, stretched to the box.

        Returns
        -------
        ndarray
            The new mask, bool.

        Raises
        ------
        InvalidInput
            As `box` and `scribble`, and for a part that would leave its plane.
        """
        return self._do(kinds.Resize(ranges, scribbles=scribbles, refine=refine, prior=prior))

    def propagate(self, to: int | str | Sequence[int], name: str | None = None, *, refine: str = "auto") -> np.ndarray:
        """Carry the current object, drawn in a plane, on to others across the same axis: a new part in each.

        A part has the box of the one before and begins with its classifier; one cut makes its mask. It has the object's
        number in `labels`, and can be corrected and carried on itself. Through a range the object goes from plane to
        plane, both ways, until nothing is found or what is found hardly overlaps its neighbour; planes that it is in
        already stay, and it goes on from them. All is one interaction, and its last new part is current.

        Parameters
        ----------
        to
            The plane's index; a range of planes (start, stop), half-open; or ``end``, all there are.
        name
            Of a single part; by default the object's, with " @" and the plane.
        refine
            As in `box`; ``none``: no cut.

        Returns
        -------
        ndarray
            The current part's mask, bool.

        Raises
        ------
        InvalidInput
            For an object with a 3D box, a plane outside the image or in which the object is already, a range with no
            new part, and as `box`.
        """
        return self._do(kinds.Propagate(to, name, refine=refine))

    def interpolate(self, between: Sequence[int] | None = None) -> np.ndarray:
        """Fill the planes between those that the current object was drawn in, each with a part of its own.

        A part's first correction fits its classifier to it. All is one interaction; its last new part is current.

        Parameters
        ----------
        between
            Two planes: only gaps from the one to the other are filled; None: all.

        Returns
        -------
        ndarray
            The current part's mask, bool; see `bifseg.session.shape_interpolation.shape_between`.

        Raises
        ------
        InvalidInput
            For an object with a 3D box, planes outside the image, and where no two masks have free planes between them.
        """
        return self._do(kinds.Interpolate(between))

    def refine(self) -> np.ndarray:
        """Go on fine-tuning the current object with the scribbles it has.

        Returns
        -------
        ndarray
            The new mask, bool.
        """
        return self._do(kinds.Refine())

    def tidy(self, *, fill_holes: float | bool | None = None, drop_islands: float | bool | None = None) -> np.ndarray:
        """Fill the current object's small holes and drop its small islands, or leave them; with all its parts.

        From here on these are the object's own parameters. Nothing is learnt: one cut of what its mask was cut from
        last makes the mask anew, so that what is switched off and on again is the same by the bit. A mask that no cut
        made, such as one that was given, is tidied as it is, and only `undo` brings back what that took.

        Parameters
        ----------
        fill_holes, drop_islands
            As of `Parameters`: a share; True: that of the preset ``fast`` in 3D; False or 0: none. None: it stays.

        Returns
        -------
        ndarray
            The new mask, bool.

        Raises
        ------
        InvalidInput
            For shares outside [0, 1], and where nothing is said to change.
        """
        return self._do(kinds.Tidy(fill_holes, drop_islands))

    def _do(self, interaction: Interaction) -> np.ndarray:
        self._take(interaction)
        return self.mask
