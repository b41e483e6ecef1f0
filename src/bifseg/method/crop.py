"""A box's content on the network's grid: the trunk's features and the energy of a labelling."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import product

import numpy as np
import torch

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image, coarsest_axis
from bifseg.imaging.intensity import normalise
from bifseg.imaging.resampling import resample
from bifseg.method.classifier import log_odds
from bifseg.method.correction import CropRNet
from bifseg.method.energy import Energy
from bifseg.method.evidence import RelativeDistance
from bifseg.method.grid import LONGEST_2D, THINNEST, Grid, native_spacing
from bifseg.method.parameters import Parameters
from bifseg.method.stack import is_stack, slices_log_odds
from bifseg.method.timing import Stopwatch
from bifseg.networks.base import BoxNetwork, Classifier
from bifseg.networks.checkpoint import Model, load_model
from bifseg.networks.execution import write_features
from bifseg.networks.guidance import guidance, heard
from bifseg.prompts.interaction import Box

HEARD = 2  # features of so many different strokes are kept: of those before an interaction, and after it


class Features:
    """What a trunk makes of a crop and of what was said about it.

    Parameters
    ----------
    views
        One (pixels, C) matrix for every way that the crop was flipped, and for each of its colours, all in C order of
        the grid as it lies; the first is of the crop as it is.
    shape
        The grid's.
    """

    def __init__(self, views: list[torch.Tensor], shape: tuple[int, ...]) -> None:
        self.views, self.shape = views, shape
        self._answers: list[tuple[torch.Tensor, torch.Tensor]] = []

    def log_odds(self, classifier: Classifier) -> torch.Tensor:
        """log p / (1 - p) of the foreground by a classifier, the mean of all views.

        The last two answers are kept: a refinement begins with the classifiers that the one before ended with.

        Parameters
        ----------
        classifier
            Of as many features as the views have.

        Returns
        -------
        Tensor
            (pixels,), float32, not to be changed.
        """
        weights = torch.cat([parameter.detach().ravel() for parameter in classifier.parameters()])
        answer = next((a for known, a in self._answers if torch.equal(known, weights)), None)
        if answer is None:
            answer = log_odds(classifier, self.views[0])
            for view in self.views[1:]:
                answer += log_odds(classifier, view)
            answer /= len(self.views)
        others = [pair for pair in self._answers if pair[1] is not answer]
        self._answers = [(weights, answer), *others[:1]]
        return answer


class Crop(Grid):
    """What is computed once per box: the resampled image (see `Grid`), and what the trunk sees around it.

    The grid of a listening trunk goes on around the box for ``model.network.context_cells`` points on every side;
    beyond the border of the image its outermost voxels go on. Everything else looks at the box alone.

    Parameters
    ----------
    image, box
        The scan and where in it.
    model
        Of the box's dimension.
    clock
        Takes the time of the stages "crop" and "features".

    Attributes
    ----------
    channels
        What the trunk sees of the image, float32, normalised: one array for each of its colours.
    inside
        Where the box lies in them.
    relative_distance
        Of scribbles on the grid, see `bifseg.method.evidence.RelativeDistance`.

    Raises
    ------
    InvalidInput
        Where the image is constant inside the box, and where the box is so long and thin that its grid is a line.
    """

    def __init__(self, image: Image, box: Box, model: Model, clock: Stopwatch | None = None) -> None:
        clock = Stopwatch() if clock is None else clock
        with clock("crop"):
            native = box.crop(image.array)
            if native.min() == native.max() and (image.colours is None or _even(box.crop(image.colours))):
                raise InvalidInput(f"The image is constant inside the box {box}; there is nothing to segment.")
            longest = model.size * (LONGEST_2D if box.dimension == 2 else 1)
            super().__init__(image, box, model.size, longest, model.size // THINNEST)
            if sorted(self.shape)[-2] < 2:
                long, thin = (extreme(np.multiply(self.native_shape, self.native_spacing)) for extreme in (max, min))
                raise InvalidInput(
                    f"The box {box} is {long / thin:.0f} times as long as it is thin, more than the working grid can "
                    "show; draw several shorter boxes along it."
                )
            cells = model.network.context_cells
            self.inside = tuple(slice(cells, cells + n) for n in self.shape)
            channels = [image.array] if image.colours is None else np.moveaxis(image.colours, 3, 0)
            self.channels = [normalise(self._with_context(image, channel, cells)) for channel in channels]
            self._grey = native
        self._coarsest = coarsest_axis(native_spacing(image, box))
        self.relative_distance = RelativeDistance(self.seen01)
        self._energy: tuple[tuple[float, float, int], Energy] | None = None
        with clock("features"):
            self._look(model)

    def seen_by(self, network: BoxNetwork) -> Crop:
        """The same crop by another network; what depends on none is shared.

        Parameters
        ----------
        network
            Of the same architecture.

        Returns
        -------
        Crop
            As one made anew; this one, where that is its network.
        """
        if network is self._model.network:
            return self
        other = copy(self)
        other._look(replace(self._model, network=network, sha256=""))
        return other

    def _look(self, model: Model) -> None:
        self._model = model
        self._heard: list[tuple[bytes, Features]] = []
        self._rnet: CropRNet | None = None
        self.features()

    def _with_context(self, image: Image, channel: np.ndarray, cells: int) -> np.ndarray:
        """One of the image's channels (x, y, z) on the grid, and ``cells`` points around it on every side."""
        if not cells:
            return self.array if channel is image.array else resample(self.box.crop(channel), self.shape)
        axes = [axis for axis in range(3) if axis != self.box.plane]
        scan = channel[tuple(slice(None) if axis in axes else self.box.start[axis] for axis in range(3))]
        pitch = np.divide(self.native_shape, self.shape)
        window = [
            (self.box.start[axis] - cells * step, self.box.stop[axis] + cells * step)
            for axis, step in zip(axes, pitch, strict=True)
        ]
        return np.ascontiguousarray(resample(scan, [n + 2 * cells for n in self.shape], window=window))

    def energy(self, parameters: Parameters) -> Energy:
        """Eq. 1 on this crop; its graph is built once and serves all refinements with the same pairwise term.

        Parameters
        ----------
        parameters
            Of them ``lam``, ``sigma`` and ``connectivity``.

        Returns
        -------
        Energy
            Kept until other parameters ask for another.
        """
        term = parameters.lam, parameters.sigma, parameters.neighbours(len(self.shape))
        if self._energy is None or self._energy[0] != term:
            lam, sigma, neighbours = term
            energy = Energy(
                self.seen01, lam=lam, sigma=sigma, neighbours=neighbours, spacing=self.spacing,
                colours=self.colours01 is not None,
            )  # fmt: skip
            self._energy = term, energy
        return self._energy[1]

    def features(self, scribbles: np.ndarray | None = None, mask: np.ndarray | None = None) -> Features:
        """What the trunk makes of the crop; of one that listens, once it heard these scribbles.

        Parameters
        ----------
        scribbles
            uint8 on the grid: 1 object, 2 background, 0 none.
        mask
            bool on the grid, what was segmented before them; None where nothing was.

        Returns
        -------
        Features
            Those of the last few scribbles are kept.
        """
        listens = self._model.network.listens
        strokes = np.zeros(self.shape, np.uint8) if scribbles is None else scribbles
        key = strokes.tobytes() + (b"" if mask is None else np.packbits(mask).tobytes()) if listens else b""
        features = next((kept for known, kept in self._heard if known == key), None)
        if features is None:
            said = guidance(self.image01, strokes, mask) if listens else None
            inputs = (seen[None] if said is None else heard(seen, self.inside, said) for seen in self.channels)
            views = [view for channels in inputs for view in self._views(self._model.network, channels)]
            features = Features(views, self.shape)
        self._heard = [(key, features), *(pair for pair in self._heard if pair[1] is not features)][:HEARD]
        return features

    @property
    def rnet(self) -> CropRNet | None:
        """R-Net on this crop; None of a model without one."""
        network = self._model.rnet
        if self._rnet is None and network is not None:
            grey = np.stack([channel[self.inside] for channel in self.channels]).mean(0)
            self._rnet = CropRNet(network, grey, self.image01, self.features().views[0], self.as_seen)
        return self._rnet

    @cached_property
    def slices(self) -> np.ndarray | None:
        """What the default 2D network says of every slice of a stack: log-odds on the grid, float32.

        None of what is no stack.
        """
        if not is_stack(self.native_spacing):
            return None
        return slices_log_odds(self._grey, self.native_spacing, self.shape, load_model("default", 2))

    def as_seen(self, array: np.ndarray) -> np.ndarray:
        """An array as the trunk sees it.

        Parameters
        ----------
        array
            On the grid, or one of `channels`.

        Returns
        -------
        ndarray
            In 3D, the axis of the thickest slices is the network's z.
        """
        return array if array.ndim == 2 else array.swapaxes(self._coarsest, 2)

    def _views(self, network: BoxNetwork, channels: np.ndarray) -> list[torch.Tensor]:
        """Features (pixels, C), in the part `inside`, of what a trunk sees (c, ...), as it lies and, where the model
        says so, flipped; in 3D the axis of the thickest slices is the network's z."""
        d = len(self.shape)
        flips = [flip for flip in product((False, True), repeat=d) if self._model.flips or not any(flip)]
        axes = [[axis for axis, turned in enumerate(flip) if turned] for flip in flips]
        image = torch.from_numpy(np.stack([np.flip(channels, tuple(axis + 1 for axis in flipped)) for flipped in axes]))
        # NumPy asks for huge pages, torch does not: the first touch of 100 MB takes 10 ms instead of 40.
        features = torch.from_numpy(np.empty((len(axes), *self.shape, network.channels), np.float32))
        within, out = list(self.inside), features
        if d == 3:
            image, out = image.transpose(2 + self._coarsest, 4), features.transpose(1 + self._coarsest, 3)
            within[self._coarsest], within[2] = within[2], within[self._coarsest]
        write_features(network, image, out, tuple(within))
        return [
            (one.flip(flipped) if flipped else one).flatten(0, -2) for one, flipped in zip(features, axes, strict=True)
        ]


def _even(colours: np.ndarray) -> bool:
    """Whether all voxels have one colour, the last axis."""
    return not np.ptp(colours, axis=tuple(range(colours.ndim - 1))).any()
