"""The content of a box on an isotropic working grid, and the way back to the voxels of the scan."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from bifseg.imaging.image import Image
from bifseg.imaging.intensity import colour_range, intensity_range, unit_range
from bifseg.imaging.orientation import canonical_axes
from bifseg.imaging.resampling import resample, resample_labels, working_shape
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

THINNEST = 4  # of its size, one part is what a working grid keeps of points along its shortest side, if it can
LONGEST_2D = 3  # a 2D grid's longer side, in units of its shorter: bounds the cost of a needle-shaped box


class Grid:
    """A box of an image on a grid whose pixels are as long as they are wide (and deep), so its size bounds all costs.

    Arrays "on the grid" have shape ``shape``, (x, y) or (x, y, z); arrays "in the box" have the box's voxels, always
    three axes.

    Parameters
    ----------
    image, box
        The scan and where in it.
    size
        In 2D the smaller side becomes so many pixels, in 3D the largest so many voxels.
    longest
        Points that no side exceeds.
    floor
        Points that are kept along the shortest side, if that can be; see `working_shape`.

    Attributes
    ----------
    array
        The resampled crop, float32.
    image01
        The same scaled to [0, 1], all 0 where the crop is constant.
    colours01
        Its colours in a last axis, scaled alike; None of a grey scan.
    spacing
        mm between the grid's points, one length per axis of the grid.
    native
        The box's voxels, a view of the scan, with their colours in a last axis.
    native_spacing
        mm between them.
    axes
        How the grid lies in the patient, see `canonical_axes`.
    """

    def __init__(self, image: Image, box: Box, size: int, longest: int, floor: int = 0) -> None:
        self.box, self.axes = box, canonical_axes(image.direction, box.plane)
        self.native, self.native_spacing = box.crop(image.voxels), native_spacing(image, box)
        self.shape: tuple[int, ...] = working_shape(self.native_shape, self.native_spacing, size, longest, floor=floor)
        self.array = resample(box.crop(image.array), self.shape)
        self.image01 = unit_range(self.array)
        self.colours01: np.ndarray | None = None
        if image.colours is not None:
            colours = [resample(self.native[..., k], self.shape) for k in range(3)]
            self.colours01 = unit_range(np.stack(colours, axis=-1), colours=True)
        pitch = np.multiply(self.native_shape, self.native_spacing) / self.shape
        self.spacing = tuple(float(p) for p in pitch)

    @property
    def native_shape(self) -> tuple[int, ...]:
        """Voxels of the box along the axes of the grid."""
        return tuple(n for axis, n in enumerate(self.box.shape) if axis != self.box.plane)

    @cached_property
    def window(self) -> tuple[float, float]:
        """The intensities that are 0 and 1 for edges between the box's own voxels."""
        return intensity_range(self.native) if self.colours01 is None else colour_range(self.native)

    @property
    def seen01(self) -> np.ndarray:
        """What distances and edges see, in [0, 1]: the colours in a last axis where there are some, else the image."""
        return self.image01 if self.colours01 is None else self.colours01

    def scribbles_on_grid(self, labels: np.ndarray) -> np.ndarray:
        """Scribbles on the grid: no stroke is lost, however thin.

        Parameters
        ----------
        labels
            uint8 in the box: 1 foreground, 2 background.

        Returns
        -------
        ndarray
            uint8 on the grid; foreground wins where both fall on one point.
        """
        shape = self.native_shape
        labels = labels.reshape(shape)
        if shape == self.shape:
            return labels.copy()
        nearest = [((np.arange(w) + 0.5) * n / w).astype(int) for w, n in zip(self.shape, shape, strict=True)]
        grid = labels[np.ix_(*nearest)]
        marked = np.unravel_index(np.flatnonzero(labels != 0), shape)
        for label in (BACKGROUND, FOREGROUND):
            where = tuple(i[labels[marked] == label] for i in marked)
            target = tuple((2 * i + 1) * w // (2 * n) for i, w, n in zip(where, self.shape, shape, strict=True))
            free = grid[target] == 0
            grid[tuple(i[free] for i in target)] = label
        return grid

    def mask_on_grid(self, mask: np.ndarray) -> np.ndarray:
        """A mask on the grid.

        Parameters
        ----------
        mask
            bool in the box.

        Returns
        -------
        ndarray
            bool on the grid.
        """
        return resample_labels(mask.reshape(self.native_shape), self.shape)

    def mask_in_box(self, labels: np.ndarray) -> np.ndarray:
        """A mask in the box's voxels; exact where grid and box agree.

        Parameters
        ----------
        labels
            bool on the grid.

        Returns
        -------
        ndarray
            bool in the box.
        """
        return resample_labels(labels, self.native_shape).reshape(self.box.shape)

    def map_in_box(self, values: np.ndarray) -> np.ndarray:
        """A map in the box's voxels.

        Parameters
        ----------
        values
            float on the grid.

        Returns
        -------
        ndarray
            float32 in the box.
        """
        return resample(values, self.native_shape).reshape(self.box.shape)


def native_spacing(image: Image, box: Box) -> list[float]:
    """The image's spacing along the axes of a box's content.

    Parameters
    ----------
    image, box
        The scan and where in it.

    Returns
    -------
    list of float
        mm; two for a plane, else three.
    """
    return [s for axis, s in enumerate(image.spacing) if axis != box.plane]
