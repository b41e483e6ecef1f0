"""The content of a box on the network's working grid, and the way back to the voxels of the scan."""

from __future__ import annotations

import numpy as np
import torch

from bifseg.checkpoint import Model
from bifseg.energy import Energy
from bifseg.image import Image, normalise, resample, resample_labels, unit_range, working_shape
from bifseg.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.parameters import Parameters
from bifseg.stopwatch import Stopwatch

LONGEST_2D = 3  # a 2D crop's longer side, in units of its shorter: bounds the cost of a needle-shaped box


class Crop:
    """What is computed once per box: the resampled image and the trunk's features.

    Arrays "on the grid" have shape ``shape``, (x, y) or (x, y, z), isotropic; arrays "in the box" have the box's
    voxels, always three axes. ``image01``: the crop scaled to [0, 1]. ``features``: (pixels, C), in C order of the
    grid, computed by the trunk, which never changes.
    """

    def __init__(self, image: Image, box: Box, model: Model, clock: Stopwatch | None = None) -> None:
        clock = Stopwatch() if clock is None else clock
        self.box = box
        spacing = [s for axis, s in enumerate(image.spacing) if axis != box.plane]
        with clock("crop"):
            native = box.crop(image.array)
            if native.min() == native.max():
                raise ValueError(f"The image is constant inside the box {box}; there is nothing to segment.")
            longest = model.size * (LONGEST_2D if box.dimension == 2 else 1)
            self.shape = working_shape(native.shape, spacing, model.size, longest)
            array = resample(native, self.shape)
            self.image01 = unit_range(array)
        pitch = np.multiply(native.shape, spacing) / self.shape
        self.spacing = tuple(float(p) for p in pitch)
        self._energy: tuple[dict, Energy] | None = None
        with clock("features"):
            self.features = _features(normalise(array), np.argmax(spacing), model)

    def energy(self, parameters: Parameters) -> Energy:
        """Eq. 1 on this crop; its graph is built once and serves all refinements with the same pairwise term."""
        term = {"lam": parameters.lam, "sigma": parameters.sigma, "neighbours": parameters.neighbours}
        if self._energy is None or self._energy[0] != term:
            self._energy = term, Energy(self.image01, **term, spacing=self.spacing)
        return self._energy[1]

    @property
    def native_shape(self) -> tuple[int, ...]:
        return tuple(n for axis, n in enumerate(self.box.shape) if axis != self.box.plane)

    def scribbles_on_grid(self, labels: np.ndarray) -> np.ndarray:
        """Scribbles in the box (uint8, 1 foreground, 2 background) on the grid: no stroke is lost, however thin."""
        labels = labels.reshape(self.native_shape)
        if labels.shape == self.shape:
            return labels.copy()
        nearest = [((np.arange(w) + 0.5) * n / w).astype(int) for w, n in zip(self.shape, labels.shape, strict=True)]
        grid = labels[np.ix_(*nearest)]
        for label in (BACKGROUND, FOREGROUND):
            where = np.nonzero(labels == label)
            target = tuple((2 * i + 1) * w // (2 * n) for i, w, n in zip(where, self.shape, labels.shape, strict=True))
            free = grid[target] == 0
            grid[tuple(i[free] for i in target)] = label
        return grid

    def mask_on_grid(self, mask: np.ndarray) -> np.ndarray:
        """A mask in the box, on the grid: bool."""
        return resample_labels(mask.reshape(self.native_shape), self.shape)

    def mask_in_box(self, labels: np.ndarray) -> np.ndarray:
        """A mask on the grid, in the box's voxels: bool; exact where grid and box agree."""
        return resample_labels(labels, self.native_shape).reshape(self.box.shape)

    def map_in_box(self, values: np.ndarray) -> np.ndarray:
        """A float map on the grid, in the box's voxels: float32."""
        return resample(values, self.native_shape).reshape(self.box.shape)


@torch.inference_mode()
def _features(array: np.ndarray, coarsest: int, model: Model) -> torch.Tensor:
    """Features (pixels, C) of a normalised crop; in 3D the axis of the thickest slices is the network's z."""
    tensor = torch.from_numpy(array)[None, None]
    if array.ndim == 3:
        tensor = tensor.transpose(2 + coarsest, -1)
    layout = torch.channels_last if array.ndim == 2 else torch.channels_last_3d
    features = model.network.features(tensor.contiguous(memory_format=layout))
    if array.ndim == 3:
        features = features.transpose(2 + coarsest, -1)
    return features[0].movedim(0, -1).reshape(array.size, -1).clone()
