"""What a user says about an image: a box around the object, and strokes where the mask is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Protocol

import numpy as np

from bifseg.image import Image

FOREGROUND = 1
BACKGROUND = 2
AXES = "xyz"
INTERACTIONS = ("box", "scribble", "resize", "refine")  # those of a session that compute, and so take rounds


@dataclass(frozen=True)
class Box:
    """A half-open range of voxels, start <= index < stop, in file order (x, y, z).

    A box of one plane asks for a 2D segmentation of that plane; any other for a 3D one.

    >>> Box.parse("40:80,52:90,12").shape
    (40, 38, 1)
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @classmethod
    def of(cls, ranges: Sequence, shape: Sequence[int]) -> Box:
        """The box of one (start, stop) pair or single index per axis, checked against an image's shape.

        ``ranges`` holds three entries; two are enough for an image of one plane. Raises ValueError for a box that
        is empty, inverted, partly outside the image, or thinner than two voxels along two axes or more.
        """
        if isinstance(ranges, Box):
            ranges = list(zip(ranges.start, ranges.stop, strict=True))
        ranges = list(ranges)
        if len(ranges) == 2 and shape[2] == 1:
            ranges.append(0)
        if len(ranges) != 3:
            raise ValueError(f"The box has {len(ranges)} axes; give three (x, y, z), each a:b or a single index.")
        pairs = [_pair(entry, axis) for entry, axis in zip(ranges, AXES, strict=True)]
        for (start, stop), extent, axis in zip(pairs, shape, AXES, strict=True):
            if start >= stop:
                raise ValueError(f"The box is empty or inverted along {axis}: {start}:{stop}; give start < stop.")
            if start < 0 or stop > extent:
                raise ValueError(
                    f"The box {start}:{stop} along {axis} lies outside the image, which has {axis} from 0 to {extent}."
                )
        if sum(stop - start < 2 for start, stop in pairs) > 1:
            text = " x ".join(str(stop - start) for start, stop in pairs)
            raise ValueError(f"The box has {text} voxels; it needs at least two along two axes.")
        return cls(*zip(*pairs, strict=True))

    @classmethod
    def parse(cls, text: str, shape: Sequence[int] | None = None) -> Box:
        """The box written as ``"40:80,52:90,12"``; checked against ``shape`` where one is given."""
        ranges = []
        for part in text.split(","):
            numbers = part.strip().split(":")
            try:
                ranges.append(int(numbers[0]) if len(numbers) == 1 else tuple(map(int, numbers)))
            except ValueError:
                raise ValueError(f"The box {text!r} is not of the form 40:80,52:90,12 (x, y, z).") from None
        return cls.of(ranges, shape or (np.iinfo(np.int64).max,) * 3)

    @classmethod
    def around(cls, mask: np.ndarray, margin: float = 0.1) -> Box:
        """The extent of a mask (x, y, z), on every side wider by a share of it; one voxel thick, it stays a plane.

        Raises ValueError for an empty mask.
        """
        ranges = []
        for axis, extent in enumerate(mask.shape):
            found = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
            if not len(found):
                raise ValueError("The mask holds no object: all its voxels are 0.")
            low, high = int(found[0]), int(found[-1]) + 1
            wider = ceil(margin * (high - low)) if high - low > 1 else 0
            ranges.append((max(0, low - wider), min(extent, high + wider)))
        return cls.of(ranges, mask.shape)

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def plane(self) -> int | None:
        """The axis along which the box is one voxel thick, or None for a 3D box."""
        return self.shape.index(1) if 1 in self.shape else None

    @property
    def dimension(self) -> int:
        return 3 if self.plane is None else 2

    def crop(self, array: np.ndarray) -> np.ndarray:
        """The view of ``array`` (x, y, z) inside the box; a plane loses its axis and becomes 2D."""
        view = array[self.slices]
        return view if self.plane is None else view.squeeze(self.plane)

    def paste(self, inside: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """An array of ``shape`` (x, y, z) with ``inside``, of the box's shape, in the box; 0 outside, Fortran order."""
        full = np.zeros(shape, inside.dtype, order="F")
        full[self.slices] = inside
        return full

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" if b - a > 1 else f"{a}" for a, b in zip(self.start, self.stop, strict=True))


@dataclass(frozen=True)
class Stroke:
    """A polyline painted with a round brush; a single point is a click.

    ``points``: (n, 3) voxel coordinates, file order (x, y, z). ``label``: 1 foreground, 2 background.
    ``radius``: in units of the finest voxel spacing; 0 marks single voxels.
    """

    points: Sequence[Sequence[float]]
    label: int = FOREGROUND
    radius: float = 0.0

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=float)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
            raise ValueError("A stroke needs one or more finite points (x, y, z).")
        if self.label not in (FOREGROUND, BACKGROUND):
            raise ValueError(f"A stroke has the label {self.label}; 1 is foreground, 2 is background.")
        if not 0 <= self.radius < np.inf:
            raise ValueError(f"A stroke has the radius {self.radius}; it must be 0 or more.")


def rasterise(strokes: Iterable[Stroke], image: Image, box: Box | None = None) -> np.ndarray:
    """Paint strokes, in their order, into a uint8 label map (x, y, z) of the image's shape: later ones win.

    ``box``: of a plane, in which the brush of a stroke that runs in it is a disc; elsewhere it is a ball.
    Raises ValueError for a stroke that leaves the image.
    """
    labels = np.zeros(image.shape, np.uint8)
    step = np.asarray(image.spacing) / min(image.spacing)
    for stroke in strokes:
        points = np.asarray(stroke.points, dtype=float)
        nearest = np.rint(points).astype(int)
        if (nearest < 0).any() or (nearest >= image.shape).any():
            worst = points[((nearest < 0) | (nearest >= image.shape)).any(1)][0]
            raise ValueError(f"A stroke passes {tuple(worst)}, outside the image of shape {image.shape}.")
        painted, axis = labels, None if box is None else box.plane
        if axis is not None and (nearest[:, axis] == box.start[axis]).all():
            painted = labels[tuple(s if a == axis else slice(None) for a, s in enumerate(box.slices))]
            points = points - np.where(np.arange(3) == axis, points, 0)
        for voxels in _along(points):
            _stamp(painted, voxels, stroke, step)
    return labels


def merge(foreground: np.ndarray | None, background: np.ndarray | None) -> np.ndarray:
    """Two scribble masks of one shape as one label map (uint8); ValueError for a voxel that is in both."""
    masks = [None if mask is None else np.asarray(mask) != 0 for mask in (foreground, background)]
    given = [mask for mask in masks if mask is not None]
    if not given:
        raise ValueError("No scribbles are given: give labels, or a foreground or a background mask.")
    if len(given) == 2:
        if given[0].shape != given[1].shape:
            raise ValueError(f"The scribble masks have the shapes {given[0].shape} and {given[1].shape}.")
        if both := np.count_nonzero(given[0] & given[1]):
            raise ValueError(f"{both} voxels are in the foreground and the background scribbles; each can be in one.")
    labels = np.zeros(given[0].shape, np.uint8)
    for mask, label in zip(masks, (FOREGROUND, BACKGROUND), strict=True):
        if mask is not None:
            labels[mask] = label
    return labels


def scribbles_in(box: Box, labels: np.ndarray, locked: np.ndarray) -> np.ndarray:
    """The part of a label map (the image's shape) inside a box, checked: uint8, the box's shape.

    ``locked``: bool, the box's shape, voxels of other objects. Raises ValueError for scribbles outside the box, for
    labels other than 0, 1 and 2, and for foreground on a locked voxel.
    """
    inside = box.crop(labels).reshape(box.shape)
    if outside := np.count_nonzero(labels) - np.count_nonzero(inside):
        raise ValueError(f"{outside} scribble voxels lie outside the box {box}.")
    if strange := set(np.unique(inside).tolist()) - {0, FOREGROUND, BACKGROUND}:
        raise ValueError(f"The scribbles hold the labels {sorted(strange)}; 1 is foreground, 2 background, 0 none.")
    if clash := np.count_nonzero(locked & (inside == FOREGROUND)):
        raise ValueError(f"{clash} foreground scribble voxels lie in a finished object; select that one to change it.")
    return inside.astype(np.uint8)


class InteractiveMethod(Protocol):
    """What every interactive segmentation method offers: a box or first scribbles start it, scribbles refine it.

    ``begins_with``: "box" (also where a method says nothing), or "scribbles". A method that begins with scribbles gets
    as its box only the field of view, a plane in 2D and the whole scan in 3D; it returns an empty mask from `start` and
    does its work in `refine`. ``scribbles`` are the new strokes alone: a method adds them up itself, the newest wins,
    and a scribbled voxel keeps its label.
    """

    begins_with: str = "box"

    def start(self, image: Image, box: Box) -> np.ndarray:
        """The first mask: bool (x, y, z), of the image's shape; all False from a method that begins with scribbles."""
        ...

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        """The mask after more scribbles: bool; they are labels (x, y, z), 1 foreground, 2 background, 0 none."""
        ...


def _pair(entry: int | Sequence[int], axis: str) -> tuple[int, int]:
    if isinstance(entry, slice):
        entry = (entry.start, entry.stop)
    numbers = (entry, entry + 1) if isinstance(entry, (int, np.integer)) else tuple(entry)
    if len(numbers) != 2 or not all(isinstance(n, (int, np.integer)) for n in numbers):
        raise ValueError(f"The box along {axis} is {entry!r}; give whole numbers, start and stop, or one index.")
    return int(numbers[0]), int(numbers[1])


def _along(points: np.ndarray) -> Iterable[np.ndarray]:
    """Voxels along a polyline, at most half a voxel apart."""
    yield points[0]
    for a, b in pairwise(points):
        steps = max(1, int(np.ceil(2 * np.abs(b - a).max())))
        yield from a + (b - a) * np.arange(1, steps + 1)[:, None] / steps


def _stamp(labels: np.ndarray, centre: np.ndarray, stroke: Stroke, step: np.ndarray) -> None:
    """Paint the ball of the stroke's radius around a centre; its nearest voxel always."""
    labels[tuple(np.rint(centre).astype(int))] = stroke.label
    low = np.maximum(np.ceil(centre - stroke.radius / step), 0).astype(int)
    high = np.minimum(np.floor(centre + stroke.radius / step) + 1, labels.shape).astype(int)
    if (low >= high).any():
        return
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    square = sum(((g - c) * s) ** 2 for g, c, s in zip(np.ogrid[window], centre, step, strict=True))
    labels[window][square <= stroke.radius**2] = stroke.label
