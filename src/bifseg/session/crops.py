"""What boxes of a session are seen by: its scan and its networks, and the crops of the boxes used last."""

from __future__ import annotations

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.method.timing import Stopwatch
from bifseg.networks.checkpoint import Model, load_model, shipped
from bifseg.prompts.interaction import Box
from bifseg.session.state import Segment

CROPS_KEPT = 2  # features of the last boxes stay in memory; older ones are computed again when they are needed


class Crops:
    """The networks for boxes of an image, and the crops that they see.

    Parameters
    ----------
    image
        The scan.
    model
        None for the default of the box's dimension.
    """

    def __init__(self, image: Image, model: Model | None) -> None:
        self.image, self._model = image, model
        self._crops: dict[tuple[Box, str], Crop] = {}

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
        return self.kept(self._crops.get((box, model.sha256)) or Crop(self.image, box, model, clock), model)

    def kept(self, crop: Crop, model: Model) -> Crop:
        """A crop, which from here on is the one used last.

        Parameters
        ----------
        crop, model
            Of a box of this image, and what it was made with.

        Returns
        -------
        Crop
            The same.
        """
        self._crops.pop((crop.box, model.sha256), None)
        self._crops[crop.box, model.sha256] = crop
        while len(self._crops) > CROPS_KEPT:
            del self._crops[next(iter(self._crops))]
        return crop
