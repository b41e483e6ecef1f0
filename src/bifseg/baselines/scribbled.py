"""What the methods that begin with scribbles have in common: adding strokes up, and the region they work on."""

from __future__ import annotations

from math import ceil

import numpy as np

from bifseg.imaging.image import Image, extent
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

SIZES = {2: (128, 384), 3: (80, 80)}  # of the working grid, as for the paper's own method: size, longest
MARGIN = 0.1  # of the background scribbles' extent, on each side


class Scribbled:
    """A method without a box: ``start`` waits, and every ``refine`` segments anew from all scribbles so far.

    Subclasses turn scribbles on a working grid into a mask there (`_segment`), and may keep what depends on the image
    alone (`_begin`). Outside the region worked on (`region`) everything is background. With scribbles of one label
    only, all of the field of view gets that label. A scribbled voxel always keeps its label, the newest.
    """

    begins_with = "scribbles"

    def start(self, image: Image, field_of_view: Box) -> np.ndarray:
        """An empty mask: bool (x, y, z), the image's shape; ``field_of_view`` is the plane or volume to work in."""
        self._image, self._field = image, field_of_view
        self._scribbles = np.zeros(image.shape, np.uint8)
        self._grid: Grid | None = None
        return np.zeros(image.shape, bool)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        """The mask after more scribbles: labels (x, y, z), 1 foreground, 2 background, 0 none."""
        self._scribbles = np.where(scribbles > 0, scribbles, self._scribbles).astype(np.uint8)
        mask = np.zeros(self._image.shape, bool)
        box = region(self._scribbles, self._field)
        if self._grid is None or self._grid.box != box:
            self._grid = Grid(self._image, box, *SIZES[box.dimension])
            self._begin(self._grid)
        labels = self._grid.scribbles_on_grid(self._scribbles[box.slices])
        if (labels == BACKGROUND).any() and (labels == FOREGROUND).any():
            result = self._segment(self._grid, labels)
            if result.dtype == bool:
                mask[box.slices] = self._grid.mask_in_box(result)
            else:
                mask[box.slices] = self._grid.map_in_box(result) >= 0.5
        else:
            mask[box.slices] = (labels == FOREGROUND).any()
        mask[self._scribbles == FOREGROUND], mask[self._scribbles == BACKGROUND] = True, False
        return mask

    def _begin(self, grid: Grid) -> None:
        """Compute what depends on the image alone; called once for every new region."""

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        """The mask (bool) or the foreground probability (float), on the grid, from uint8 scribbles of both labels."""
        raise NotImplementedError


def region(scribbles: np.ndarray, field_of_view: Box) -> Box:
    """Where to work: the extent of the background scribbles and 10 % more, if it encloses the foreground scribbles.

    A user who has drawn background on all sides of the object has said where it is, much as with a box. This holds
    along every axis on which background lies beyond the foreground on both sides, provided there are two such axes
    at least: a ring in one slice of a volume limits the plane of the slice, and nothing across it. Otherwise, the
    whole field of view. ``scribbles``: uint8 (x, y, z), 1 foreground, 2 background.
    """
    inside = scribbles[field_of_view.slices]
    foreground, background = extent(inside == FOREGROUND), extent(inside == BACKGROUND)
    if foreground is None or background is None:
        return field_of_view
    enclosed = [low < a and b < high for (a, b), (low, high) in zip(foreground, background, strict=True)]
    if sum(enclosed) < 2:
        return field_of_view
    ranges = []
    for axis, (start, stop) in enumerate(zip(field_of_view.start, field_of_view.stop, strict=True)):
        if enclosed[axis]:
            low, high = background[axis]
            wider = ceil(MARGIN * (high - low))
            start, stop = max(start, start + low - wider), min(stop, start + high + wider)
        ranges.append((start, stop))
    return Box(*zip(*ranges, strict=True))
