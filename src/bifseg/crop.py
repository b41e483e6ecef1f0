"""A box's content on the network's grid: the trunk's features, computed once, and the energy of a labelling."""

from __future__ import annotations

import numpy as np
import torch

from bifseg.checkpoint import Model
from bifseg.energy import Energy
from bifseg.grid import LONGEST_2D, Grid, native_spacing
from bifseg.image import Image, normalise
from bifseg.interaction import Box
from bifseg.logistic import log_odds
from bifseg.networks import Classifier
from bifseg.networks.execution import write_features
from bifseg.parameters import Parameters
from bifseg.stopwatch import Stopwatch


class Crop(Grid):
    """What is computed once per box: the resampled image (see `Grid`) and the trunk's features.

    ``features``: (pixels, C), in C order of the grid, computed by the trunk, which never changes.
    Raises ValueError where the image is constant inside the box.
    """

    def __init__(self, image: Image, box: Box, model: Model, clock: Stopwatch | None = None) -> None:
        clock = Stopwatch() if clock is None else clock
        with clock("crop"):
            native = box.crop(image.array)
            if native.min() == native.max():
                raise ValueError(f"The image is constant inside the box {box}; there is nothing to segment.")
            super().__init__(image, box, model.size, model.size * (LONGEST_2D if box.dimension == 2 else 1))
        self._energy: tuple[dict, Energy] | None = None
        self._answers: list[tuple[torch.Tensor, torch.Tensor]] = []
        with clock("features"):
            self.features = _features(normalise(self.array), np.argmax(native_spacing(image, box)), model)

    def energy(self, parameters: Parameters) -> Energy:
        """Eq. 1 on this crop; its graph is built once and serves all refinements with the same pairwise term."""
        term = {"lam": parameters.lam, "sigma": parameters.sigma, "neighbours": parameters.neighbours}
        if self._energy is None or self._energy[0] != term:
            self._energy = term, Energy(self.image01, **term, spacing=self.spacing)
        return self._energy[1]

    def log_odds(self, classifier: Classifier) -> torch.Tensor:
        """log p / (1 - p) of the foreground by a classifier: (pixels,), float32, not to be changed.

        The last two answers are kept: a refinement begins with the classifiers that the one before ended with.
        """
        weights = torch.cat([parameter.detach().ravel() for parameter in classifier.parameters()])
        answer = next((a for known, a in self._answers if torch.equal(known, weights)), None)
        if answer is None:
            answer = log_odds(classifier, self.features)
        others = [pair for pair in self._answers if pair[1] is not answer]
        self._answers = [(weights, answer), *others[:1]]
        return answer


def _features(array: np.ndarray, coarsest: int, model: Model) -> torch.Tensor:
    """Features (pixels, C) of a normalised crop; in 3D the axis of the thickest slices is the network's z."""
    # NumPy asks for huge pages, torch does not: the first touch of 100 MB takes 10 ms instead of 40.
    features = torch.from_numpy(np.empty((*array.shape, model.network.channels), np.float32))
    image, out = torch.from_numpy(array), features
    if array.ndim == 3:
        image, out = image.transpose(coarsest, 2), out.transpose(coarsest, 2)
    write_features(model.network, image, out)
    return features.flatten(0, -2)
