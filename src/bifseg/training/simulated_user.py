"""Users who draw for a network in training: others than those who judge it (`evaluation.simulated_users`).

They wander, dab, hatch and outline, with brushes of any width, off the middle of what is wrong, and now and then they
are wrong themselves; they may mark much before anything was segmented. Nothing here is shared with the judges.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from scipy import ndimage

from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

WRONG = 0.03  # share of strokes with the wrong label
WIDTHS = (0.3, 0.8, 1.4, 2.0, 2.8, 3.8, 5.0)  # radii of brushes on a grid of 64: small objects are seen enlarged
LEAKS = 0.15  # share of strokes that are not kept within what is wrong
SMALLEST = 0.004  # an error below this share of the object is left alone


def correct(rng: np.random.Generator, scribbles: np.ndarray, mask: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """One more round: the scribbles with one to five new strokes where the mask is wrong.

    ``scribbles``: uint8, 0 none, 1 object, 2 background; ``mask``, ``truth``: bool; all (x, y) or (x, y, z).
    """
    scribbles = scribbles.copy()
    errors = []
    least = max(3, SMALLEST * np.count_nonzero(truth))
    for wrong, label in ((truth & ~mask, FOREGROUND), (mask & ~truth, BACKGROUND)):
        parts, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(parts.ravel())[1:]
            for part in np.argsort(-sizes)[:4]:
                if sizes[part] >= least:
                    errors.append((float(sizes[part]), parts, part + 1, label))
    if not errors:
        return scribbles
    weights = np.array([size for size, *_ in errors]) ** rng.uniform(0.5, 2.0)
    count = min(len(errors), int(rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.2, 0.35, 0.2, 0.15])))
    style = rng.choice(len(STYLES), p=SHARES)  # a person keeps to one manner
    for index in rng.choice(len(errors), count, replace=False, p=weights / weights.sum()):
        _, parts, part, label = errors[index]
        _draw(rng, scribbles, parts == part, label, style)
    return scribbles


def begin(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Scribbles before anything was segmented: some in the object, often long ones, some around it."""
    scribbles = np.zeros(truth.shape, np.uint8)
    style = rng.choice(len(STYLES), p=SHARES)
    for _ in range(int(rng.integers(1, 4))):
        _draw(rng, scribbles, truth, FOREGROUND, style)
    around = ~truth
    if rng.random() < 0.6 and around.any():  # near the object: that is where a hand is
        distance = ndimage.distance_transform_edt(around)
        reach = rng.uniform(2, 0.3 * max(truth.shape))
        around = (distance > rng.uniform(1, 3)) & (distance < reach)
        ring = rng.random() < 0.5
        for _ in range(int(rng.integers(1, 4))):
            if around.any():
                _draw(rng, scribbles, around, BACKGROUND, OUTLINE if ring else style)
    return scribbles


def _draw(rng: np.random.Generator, scribbles: np.ndarray, region: np.ndarray, label: int, style: int) -> None:
    """One stroke in a region; in 3D in one slice of it, or in two that cross. Changes ``scribbles``."""
    if rng.random() < WRONG:
        label = FOREGROUND + BACKGROUND - label
    if region.ndim == 2:
        pixels = _stroke(rng, region, style)
        scribbles[pixels] = label
        return
    for axis in rng.permutation(3)[: 1 + (rng.random() < 0.15)]:
        areas = region.sum(axis=tuple(a for a in range(3) if a != axis))
        if rng.random() < 0.5:
            at = int(areas.argmax())
        else:
            at = int(rng.choice(len(areas), p=areas / areas.sum()))
        where = (slice(None),) * int(axis) + (at,)
        plane = region[where]
        parts, count = ndimage.label(plane)
        if count > 1:
            sizes = np.bincount(parts.ravel())[1:].astype(float)
            plane = parts == 1 + int(rng.choice(count, p=sizes**2 / (sizes**2).sum()))
        scribbles[where][_stroke(rng, plane, style)] = label


def _stroke(rng: np.random.Generator, region: np.ndarray, style: int) -> np.ndarray:
    """The pixels of a stroke in a region (bool, (x, y)), at least one."""
    where = ndimage.find_objects(region.view(np.uint8))[0]
    around = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in where)
    part = region[around]
    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    points = STYLES[style](rng, part, depth)
    width = min(rng.choice(WIDTHS) * max(1.0, max(region.shape) / 64), max(0.5, depth.max()))
    if len(points) > 1:
        points = points + rng.normal(0, rng.choice([0.0, 0.3, 0.8]), points.shape)
    line = _brushed(points, part.shape, width)
    if rng.random() > LEAKS:
        line &= part
    if not line.any():
        line.flat[int(np.argmax(depth))] = True
    result = np.zeros(region.shape, bool)
    result[around] = line
    return result


def _brushed(points: np.ndarray, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """A polyline (k, 2) under a round brush."""
    pieces = [points[:1]]
    for a, b in pairwise(points):
        count = 1 + int(np.abs(b - a).max() * 1.5)
        pieces.append(a + (b - a) * (np.arange(1, count + 1) / count)[:, None])
    dense = np.rint(np.concatenate(pieces)).astype(int)
    dense = dense[((dense >= 0) & (dense < shape)).all(1)]
    reach = int(radius)
    line = np.zeros(shape, bool)
    for dx in range(-reach, reach + 1):
        for dy in range(-reach, reach + 1):
            if dx * dx + dy * dy <= radius * radius:
                moved = dense + np.array([dx, dy])
                moved = moved[((moved >= 0) & (moved < shape)).all(1)]
                line[tuple(moved.T)] = True
    return line


def _somewhere(rng: np.random.Generator, depth: np.ndarray, count: int, power: float) -> np.ndarray:
    """Random pixels (count, 2) of a region, the deeper the likelier."""
    inside = np.argwhere(depth > 0)
    weights = depth[tuple(inside.T)] ** power
    return inside[rng.choice(len(inside), count, p=weights / weights.sum())].astype(float)


def _wander(rng: np.random.Generator, part: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Along the region, through deep places, over all of its length or a piece of it."""
    points = _somewhere(rng, depth, int(rng.integers(3, 9)), rng.uniform(1.0, 4.0))
    spread = points - points.mean(0)
    along = spread @ np.linalg.svd(spread, full_matrices=False)[2][0]
    points = points[np.argsort(along)]
    keep = max(2, int(np.ceil(len(points) * rng.uniform(0.6, 1.0))))
    first = int(rng.integers(len(points) - keep + 1))
    return points[first : first + keep]


def _dab(rng: np.random.Generator, part: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """A click, nearer to the middle than to the border."""
    return _somewhere(rng, depth, 1, rng.uniform(1.0, 6.0))


def _straight(rng: np.random.Generator, part: np.ndarray, depth: np.ndarray) -> np.ndarray:
    ends = _somewhere(rng, depth, 8, rng.uniform(0.5, 2.0))
    far = int(np.argmax(np.linalg.norm(ends - ends[0], axis=1)))
    return ends[[0, far]]


def _hatch(rng: np.random.Generator, part: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """To and fro, as one fills an area."""
    ends = _somewhere(rng, depth, int(rng.integers(5, 11)), 0.5)
    along = ends @ rng.normal(size=2)
    return ends[np.argsort(along)]


def _outline(rng: np.random.Generator, part: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Part of a loop inside the region, at one depth."""
    level = rng.uniform(0.15, 0.7) * depth.max()
    pixels = np.argwhere(np.abs(depth - max(1.0, level)) <= 0.8)
    if len(pixels) < 4:
        return _dab(rng, part, depth)
    middle = np.argwhere(part).mean(0)
    angle = np.arctan2(*(pixels - middle).T)
    begin, length = rng.uniform(-np.pi, np.pi), rng.choice([np.pi / 2, np.pi, 2 * np.pi])
    turned = (angle - begin) % (2 * np.pi)
    pixels = pixels[turned <= length]
    if len(pixels) < 4:
        return _dab(rng, part, depth)
    bins = ((np.arctan2(*(pixels - middle).T) - begin) % (2 * np.pi) / length * 40).astype(int)
    count = np.bincount(bins)
    sums = np.stack([np.bincount(bins, weights=column) for column in pixels.T], 1)
    ring = sums[count > 0] / count[count > 0, None]
    if len(ring) < 2:
        return ring
    steps = np.linalg.norm(np.diff(ring, axis=0), axis=1)
    gaps = np.flatnonzero(steps > max(6.0, 6 * np.median(steps)))  # the ring was in pieces: keep the first
    return ring[: gaps[0] + 1] if len(gaps) else ring


STYLES: tuple[Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray], ...] = (
    _wander, _dab, _straight, _hatch, _outline,
)  # fmt: skip
SHARES = (0.46, 0.1, 0.16, 0.12, 0.16)
OUTLINE = 4
