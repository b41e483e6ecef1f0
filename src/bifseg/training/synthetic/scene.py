"""Shapes without pixels: random scenes of smooth functions on the cube [-1, 1]^d, 2D and 3D.

A scene is a patchwork background with objects (blobs, shells, crescents, branching tubes, folded sheets, clusters) that
deform and cover one another; any window of it can be rendered at any resolution. The idea that random shapes teach a
network what "an object" is comes from SynthMorph and SynthSeg (Hoffmann et al. 2022; Billot et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Points = list[np.ndarray]  # d arrays of coordinates, all of the rendered shape
Level = Callable[[Points], np.ndarray]  # above 0 inside a shape


@dataclass(frozen=True)
class Field:
    """A smooth random function on [-1.5, 1.5]^d of unit variance: cubic B-splines with white-noise coefficients."""

    coefficients: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator, dimension: int, cells: int) -> Field:
        noise = rng.standard_normal((cells + 3,) * dimension, dtype=np.float32)
        return cls(noise / 0.479 ** (dimension / 2))  # 0.479: mean sum of squares of the four B-spline weights

    def __call__(self, axes: Sequence[np.ndarray]) -> np.ndarray:
        """Values on the grid spanned by one coordinate vector per axis: float32, shape (len(axis), ...)."""
        values = self.coefficients
        for coordinates in axes:  # each pass consumes the first axis and appends the rendered one
            values = np.tensordot(values, _spline_weights(coordinates, values.shape[0]), axes=(0, 1))
        return values


def _spline_weights(coordinates: np.ndarray, count: int) -> np.ndarray:
    """Cubic B-spline weights (len(coordinates), count) of points on [-1.5, 1.5]."""
    position = np.clip((coordinates + 1.5) / 3.0, 0, 1 - 1e-6) * (count - 3)
    cell = position.astype(int)
    u = position - cell
    four = [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
    weights = np.zeros((len(coordinates), count), np.float32)
    for k, w in enumerate(four):
        weights[np.arange(len(cell)), cell + k] = w / 6
    return weights


@dataclass(frozen=True)
class Shape:
    """One object: the set where ``level`` is positive, in a rotated, scaled frame around its centre."""

    level: Callable[[Points], np.ndarray]
    centre: np.ndarray
    frame: np.ndarray  # (d, d): rotation times 1 / radius
    ripple: np.ndarray  # how much of each of the scene's ripple fields is added to the level

    @classmethod
    def random(cls, rng: np.random.Generator, dimension: int, spread: float) -> Shape:
        rotation, _ = np.linalg.qr(rng.standard_normal((dimension, dimension)))
        radius = np.exp(rng.uniform(np.log(0.12), np.log(0.6)) + rng.normal(0, 0.25, dimension))
        kind = rng.choice(len(KINDS), p=KIND_SHARE)
        return cls(
            level=KINDS[kind](rng, dimension),
            centre=rng.uniform(-spread, spread, dimension),
            frame=rotation / radius[:, None],
            ripple=rng.normal(0, 1, 2) * rng.choice([0.0, 0.05, 0.12, 0.2]),
        )

    def __call__(self, points: Points, ripples: Sequence[np.ndarray]) -> np.ndarray:
        offsets = [p - np.float32(c) for p, c in zip(points, self.centre, strict=True)]
        local = [sum(np.float32(w) * o for w, o in zip(row, offsets, strict=True)) for row in self.frame]
        return self.level(local) + sum(np.float32(a) * r for a, r in zip(self.ripple, ripples, strict=True))


def _norm(q: Points, p: float = 2.0) -> np.ndarray:
    if p == 2.0:
        return np.sqrt(sum(x * x for x in q))
    return sum(np.abs(x) ** np.float32(p) for x in q) ** np.float32(1 / p)


def _blob(rng: np.random.Generator, dimension: int) -> Level:
    p = float(rng.choice([2.0, 2.0, 2.0, 1.3, 3.0, 6.0]))
    return lambda q: 1 - _norm(q, p)


def _shell(rng: np.random.Generator, dimension: int) -> Level:
    width = rng.uniform(0.12, 0.3)
    return lambda q: np.float32(width) - np.abs(_norm(q) - np.float32(1 - width))


def _crescent(rng: np.random.Generator, dimension: int) -> Level:
    shift, bite = rng.uniform(0.4, 0.9), rng.uniform(0.6, 1.0)
    return lambda q: np.minimum(1 - _norm(q), _norm([q[0] - np.float32(shift), *q[1:]]) - np.float32(bite))


def _tube(rng: np.random.Generator, dimension: int) -> Level:
    """A capsule chain, a random walk with up to two branches; thick ones read as vessels, short ones as organs."""
    knots = [rng.uniform(-0.9, 0.9, dimension)]
    edges = []
    for _ in range(rng.integers(2, 6)):
        start = knots[-1] if rng.random() < 0.75 else knots[rng.integers(len(knots))]
        knots.append(np.clip(start + rng.normal(0, 0.6, dimension), -1.2, 1.2))
        edges.append((start, knots[-1]))
    radius = rng.uniform(0.12, 0.35)

    def level(q: Points) -> np.ndarray:
        nearest = np.full(q[0].shape, np.inf, np.float32)
        for a, b in edges:
            span = (b - a).astype(np.float32)
            along = sum((x - np.float32(c)) * s for x, c, s in zip(q, a, span, strict=True)) / (span @ span + 1e-6)
            along = np.clip(along, 0, 1)
            gap = sum((x - np.float32(c) - along * s) ** 2 for x, c, s in zip(q, a, span, strict=True))
            np.minimum(nearest, gap, out=nearest)
        return np.float32(radius) - np.sqrt(nearest)

    return level


def _sheet(rng: np.random.Generator, dimension: int) -> Level:
    """A folded sheet inside a ball, like cortex or bowel wall."""
    width, waves = rng.uniform(0.25, 0.5), rng.uniform(1.5, 4.0, dimension)
    phase, lean = rng.uniform(0, 6.28, dimension), rng.uniform(0.2, 0.8)

    def level(q: Points) -> np.ndarray:
        fold = sum(np.sin(np.float32(w) * x + np.float32(f)) for w, x, f in zip(waves, q, phase, strict=True))
        return np.minimum(1 - _norm(q), np.float32(width) - np.abs(fold * np.float32(lean)))

    return level


def _cluster(rng: np.random.Generator, dimension: int) -> Level:
    centres = rng.uniform(-0.6, 0.6, (rng.integers(2, 5), dimension))
    radii = rng.uniform(0.3, 0.7, len(centres))
    return lambda q: np.maximum.reduce(
        [
            np.float32(r) - _norm([x - np.float32(c) for x, c in zip(q, centre, strict=True)])
            for centre, r in zip(centres, radii, strict=True)
        ]
    )


KINDS = (_blob, _shell, _crescent, _tube, _sheet, _cluster)
KIND_SHARE = (0.34, 0.14, 0.14, 0.16, 0.06, 0.16)


class Scene:
    """A random patchwork of tissues with objects in it; ``labels`` and ``intensity`` render it on any grid."""

    def __init__(self, rng: np.random.Generator, dimension: int, objects: int) -> None:
        self.patches = [Field.random(rng, dimension, int(rng.integers(2, 10))) for _ in range(rng.integers(1, 7))]
        self.warp = [Field.random(rng, dimension, int(rng.integers(2, 6))) for _ in range(dimension)]
        self.warp_size = np.float32(rng.uniform(0.0, 0.14))
        self.ripples = [Field.random(rng, dimension, int(rng.integers(5, 10) * k)) for k in (1, 2)]
        self.shapes = [Shape.random(rng, dimension, spread=0.8) for _ in range(objects)]

    def labels(self, axes: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Object labels (0 none, k the k-th shape) and background tissue (0, 1, ...) on the grid of ``axes``."""
        grid = np.meshgrid(*[a.astype(np.float32) for a in axes], indexing="ij", copy=False)
        points = [g + self.warp_size * f(axes) for g, f in zip(grid, self.warp, strict=True)]
        ripples = [f(axes) for f in self.ripples]
        objects = np.zeros(grid[0].shape, np.uint8)
        for k, shape in enumerate(self.shapes, start=1):
            objects[shape(points, ripples) > 0] = k
        tissue = np.argmax([f(axes) for f in self.patches], axis=0).astype(np.uint8)
        return objects, tissue
