"""What a user says about an image: a box around the object, and strokes where the mask is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Protocol

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image, extent

FOREGROUND = 1
BACKGROUND = 2
ERASER = 0  # of a stroke that takes scribbles away
ERASED = 3  # what it paints: here is to be no scribble, and 0 would say nothing
AXES = "xyz"
# those that compute, and so take rounds
INTERACTIONS = ("box", "scribble", "resize", "refine", "propagate", "interpolate")


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

        ``ranges`` holds three entries; two are enough for an image of one plane. Raises InvalidInput for a box that
        is empty, inverted, partly outside the image, or thinner than two voxels along two axes or more.
        """
        if isinstance(ranges, Box):
            ranges = list(zip(ranges.start, ranges.stop, strict=True))
        ranges = list(ranges)
        if len(ranges) == 2 and shape[2] == 1:
            ranges.append(0)
        if len(ranges) != 3:
            raise InvalidInput(f"The box has {len(ranges)} axes; give three (x, y, z), each a:b or a single index.")
        pairs = [_pair(entry, axis) for entry, axis in zip(ranges, AXES, strict=True)]
        for (start, stop), size, axis in zip(pairs, shape, AXES, strict=True):
            if start >= stop:
                raise InvalidInput(f"The box is empty or inverted along {axis}: {start}:{stop}; give start < stop.")
            if start < 0 or stop > size:
                raise InvalidInput(
                    f"The box {start}:{stop} along {axis} lies outside the image, which has {axis} from 0 to {size}."
                )
        if sum(stop - start < 2 for start, stop in pairs) > 1:
            text = " x ".join(str(stop - start) for start, stop in pairs)
            raise InvalidInput(f"The box has {text} voxels; it needs at least two along two axes.")
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
                raise InvalidInput(f"The box {text!r} is not of the form 40:80,52:90,12 (x, y, z).") from None
        return cls.of(ranges, shape or (np.iinfo(np.int64).max,) * 3)

    @classmethod
    def around(cls, mask: np.ndarray, margin: float = 0.1) -> Box:
        """The extent of a mask (x, y, z), on every side wider by a share of it; one voxel thick, it stays a plane.

        Raises InvalidInput for an empty mask.
        """
        extents = extent(mask)
        if extents is None:
            raise InvalidInput("The mask holds no object: all its voxels are 0.")
        ranges = []
        for (low, high), size in zip(extents, mask.shape, strict=True):
            wider = ceil(margin * (high - low)) if high - low > 1 else 0
            ranges.append((max(0, low - wider), min(size, high + wider)))
        return cls.of(ranges, mask.shape)

    @classmethod
    def spanning(cls, boxes: Iterable[Box]) -> Box:
        """The smallest box that holds all of these, of which there is at least one."""
        boxes = list(boxes)
        starts, stops = zip(*(box.start for box in boxes), strict=True), zip(*(box.stop for box in boxes), strict=True)
        return cls(tuple(map(min, starts)), tuple(map(max, stops)))

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

    ``points``: (n, 3) voxel coordinates, file order (x, y, z). ``label``: 1 foreground, 2 background, 0 takes away the
    scribbles that the brush touches. ``radius``: in units of the finest voxel spacing; 0 marks single voxels.
    """

    points: Sequence[Sequence[float]]
    label: int = FOREGROUND
    radius: float = 0.0

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=float)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
            raise InvalidInput("A stroke needs one or more finite points (x, y, z).")
        if self.label not in (ERASER, FOREGROUND, BACKGROUND):
            raise InvalidInput(f"A stroke has the label {self.label}; 1 is foreground, 2 is background, 0 erases.")
        if not 0 <= self.radius < np.inf:
            raise InvalidInput(f"A stroke has the radius {self.radius}; it must be 0 or more.")


@dataclass(frozen=True, eq=False)
class Patch:
    """A label map that is 0 outside a box: ``labels``, of the box's shape, are all that there is to look at.

    ``erases``: it comes of strokes, some of which erase, and so holds ``ERASED``, too; a label map never does.
    """

    box: Box
    labels: np.ndarray
    erases: bool = False

    @classmethod
    def of(cls, labels: np.ndarray) -> Patch:
        """A label map (x, y, z) of a whole image, as it is."""
        return cls(Box((0, 0, 0), labels.shape), labels)

    def inside(self, box: Box) -> np.ndarray:
        """The labels in a box: a copy of the box's shape."""
        here, there = overlap(box, self.box)
        inside = np.zeros(box.shape, self.labels.dtype)
        inside[here] = self.labels[there]
        return inside


def overlap(one: Box, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where two boxes meet, as slices of an array in the one and of an array in the other; empty where they do not."""
    start = np.maximum(one.start, other.start)
    stop = np.maximum(start, np.minimum(one.stop, other.stop))
    return tuple(tuple(slice(a, b) for a, b in zip(start - o, stop - o, strict=True)) for o in (one.start, other.start))


def only_label(labels: np.ndarray, label: int | None = None) -> np.ndarray:
    """The voxels of one label of a label map: bool; without ``label`` of the only one there is, besides 0.

    Raises InvalidInput where it has several and none is chosen, or not the chosen one.
    """
    if labels.dtype == bool and label in (None, 1):
        return labels
    values = np.unique(labels)
    values = values[values != 0]
    listed = ", ".join(str(value) for value in values[:10].tolist()) + (", ..." if len(values) > 10 else "")
    if label is None and len(values) > 1:
        raise InvalidInput(f"The initial mask holds the labels {listed}; choose one of them with label={values[0]}.")
    if label is not None and label not in values:
        raise InvalidInput(f"The initial mask has no label {label}; it holds {listed or 'nothing but 0'}.")
    return labels != 0 if label is None else labels == label


def merge(foreground: np.ndarray | None, background: np.ndarray | None) -> Patch:
    """Two scribble masks (x, y, z) of one shape as uint8 labels; InvalidInput for a voxel that is in both."""
    given = {FOREGROUND: foreground, BACKGROUND: background}
    masks = {label: np.asarray(mask) for label, mask in given.items() if mask is not None}
    if not masks:
        raise InvalidInput("No scribbles are given: give labels, or a foreground or a background mask.")
    shapes = [mask.shape for mask in masks.values()]
    if shapes[0] != shapes[-1]:
        raise InvalidInput(f"The scribble masks have the shapes {shapes[0]} and {shapes[1]}.")
    extents = [found for found in map(extent, masks.values()) if found]
    if not extents:
        return Patch.of(np.zeros((0, 0, 0), np.uint8))
    ranges = [(min(a for a, _ in pairs), max(b for _, b in pairs)) for pairs in zip(*extents, strict=True)]
    box = Box(*zip(*ranges, strict=True))
    inside = {label: mask[box.slices] != 0 for label, mask in masks.items()}
    if len(inside) == 2 and (both := np.count_nonzero(inside[FOREGROUND] & inside[BACKGROUND])):
        raise InvalidInput(f"{both} voxels are in the foreground and the background scribbles; each can be in one.")
    return Patch(box, sum(mask * np.uint8(label) for label, mask in inside.items()))


def scribbles_in(box: Box, patch: Patch, locked: np.ndarray) -> np.ndarray:
    """The labels of a patch inside a box, checked: uint8, the box's shape; ``ERASED`` where strokes erase.

    ``locked``: bool, the box's shape, voxels of other objects. Raises InvalidInput for scribbles outside the box, for
    labels other than 0, 1 and 2, and for foreground on a locked voxel. An eraser may leave the box: it is a rough tool.
    """
    inside = patch.inside(box)
    everywhere, drawn = patch.labels, inside
    if patch.erases:
        everywhere, drawn = (np.where(labels == ERASED, 0, labels) for labels in (everywhere, inside))
    if outside := np.count_nonzero(everywhere) - np.count_nonzero(drawn):
        raise InvalidInput(f"{outside} scribble voxels lie outside the box {box}.")
    if strange := set(np.unique(drawn[drawn != 0]).tolist()) - {FOREGROUND, BACKGROUND}:
        raise InvalidInput(f"The scribbles hold the labels {sorted(strange)}; 1 is foreground, 2 background, 0 none.")
    if clash := np.count_nonzero(locked & (inside == FOREGROUND)):
        raise InvalidInput(
            f"{clash} foreground scribble voxels lie in a finished object; select that one to change it."
        )
    return inside.astype(np.uint8, copy=False)


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
        raise InvalidInput(f"The box along {axis} is {entry!r}; give whole numbers, start and stop, or one index.")
    return int(numbers[0]), int(numbers[1])
