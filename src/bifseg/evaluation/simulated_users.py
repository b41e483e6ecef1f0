"""Simulated users, seeded and versioned: where they draw the box, where they scribble, and what that costs them.

What a user sees is the image's truth; what a method gets is boxes and scribbles alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput
from bifseg.evaluation.effort import Effort
from bifseg.evaluation.strokes import STYLES, ring
from bifseg.imaging.image import slicing_axis
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

VERSION = "1"  # another number where the same seed no longer gives the same boxes and strokes
MARGIN = 10  # voxels, see `simulated_box`
SMALLEST = 0.01  # an error below this share of the object's size is not worth a stroke
UNIT = (1.0, 1.0, 1.0)  # mm
NEAREST = 3  # pixels between an object and a loop drawn around it, at least


@dataclass(frozen=True, eq=False)
class Drawing:
    """One round of scribbles: labels, uint8 (x, y, z) of the image's shape, and what they took. Empty: content."""

    labels: np.ndarray
    effort: Effort

    def __bool__(self) -> bool:
        return self.effort.strokes > 0


@dataclass(frozen=True)
class User:
    """How someone draws. A careful user's strokes are always right; a sloppy one's are now and then not.

    ``margin``: a side of the box lies 0 to so many voxels outside the object. ``style``: of the strokes, see
    `strokes.STYLES`. ``strokes``: at most so many a round, through the largest errors. ``wrong``: how often a stroke
    is painted with the wrong label. ``offset``: standard deviation of a stroke's displacement along each axis of its
    plane, as a share of the object's longest extent.
    """

    name: str
    margin: int = MARGIN
    style: str = "centre"
    strokes: int = 3
    wrong: float = 0.0
    offset: float = 0.0

    def box(self, truth: np.ndarray, rng: np.random.Generator, plane: tuple[int, int] | None = None) -> Box:
        return simulated_box(truth, rng, self.margin, plane)

    def correct(
        self,
        mask: np.ndarray,
        truth: np.ndarray,
        where: Box,
        rng: np.random.Generator,
        spacing: Sequence[float] = (1,) * 3,
    ) -> Drawing:
        """Strokes through the largest errors inside a box, missed parts and leaks alike; none where all is well.

        In 3D every stroke is on the plane where its error is largest, across the axis of the largest spacing.
        """
        inside, target = where.crop(mask), where.crop(truth)
        step = [s for axis, s in enumerate(spacing) if axis != where.plane]
        across = slicing_axis(step)
        canvas = _Canvas(inside.shape, step, longest_extent(truth, spacing))
        for part, wanted in _largest_errors(inside, target, self.strokes):
            canvas.paint(*_on_plane(part, across), wanted, self, rng)
        return canvas.drawing(where, truth.shape)

    def opening(
        self, truth: np.ndarray, view: Box, rng: np.random.Generator, spacing: Sequence[float] = UNIT
    ) -> Drawing:
        """The first scribbles of one who draws no box: a stroke in the object and a loop around it.

        In 3D on the three planes where the object is largest, one across each axis. The loop is as far from the object
        as a side of the box may be.
        """
        target = view.crop(truth)
        step = [s for axis, s in enumerate(spacing) if axis != view.plane]
        canvas = _Canvas(target.shape, step, longest_extent(truth, spacing))
        for axis in range(target.ndim) if target.ndim == 3 else [None]:
            at: tuple[slice | int, ...] = ()
            if axis is not None:
                area = target.sum(axis=tuple(a for a in range(3) if a != axis))
                at = *(slice(None),) * axis, int(np.argmax(area))
            cross = target[at]
            canvas.paint(_largest_part(cross), at, FOREGROUND, self, rng)
            sides = np.array([s for a, s in enumerate(step) if a != axis])
            away = NEAREST + float(rng.uniform(0, self.margin))
            canvas.paint(cross, at, BACKGROUND, self, rng, loop=(away, tuple(sides / sides.min())))
        return canvas.drawing(view, truth.shape)


_CAREFUL = User("careful")
USERS = {
    user.name: user
    for user in (
        _CAREFUL,
        replace(_CAREFUL, name="sloppy", wrong=0.05, offset=0.02),
        replace(_CAREFUL, name="line", style="line"),
        replace(_CAREFUL, name="contour", style="contour"),
        replace(_CAREFUL, name="clicks", style="click"),
    )
}
HUMAN = "human"  # real scribbles that come with a data set, see `humans`; the box is a careful user's


def user_of(text: str) -> User:
    """The user of a name, perhaps with another margin of the box: ``sloppy`` or ``careful:0``.

    The name of the result is the text, shortened where the margin is the user's own. InvalidInput lists the known ones.
    """
    name, colon, margin = text.strip().partition(":")
    known = {**USERS, HUMAN: replace(_CAREFUL, name=HUMAN)}
    if name not in known:
        raise InvalidInput(f"Unknown user {text!r}; known are {', '.join(known)}, with another margin as careful:20.")
    if colon and not (margin.isdecimal() and int(margin) <= 1000):
        raise InvalidInput(f"The user {text!r} has the margin {margin!r}; it must be a number of voxels, 0 to 1000.")
    user = known[name]
    if colon and int(margin) != user.margin:
        return replace(user, name=f"{name}:{int(margin)}", margin=int(margin))
    return user


def simulated_box(
    truth: np.ndarray, rng: np.random.Generator, margin: int = MARGIN, plane: tuple[int, int] | None = None
) -> Box:
    """The box of an object, each side moved out by 0 to ``margin`` voxels (Wang et al. 2018, II-B).

    ``truth``: bool (x, y, z). ``plane``: (axis, index) for a 2D box in that plane. The box stays in the image.
    Raises InvalidInput where the object is absent or a single voxel wide on its plane.
    """
    where = np.nonzero(truth if plane is None else np.take(truth, [plane[1]], axis=plane[0]))
    if not len(where[0]):
        raise InvalidInput("The object is absent: there is nothing to draw a box around.")
    ranges: list[int | tuple[int, int]] = []
    for axis, (found, extent) in enumerate(zip(where, truth.shape, strict=True)):
        if plane is not None and axis == plane[0]:
            ranges.append(plane[1])
            continue
        low, high = rng.integers(0, margin + 1, 2)
        ranges.append((max(0, int(found.min()) - int(low)), min(extent, int(found.max()) + 1 + int(high))))
    return Box.of(ranges, truth.shape)


def simulated_scribbles(mask: np.ndarray, truth: np.ndarray, box: Box, strokes: int = 3) -> np.ndarray:
    """One round of a careful user's corrections, as labels (uint8, the image's shape); see `User.correct`."""
    return replace(_CAREFUL, strokes=strokes).correct(mask, truth, box, np.random.default_rng(0)).labels


@dataclass
class _Canvas:
    """The inside of a box, (x, y) or (x, y, z), while strokes are painted on it."""

    shape: tuple[int, ...]
    step: Sequence[float]  # mm a pixel
    longest: float  # mm, the object's extent: the unit of ways and displacements
    labels: np.ndarray = field(init=False)
    strokes: int = 0
    length: float = 0.0  # in mm
    planes: set = field(default_factory=set)

    def __post_init__(self) -> None:
        self.labels = np.zeros(self.shape, np.uint8)

    def paint(
        self, part: np.ndarray, at: tuple, label: int, user: User, rng: np.random.Generator,
        loop: tuple[float, tuple[float, ...]] | None = None,
    ) -> None:  # fmt: skip
        """One stroke on the plane ``at``, through ``part`` or as a ``loop`` (distance, step) around it."""
        pixels, way = STYLES[user.style](part) if loop is None else ring(part, *loop)
        if not pixels.any():
            return
        plane, points = self.labels[at], np.argwhere(pixels)
        sides = np.array(
            [s for s, index in zip(self.step, (*at, *[slice(None)] * 3), strict=False) if index == slice(None)]
        )
        if user.wrong and rng.random() < user.wrong:
            label = FOREGROUND + BACKGROUND - label
        if user.offset:
            points = points + np.rint(rng.normal(0, user.offset * self.longest / sides)).astype(int)
            points = points[((points >= 0) & (points < plane.shape)).all(1)]
        plane[tuple(points.T)] = label
        self.strokes += 1
        self.length += way * float(sides.mean() if loop is None else sides.min())
        self.planes.add(at and (len(at), at[-1]))

    def drawing(self, where: Box, shape: tuple[int, ...]) -> Drawing:
        full = np.zeros(shape, np.uint8)
        where.crop(full)[...] = self.labels
        return Drawing(full, Effort(self.strokes, self.length / self.longest, len(self.planes)))


def _largest_errors(mask: np.ndarray, truth: np.ndarray, count: int) -> Iterator[tuple[np.ndarray, int]]:
    """The largest connected errors (bool, the mask's shape) and the labels they should have, the largest first."""
    wrong = mask != truth
    found = []
    for side, wanted in ((wrong & truth, FOREGROUND), (wrong & ~truth, BACKGROUND)):  # they never share a component
        numbered, n = ndimage.label(side)
        sizes = np.bincount(numbered.ravel(), minlength=n + 1)[1:]
        found += [(int(sizes[k]), k + 1, numbered, wanted) for k in np.argsort(-sizes, kind="stable")[:count]]
    found.sort(key=lambda entry: -entry[0])
    least = max(2, SMALLEST * np.count_nonzero(truth))
    for size, number, numbered, wanted in found[:count]:
        if size >= least:
            yield numbered == number, wanted


def _on_plane(part: np.ndarray, across: int) -> tuple[np.ndarray, tuple]:
    """A part as a connected set of one plane, and the index of that plane: where it is largest."""
    if part.ndim == 2:
        return part, ()
    areas = part.sum(axis=tuple(a for a in range(3) if a != across))
    at = (slice(None),) * across + (int(np.argmax(areas)),)
    return _largest_part(part[at]), at


def _largest_part(shape: np.ndarray) -> np.ndarray:
    numbered, count = ndimage.label(shape)
    if count < 2:
        return shape
    return numbered == 1 + int(np.argmax(np.bincount(numbered.ravel(), minlength=count + 1)[1:]))


def longest_extent(truth: np.ndarray, spacing: Sequence[float]) -> float:
    """The object's longest extent in mm: the unit in which a hand's way is told."""
    extents = [np.ptp(np.flatnonzero(truth.any(axis=tuple({0, 1, 2} - {a})))) + 1 for a in range(3)]
    return float(max(np.multiply(extents, spacing)))
