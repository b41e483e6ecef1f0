"""What a prompt of the nnInteractive protocol is to a session: pure functions, each prompt becomes one interaction.

Its clients have boxes on one plane, points, scribbles, lassos and given masks, each for or against the object, and no
box that comes first. What they become:

* a box on one plane is a 2D box; with a further one on another plane it is the 3D box around both. Along an axis of
  two voxels or less an image has no extent worth the name: there every box is one plane, the one prompted last;
* a point is a small ball of scribble; a first scribble, point or lasso makes its own box, with as much room around a
  scribble as elsewhere (`bifseg.prompts.first_scribbles`), and one that leaves the object's box widens it;
* a prompt against the object is background inside its box; outside, all is background.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import extent
from bifseg.prompts.first_scribbles import ROOM
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box, overlap

MARGIN = 0.1  # of a mark's extent, on either side
THINNEST = 8  # voxels that the box around a mark has along its two longer sides: a straight line has no area
POINT_BOX = 0.25  # of the image's longest side: the cube around a first point
BALL = 1.0  # radius of a point, in units of the finest spacing


@dataclass(frozen=True, eq=False)
class Labels:
    """Part of a label map: uint8, the shape of the box that it fills; all voxels outside are 0."""

    box: Box
    array: np.ndarray


@dataclass(frozen=True, eq=False)
class Mark:
    """The voxels that a prompt marks: bool, within the box they just fill (of any thickness)."""

    box: Box
    mask: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray, start: Sequence[int] = (0, 0, 0)) -> Mark:
        """What is not 0 in an array that begins at ``start`` in the image; InvalidInput where all is."""
        ranges = extent(mask)
        if ranges is None:
            raise InvalidInput("The prompt marks no voxel of the image.")
        box = Box(*zip(*((a + at, b + at) for (a, b), at in zip(ranges, start, strict=True)), strict=True))
        return cls(box, mask[tuple(slice(a, b) for a, b in ranges)] != 0)


@dataclass(frozen=True)
class PromptScene:
    """Where a prompt lands. ``shape``, ``spacing``: of the image; ``box``: of the object, None before the first.

    ``include``: whether the prompt is for the object, or against it; InvalidInput for a first one against it. What a
    method returns is an interaction as `bifseg.storage.durable` takes it, with `Labels` where that has a stored array.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    box: Box | None = None

    def by_box(self, pairs: Sequence[Sequence[int]], include: bool) -> dict:
        """``pairs``: half-open ranges of voxels. Raises InvalidInput for a box outside the image."""
        start = tuple(max(0, a) for a, _ in pairs)
        stop = tuple(min(n, b) for (_, b), n in zip(pairs, self.shape, strict=True))
        if any(a >= b for a, b in pairs) or any(a >= b for a, b in zip(start, stop, strict=True)):
            raise InvalidInput(f"The box {_text(pairs)} is empty, or outside the image of shape {self.shape}.")
        box = _box(start, stop)
        if not include:
            return self._against(Mark(box, np.broadcast_to(True, box.shape)))
        if self.box is None:
            return {"kind": "box", "box": str(self._checked(box, box.start))}
        return {"kind": "resize", "box": str(self._checked(_union(self.box, box), box.start))}

    def by_point(self, voxel: Sequence[int], include: bool) -> dict:
        """``voxel``: where the user clicked. InvalidInput outside the image."""
        if any(not 0 <= at < n for at, n in zip(voxel, self.shape, strict=True)):
            raise InvalidInput(f"The point {tuple(voxel)} is outside the image of shape {self.shape}.")
        ball = self._ball(voxel)
        if self.box is None and include:
            box = self._checked(self._cube(voxel), voxel)
            return {"kind": "box", "box": str(box), "scribbles": _labels(ball, FOREGROUND, box)}
        if self.box is not None and _inside(voxel, self.box):
            return {"kind": "scribble", "scribbles": _labels(ball, FOREGROUND if include else BACKGROUND, self.box)}
        return self.by_scribble(ball, include)

    def by_scribble(self, mark: Mark, include: bool) -> dict:
        if not include:
            return self._against(mark)
        if self.box is None:
            if mark.mask.size == 1:
                return self.by_point(mark.box.start, include)
            longest = max(n * step for n, step in zip(mark.box.shape, self.spacing, strict=True))
            box = self._checked(self._around(mark.box, room=ROOM * longest), mark.box.start)
            return {"kind": "box", "box": str(box), "scribbles": _labels(mark, FOREGROUND, box)}
        if _union(self.box, mark.box) == self.box:
            return {"kind": "scribble", "scribbles": _labels(mark, FOREGROUND, self.box)}
        wide = _union(self.box, self._around(mark.box, thinnest=1))
        box = self._checked(wide, mark.box.start)
        return {"kind": "resize", "box": str(box), "scribbles": _labels(mark, FOREGROUND, box)}

    def by_lasso(self, mark: Mark, include: bool) -> dict:
        """A closed line, or the region within: the first is the object; later its core, or all of it, is a scribble."""
        filled, core = self._filled(mark)
        if not include:
            return self._against(filled)
        if self.box is not None:
            return self.by_scribble(core, include)
        box = self._checked(self._around(filled.box), filled.box.start)
        scribbles = _labels(core, FOREGROUND, box)
        return {"kind": "box", "box": str(box), "initial": _labels(filled, 1, box), "scribbles": scribbles}

    def by_mask(self, mark: Mark) -> dict:
        """A mask that the user had already; it begins an object."""
        box = Box.of(self._around(mark.box), self.shape)
        return {"kind": "box", "box": str(box), "initial": _labels(mark, 1, box)}

    def _against(self, mark: Mark) -> dict:
        if self.box is None:
            raise InvalidInput("The first prompt marks what belongs to the object; this one marks what does not.")
        labels = _labels(mark, BACKGROUND, self.box)
        said = {"kind": "scribble", "scribbles": labels}
        return said if labels.array.any() else {**said, "refine": "none"}  # a step that undo takes back, no more

    def _checked(self, box: Box, at: Sequence[int]) -> Box:
        """A box that a session takes: of one plane, the one through ``at``, where the image has hardly more."""
        axis = int(np.argmin(self.shape))
        if self.shape[axis] <= 2 and box.shape[axis] > 1:
            start, stop = list(box.start), list(box.stop)
            start[axis], stop[axis] = at[axis], at[axis] + 1
            box = _box(start, stop)
        return Box.of(box, self.shape)

    def _normal(self, lengths: Sequence[int]) -> int:
        """The axis across the planes a mark was drawn on: where the image is flat, then where the mark is thinnest.

        Where it is as thin along several: the axis across a 2D object's plane, then the one of the coarsest spacing,
        then the first (clients send slices first).
        """
        plane = self.box.plane if self.box else None
        return min(
            range(3),
            key=lambda axis: (self.shape[axis] > 2, lengths[axis], axis != plane, -self.spacing[axis], axis),
        )

    def _around(self, box: Box, thinnest: int = THINNEST, room: float = 0.0) -> Box:
        """The extent of a mark with its margin, ``room`` (mm) at least; a plane stays a plane."""
        normal, ranges = self._normal(box.shape), []
        for axis, (a, b, n) in enumerate(zip(box.start, box.stop, self.shape, strict=True)):
            margin = max(MARGIN * (b - a), room / self.spacing[axis])
            wider = 0 if axis == normal and b - a == 1 else ceil(margin)
            if axis != normal:
                wider = max(wider, ceil((thinnest - (b - a)) / 2))
            a, b = max(0, a - wider), min(n, b + wider)
            if axis != normal:  # at the image's edge it grows inwards
                a, b = max(0, min(a, b - thinnest)), min(n, max(b, a + thinnest))
            ranges.append((a, b))
        return Box(*zip(*ranges, strict=True))

    def _cube(self, voxel: Sequence[int]) -> Box:
        side = POINT_BOX * max(n * s for n, s in zip(self.shape, self.spacing, strict=True))
        ranges = []
        for at, n, spacing in zip(voxel, self.shape, self.spacing, strict=True):
            half = max(2, round(side / spacing / 2))
            ranges.append((max(0, at - half), min(n, at + half)))
        return Box(*zip(*ranges, strict=True))

    def _ball(self, voxel: Sequence[int]) -> Mark:
        """A point's voxel and its neighbours in the image; on the plane of a 2D object, those on it."""
        steps = [BALL * min(self.spacing) / spacing for spacing in self.spacing]
        if self.box and (plane := self.box.plane) is not None and voxel[plane] == self.box.start[plane]:
            steps[plane] /= 2
        ranges = [
            (max(0, at - int(r)), min(n, at + int(r) + 1)) for at, r, n in zip(voxel, steps, self.shape, strict=True)
        ]
        grid = np.ogrid[tuple(slice(a, b) for a, b in ranges)]
        square = sum(((g - at) / r) ** 2 for g, at, r in zip(grid, voxel, steps, strict=True))
        return Mark.of(np.asarray(square <= 1), [a for a, _ in ranges])

    def _filled(self, mark: Mark) -> tuple[Mark, Mark]:
        """A lasso's region, filled on each of its planes, and the core of it: the half farthest from its edge."""
        from scipy.ndimage import binary_fill_holes, distance_transform_edt  # here, for a server need not wait for it

        normal = self._normal(mark.box.shape)
        spacing = np.delete(self.spacing, normal)
        planes = np.moveaxis(mark.mask, normal, 0)
        filled, core = np.empty(planes.shape, bool), np.empty(planes.shape, bool)
        for k, plane in enumerate(planes):
            filled[k] = binary_fill_holes(plane)
            depth = distance_transform_edt(np.pad(filled[k], 1), spacing)[1:-1, 1:-1]
            core[k] = filled[k] & (2 * depth >= depth.max())
        whole, inner = (Mark.of(np.moveaxis(part, 0, normal), mark.box.start) for part in (filled, core))
        return whole, inner


def _labels(mark: Mark, label: int, box: Box) -> Labels:
    """A mark's part inside the object's box, cropped to two voxels or more along each axis where that has two."""
    ends = np.maximum(np.array(box.stop) - 2, box.start)
    start = np.clip(mark.box.start, box.start, ends)
    stop = np.minimum(np.maximum(mark.box.stop, start + 2), box.stop)
    inside = _box(start.tolist(), stop.tolist())
    array = np.zeros(inside.shape, np.uint8)
    here, there = overlap(inside, mark.box)
    array[here][mark.mask[there]] = label
    return Labels(inside, array)


def _union(one: Box, other: Box) -> Box:
    return _box(map(min, one.start, other.start), map(max, one.stop, other.stop))


def _box(start: Iterable[int], stop: Iterable[int]) -> Box:
    x, y, z = zip(start, stop, strict=True)
    return Box((x[0], y[0], z[0]), (x[1], y[1], z[1]))


def _inside(voxel: Sequence[int], box: Box) -> bool:
    return all(a <= at < b for at, a, b in zip(voxel, box.start, box.stop, strict=True))


def _text(pairs: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{a}:{b}" for a, b in pairs)
