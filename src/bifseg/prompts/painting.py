"""Strokes become voxels."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import ERASED, ERASER, Box, Patch, Stroke

PAINTED = 300_000_000  # voxels that the strokes of an interaction may have looked at: a few seconds


def rasterise(strokes: Iterable[Stroke], image: Image, box: Box | None = None) -> Patch:
    """Paint strokes, in their order, into uint8 labels: later ones win. The patch is as large as the strokes reach,
    and holds ``ERASED`` where an eraser was the last.

    ``box``: the object's. The brush of a stroke that runs inside it ends where it ends, and in a plane is a disc; any
    other brush is a ball. Raises InvalidInput for a stroke that leaves the image.
    """
    step = np.asarray(image.spacing) / min(image.spacing)
    brushes = [(stroke, *_room(stroke, image, box, step)) for stroke in strokes]
    if not brushes:
        return Patch.of(np.zeros((0, 0, 0), np.uint8))
    start, stop = np.min([low for *_, low, _ in brushes], axis=0), np.max([high for *_, high in brushes], axis=0)
    labels = np.zeros(stop - start, np.uint8)
    for stroke, points, low, high in brushes:
        for centre in _along(points):
            _stamp(labels, start, low, high, centre, stroke, step)
    erases = any(stroke.label == ERASER for stroke, *_ in brushes)
    return Patch(Box(tuple(start.tolist()), tuple(stop.tolist())), labels, erases)


def effort(strokes: Iterable[Stroke], image: Image, box: Box | None = None) -> int:
    """How many voxels `rasterise` would look at, at most, without looking at them: what it costs."""
    step, looked = np.asarray(image.spacing) / min(image.spacing), 0
    for stroke in strokes:
        points, low, high = _room(stroke, image, box, step)
        stamps = 1 + np.maximum(1, np.ceil(2 * np.abs(np.diff(points, axis=0)).max(1, initial=0))).sum()
        looked += int(stamps * np.minimum(2 * stroke.radius / step + 1, np.maximum(high - low, 1)).prod())
    return looked


def check_effort(strokes: Iterable[Stroke], image: Image, box: Box | None = None) -> None:
    """Refuse strokes that would be painted for long: nobody can cancel that, and others wait."""
    if (looked := effort(strokes, image, box)) > PAINTED:
        raise InvalidInput(
            f"The strokes would be painted over {looked / 1e6:.4g} million voxels; at most {PAINTED / 1e6:.3g} are: "
            "take a smaller brush, or fewer points."
        )


def _along(points: np.ndarray) -> Iterable[np.ndarray]:
    """Voxels along a polyline, at most half a voxel apart."""
    yield points[0]
    for a, b in pairwise(points):
        steps = max(1, int(np.ceil(2 * np.abs(b - a).max())))
        yield from a + (b - a) * np.arange(1, steps + 1)[:, None] / steps


def _room(stroke: Stroke, image: Image, box: Box | None, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stroke's points, and the voxels that it may mark: all that its brush reaches, low <= voxel < high."""
    points = np.asarray(stroke.points, dtype=float)
    nearest = np.rint(points).astype(int)
    if (outside := ((nearest < 0) | (nearest >= image.shape)).any(1)).any():
        raise InvalidInput(
            f"A stroke passes {tuple(points[outside][0].tolist())}, outside the image of shape {image.shape}."
        )
    low = np.maximum(np.floor(points.min(0) - stroke.radius / step), 0).astype(int)
    high = np.minimum(np.floor(points.max(0) + stroke.radius / step) + 2, image.shape).astype(int)
    if box is not None and ((nearest >= box.start) & (nearest < box.stop)).all():
        low, high = np.maximum(low, box.start), np.minimum(high, box.stop)
    axis = None if box is None else box.plane
    if box is not None and axis is not None and (nearest[:, axis] == box.start[axis]).all():
        points = np.where(np.arange(3) == axis, box.start[axis], points)
        low[axis], high[axis] = box.start[axis], box.stop[axis]
    return points, low, high


def _stamp(
    labels: np.ndarray,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    centre: np.ndarray,
    stroke: Stroke,
    step: np.ndarray,
) -> None:
    """Paint the ball of the stroke's radius around a centre, its nearest voxel always; ``labels`` begin at ``start``.

    Everything is in the image's voxels: what is nearest must not depend on where the labels begin.
    """
    label = ERASED if stroke.label == ERASER else stroke.label
    labels[tuple(np.rint(centre).astype(int) - start)] = label
    low = np.maximum(np.ceil(centre - stroke.radius / step), low).astype(int)
    high = np.minimum(np.floor(centre + stroke.radius / step) + 1, high).astype(int)
    if (low >= high).any():
        return
    grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    square = sum(((g - c) * s) ** 2 for g, c, s in zip(grids, centre, step, strict=True))
    window = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    labels[window][square <= stroke.radius**2] = label
