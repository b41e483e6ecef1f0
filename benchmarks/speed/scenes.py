"""What is segmented: synthetic objects in their boxes, the same scenes at every size, and strokes on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from bifseg.evaluation.simulated_users import User, simulated_scribbles
from bifseg.evaluation.strokes import centre_line
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box, Stroke
from bifseg.training.synthetic.sample import training_sample

RIM = 8  # voxels of scan on each side of a box


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan with one object, its truth (bool, the scan's shape) and the box drawn around it."""

    image: Image
    truth: np.ndarray
    box: Box

    def corrections(self, mask: np.ndarray) -> np.ndarray:
        """A careful user's strokes on a mask, as labels; one through the object where there is nothing to correct."""
        labels = simulated_scribbles(mask, self.truth, self.box)
        if not labels.any():
            plane = int(np.argmax(self.truth.sum((0, 1))))
            labels[:, :, plane] = centre_line(self.truth[:, :, plane])[0]
        return labels

    def opening(self) -> tuple[Box, np.ndarray]:
        """Field of view and first strokes of one who draws no box."""
        ranges = [(0, n) for n in self.image.shape]
        if self.box.plane is not None:
            ranges[self.box.plane] = self.box.start[self.box.plane]
        view = Box.of(ranges, self.image.shape)
        return view, User("careful").opening(self.truth, view, np.random.default_rng(0)).labels

    def strokes(self) -> list[Stroke]:
        """A line through the object and one along an edge of the box, as a hand draws them in one plane."""
        plane = int(np.argmax(self.truth.sum((0, 1))))
        middle = np.argwhere(centre_line(self.truth[:, :, plane])[0]).mean(0)
        within = np.argwhere(self.truth[:, :, plane])
        x, y = within[np.argmin(np.abs(within - middle).sum(1))]
        row = self.truth[:, y, plane]
        left, right = x - np.argmin(row[x::-1]) + 1, x + np.argmin(row[x:]) - 1
        edge = [(self.box.start[0] + 2, self.box.start[1], plane), (self.box.stop[0] - 3, self.box.start[1], plane)]
        return [Stroke([(left, y, plane), (right, y, plane)], FOREGROUND), Stroke(edge, BACKGROUND)]


@lru_cache(maxsize=16)
def scene(dimension: int, side: int, seed: int = 0, scan: int | None = None) -> Scene:
    """An object in a box of ``side`` pixels, in a scan of ``scan`` along each side (of one plane in 2D)."""
    content, target = training_sample(np.random.default_rng(seed), (side,) * dimension)
    shape = (scan or side + 2 * RIM,) * dimension + (1,) * (3 - dimension)
    low, high = np.percentile(content, (0.1, 99.9))
    counts = np.rint(np.clip((content - low) / max(high - low, 1e-6), -0.2, 1.2) * 1000).astype(np.int16)
    start = tuple((n - side) // 2 if n > 1 else 0 for n in shape)
    box = Box(start, tuple(s + (side if n > 1 else 1) for s, n in zip(start, shape, strict=True)))
    rim = [(s, n - e) for s, e, n in zip(box.start, box.stop, shape, strict=True)]
    array = np.asfortranarray(_padded(counts.reshape(box.shape), rim, side))
    truth = np.zeros(shape, bool, order="F")
    truth[box.slices] = target.reshape(box.shape)
    return Scene(Image(array, spacing=(1.0, 1.0, 1.0)), truth, box)


def _padded(content: np.ndarray, rim: Sequence[tuple[int, int]], side: int) -> np.ndarray:
    """The content mirrored into a narrow rim; a wide one is even, which is quicker to make."""
    if max(max(pair) for pair in rim) < side:
        return np.pad(content, rim, mode="symmetric")
    return np.pad(content, rim)
