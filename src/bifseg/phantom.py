"""Seeded synthetic anatomy, 2D and 3D: what tests and the demo look at, and what the shipped networks learnt from.

A scene is a set of smooth functions on the cube [-1, 1]^d: a patchwork background, and objects (blobs, shells,
crescents, branching tubes, folded sheets, clusters) that deform and cover one another. It has no pixels of its own,
so any window of it can be rendered at any resolution. The idea that random shapes teach a network what "an object"
is comes from SynthMorph and SynthSeg (Hoffmann et al. 2022; Billot et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bifseg.image import Image, resample

Points = list[np.ndarray]  # d arrays of coordinates, all of the rendered shape


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


def _blob(rng: np.random.Generator, dimension: int):
    p = float(rng.choice([2.0, 2.0, 2.0, 1.3, 3.0, 6.0]))
    return lambda q: 1 - _norm(q, p)


def _shell(rng: np.random.Generator, dimension: int):
    width = rng.uniform(0.12, 0.3)
    return lambda q: np.float32(width) - np.abs(_norm(q) - np.float32(1 - width))


def _crescent(rng: np.random.Generator, dimension: int):
    shift, bite = rng.uniform(0.4, 0.9), rng.uniform(0.6, 1.0)
    return lambda q: np.minimum(1 - _norm(q), _norm([q[0] - np.float32(shift), *q[1:]]) - np.float32(bite))


def _tube(rng: np.random.Generator, dimension: int):
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


def _sheet(rng: np.random.Generator, dimension: int):
    """A folded sheet inside a ball, like cortex or bowel wall."""
    width, waves = rng.uniform(0.25, 0.5), rng.uniform(1.5, 4.0, dimension)
    phase, lean = rng.uniform(0, 6.28, dimension), rng.uniform(0.2, 0.8)

    def level(q: Points) -> np.ndarray:
        fold = sum(np.sin(np.float32(w) * x + np.float32(f)) for w, x, f in zip(waves, q, phase, strict=True))
        return np.minimum(1 - _norm(q), np.float32(width) - np.abs(fold * np.float32(lean)))

    return level


def _cluster(rng: np.random.Generator, dimension: int):
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
        self.warp = [Field.random(rng, dimension, rng.integers(2, 6)) for _ in range(dimension)]
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


@dataclass(frozen=True)
class Look:
    """How tissues appear: mean and texture of each, and what the scanner does to them."""

    objects: np.ndarray  # mean intensity per object label; entry 0 is unused
    tissue: np.ndarray
    texture: np.ndarray  # texture amplitude, per object label then per tissue
    cells: tuple[int, int]  # grain of the two textures
    bias: float
    blur: float
    noise: float
    gamma: float

    @classmethod
    def random(
        cls, rng: np.random.Generator, objects: int, tissues: int, target: int | None, twins: bool = False
    ) -> Look:
        palette = rng.uniform(0, 1, rng.integers(2, 6))
        means = np.clip(rng.choice(palette, 1 + objects + tissues) + rng.normal(0, 0.04, 1 + objects + tissues), 0, 1)
        if target is not None and rng.random() < 0.85:  # mostly, the target differs from all else
            gap = rng.uniform(0.05, 0.3)
            others = np.delete(means, [0, target])
            free = [m for m in rng.uniform(0, 1, 40) if np.abs(others - m).min() > gap]
            means[target] = free[0] if free else (0.0 if others.mean() > 0.5 else 1.0)
        if rng.random() < 0.3:
            means[1 + objects] = 0.0  # air, or what skull stripping left
        texture = rng.uniform(0, 0.12, 1 + objects + tissues) * rng.choice([0.0, 0.5, 1.0, 1.6])
        if twins:  # others look just like the target: only its place in the box tells it apart
            alike = rng.random(len(means)) < 0.4
            means[alike], texture[alike] = means[target], texture[target]
        return cls(
            objects=means[: 1 + objects],
            tissue=means[1 + objects :],
            texture=texture,
            cells=(int(rng.integers(6, 16)), int(rng.integers(16, 40))),
            bias=rng.choice([0.0, 0.1, 0.3]) * rng.random(),
            blur=rng.uniform(0.3, 1.2) * rng.choice([1.0, 1.0, 2.0]),
            noise=rng.choice([0.01, 0.03, 0.08]) * rng.uniform(0.3, 1.2),
            gamma=np.exp(rng.normal(0, 0.25)),
        )

    def render(self, rng: np.random.Generator, axes: Sequence[np.ndarray], objects: np.ndarray, tissue: np.ndarray):
        """The noiseless image of a label map: float32."""
        dimension = objects.ndim
        inside = objects > 0
        index = np.where(inside, objects, tissue + len(self.objects))
        means = np.concatenate([self.objects, self.tissue]).astype(np.float32)
        coarse, fine = (Field.random(rng, dimension, c)(axes) for c in self.cells)
        image = means[index] + self.texture.astype(np.float32)[index] * (coarse + np.float32(0.6) * fine)
        image = np.clip(image, 0, None) ** np.float32(self.gamma)
        return image * np.exp(np.float32(self.bias) * Field.random(rng, dimension, 3)(axes))


def training_sample(
    rng: np.random.Generator, shape: Sequence[int], twins: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """One object in its box: (image float32, target bool), both of ``shape`` (x, y) or (x, y, z).

    The box is the object's bounding box plus a random margin per side, as in Wang et al. 2018, II-B. ``twins``: the
    share of samples in which other objects and tissues look exactly like the target, often behind a thin wall, as one
    ventricle beside the other.
    """
    dimension = len(shape)
    while True:
        scene = Scene(rng, dimension, objects=int(rng.integers(2, 11)))
        coarse = [np.linspace(-1.4, 1.4, 72 if dimension == 2 else 36)] * dimension
        objects, _ = scene.labels(coarse)
        counts = np.bincount(objects.ravel(), minlength=len(scene.shapes) + 1)[1:]
        enough = np.flatnonzero(counts > 0.004 * objects.size)
        if len(enough):
            break
    target = int(rng.choice(enough)) + 1
    axes = _window(rng, objects == target, coarse, shape)
    objects, tissue = scene.labels(axes)
    truth = objects == target
    if rng.random() < 0.3:  # a lesion with a core: another tissue inside, the same object
        core = ndimage.distance_transform_edt(truth)
        objects[core > rng.uniform(0.3, 0.7) * core.max()] = len(scene.shapes) + 1
    extra = 1
    alike = twins > 0 and rng.random() < twins
    if alike and rng.random() < 0.6:
        extra = 2
        gap = ndimage.distance_transform_edt(~truth)
        objects[(gap > 0) & (gap < rng.uniform(0.015, 0.12) * max(shape))] = len(scene.shapes) + 2
    look = Look.random(rng, len(scene.shapes) + extra, len(scene.patches), target, alike)
    if extra == 2 and abs(look.objects[-1] - look.objects[target]) < 0.15:  # a wall that can be seen
        look.objects[-1] = (look.objects[target] + rng.uniform(0.2, 0.8)) % 1.0
    return _acquire(rng, look, look.render(rng, axes, objects, tissue)), truth


def _window(rng: np.random.Generator, mask: np.ndarray, coarse: list[np.ndarray], shape: Sequence[int]):
    """Coordinates of a grid of ``shape`` around a mask, with a margin of up to a quarter of its extent per side."""
    largest = rng.uniform(0.0, 0.25)
    axes = []
    for axis, count in enumerate(shape):
        hit = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        half = (coarse[axis][1] - coarse[axis][0]) / 2
        low, high = coarse[axis][hit[0]] - half, coarse[axis][hit[-1]] + half
        extent = high - low
        low, high = low - rng.uniform(0, largest) * extent, high + rng.uniform(0, largest) * extent
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    return axes


def _acquire(rng: np.random.Generator, look: Look, image: np.ndarray) -> np.ndarray:
    """Scan a noiseless image: blur, a coarser native grid, thick slices, noise, contrast inversion."""
    image = ndimage.gaussian_filter(image, look.blur, truncate=2.5)
    native = np.array(image.shape) / rng.choice([1.0, 1.0, 1.6, 2.5])
    if image.ndim == 3 and rng.random() < 0.35:
        native[rng.integers(3)] /= rng.uniform(1.5, 5.0)
    scan = resample(image, tuple(np.maximum(native, 6).astype(int)))
    scan = scan + np.float32(look.noise) * rng.standard_normal(scan.shape, dtype=np.float32)
    if rng.random() < 0.15:  # speckle
        scan *= 1 + np.float32(rng.uniform(0.1, 0.3)) * rng.standard_normal(scan.shape, dtype=np.float32)
    if rng.random() < 0.3:
        scan = -scan
    return resample(scan, image.shape)


def phantom(seed: int = 0, shape: tuple[int, int, int] = (128, 128, 64), objects: int = 5) -> tuple[Image, np.ndarray]:
    """A whole synthetic scan: (Image of int16, spacing 1 x 1 x 2 mm; labels uint8, 0 background, 1 ... objects).

    >>> image, labels = phantom(seed=3, shape=(32, 32, 16))
    >>> image.shape, labels.dtype.name
    ((32, 32, 16), 'uint8')
    """
    rng = np.random.default_rng(seed)
    scene = Scene(rng, 3, objects)
    axes = [np.linspace(-1.1, 1.1, n) for n in shape]
    labels, tissue = scene.labels(axes)
    look = Look.random(rng, objects, len(scene.patches), target=None)
    scan = _acquire(rng, look, look.render(rng, axes, labels, tissue))
    low, high = np.percentile(scan, (0.1, 99.9))
    counts = np.rint((scan - low) / max(high - low, 1e-6) * 1000).astype(np.int16)
    return Image(counts, spacing=(1.0, 1.0, 2.0)), labels
