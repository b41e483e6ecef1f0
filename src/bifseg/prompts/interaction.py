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


@dataclass(frozen=True)
class Box:
    """A half-open range of voxels, start <= index < stop, in file order (x, y, z).

    A box of one plane asks for a 2D segmentation of that plane; any other for a 3D one.

    Parameters
    ----------
    start, stop
        Voxel indices x, y, z, not checked against an image; see `Box.of`.

    Examples
    --------
    >>> Box.parse("40:80,52:90,12").shape
    (40, 38, 1)
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @classmethod
    def of(cls, ranges: Box | Sequence, shape: Sequence[int]) -> Box:
        """The box of one range per axis, checked against an image's shape.

        Parameters
        ----------
        ranges
            Per axis a (start, stop) pair or a single index; two axes are enough for an image of one plane.
        shape
            Of the image, (x, y, z).

        Returns
        -------
        Box
            Within the image.

        Raises
        ------
        InvalidInput
            For a box that is empty, inverted, partly outside the image, or thinner than two voxels along two axes or
            more.
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
        """The box that a text describes.

        Parameters
        ----------
        text
            As in ``"40:80,52:90,12"``.
        shape
            Of the image, (x, y, z); None: not checked against one.

        Returns
        -------
        Box
            InvalidInput is raised as by `Box.of`, and for another form.
        """
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
        """The extent of a mask, wider on every side; one voxel thick, it stays a plane.

        Parameters
        ----------
        mask
            (x, y, z), 0 outside the object; InvalidInput is raised for an empty one.
        margin
            By which share of the extent it is wider.

        Returns
        -------
        Box
            Within the mask's array.
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
        """The smallest box that holds all of these.

        Parameters
        ----------
        boxes
            One or more.

        Returns
        -------
        Box
            Of the least start and the largest stop.
        """
        boxes = list(boxes)
        starts, stops = zip(*(box.start for box in boxes), strict=True), zip(*(box.stop for box in boxes), strict=True)
        return cls(tuple(map(min, starts)), tuple(map(max, stops)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """What indexes an image's array (x, y, z)."""
        x, y, z = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def plane(self) -> int | None:
        """The axis along which the box is one voxel thick, or None for a 3D box."""
        return self.shape.index(1) if 1 in self.shape else None

    @property
    def dimension(self) -> int:
        """2 for a plane, else 3."""
        return 3 if self.plane is None else 2

    def crop(self, array: np.ndarray) -> np.ndarray:
        """The content of the box.

        Parameters
        ----------
        array
            (x, y, z), of the image's shape.

        Returns
        -------
        ndarray
            A view; that of a plane loses its axis and is 2D.
        """
        view = array[self.slices]
        return view if self.plane is None else view.squeeze(self.plane)

    def paste(self, inside: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """An array that is 0 outside the box.

        Parameters
        ----------
        inside
            Of the box's shape, three axes.
        shape
            Of the image, (x, y, z).

        Returns
        -------
        ndarray
            Of ``shape``, Fortran order.
        """
        full = np.zeros(shape, inside.dtype, order="F")
        full[self.slices] = inside
        return full

    def __str__(self) -> str:
        return ",".join(f"{a}:{b}" if b - a > 1 else f"{a}" for a, b in zip(self.start, self.stop, strict=True))


@dataclass(frozen=True)
class Stroke:
    """A polyline painted with a round brush; a single point is a click.

    Parameters
    ----------
    points
        (n, 3) voxel coordinates, file order (x, y, z).
    label
        1 foreground, 2 background, 0 takes away the scribbles that the brush touches.
    radius
        In units of the finest voxel spacing; 0 marks single voxels.

    Raises
    ------
    InvalidInput
        For points, a label or a radius that cannot be.
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


Labels = np.ndarray | Patch | Sequence[Stroke]


def overlap(one: Box, other: Box) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where two boxes meet, as slices of an array in the one and of an array in the other; empty where they do not."""
    start = np.maximum(one.start, other.start)
    stop = np.maximum(start, np.minimum(one.stop, other.stop))
    here, there = (
        tuple(slice(a, b) for a, b in zip(start - o, stop - o, strict=True)) for o in (one.start, other.start)
    )
    return here, there


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
