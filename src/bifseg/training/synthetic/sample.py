"""One object in its box out of a random scene: what a network learns from when there is no scan to learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from bifseg.training.synthetic.look import Look, acquire, cast_shadows
from bifseg.training.synthetic.scene import Scene

Sample = tuple[np.ndarray, np.ndarray]  # image float32 and target bool, both (x, y) or (x, y, z)


def training_sample(
    rng: np.random.Generator,
    shape: Sequence[int],
    twins: float = 0.0,
    variety: float = 0.0,
    nested: float = 0.0,
    wide: float = 0.4,
) -> Sample:
    """One object in its box: (image float32, target bool), both of ``shape`` (x, y) or (x, y, z).

    The box is the object's bounding box plus a random margin per side, as in Wang et al. 2018, II-B. ``twins``: the
    share of samples in which other objects and tissues look exactly like the target, often behind a thin wall, as one
    ventricle beside the other. ``variety``: the share with what came later: wide margins, rings around a lumen of its
    own, borders that fade as those of lesions do, shadows as in ultrasound. ``nested``: the share in which the target
    is a ring around something else, or lies within a thick ring, as myocardium and ventricle do. ``wide``: the share
    of wide margins among varied samples.
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
    varied = variety > 0 and rng.random() < variety
    axes = _window(rng, objects == target, coarse, shape, widest=wide_margin(rng, wide) if varied else 0.25)
    objects, tissue = scene.labels(axes)
    truth = objects == target
    count = len(scene.shapes)
    around = None  # a label that must differ from the target's look
    if nested > 0 and rng.random() < nested:
        count += 1
        around = count
        truth = _nest(rng, objects, truth, target, around)
    elif rng.random() < 0.3:  # a lesion with a core: another tissue inside, the same object
        core = ndimage.distance_transform_edt(truth)
        count += 1
        objects[core > rng.uniform(0.3, 0.7) * core.max()] = count
    elif varied and rng.random() < 0.6:
        lumen = ndimage.binary_fill_holes(truth) & ~truth
        if lumen.any():
            count += 1
            objects[lumen] = count
    else:
        count += 1  # an unused label: earlier recipes drew a look for it
    alike = twins > 0 and rng.random() < twins
    if alike and rng.random() < 0.6 and around is None:
        gap = ndimage.distance_transform_edt(~truth)
        count += 1
        around = count
        objects[(gap > 0) & (gap < rng.uniform(0.015, 0.12) * max(shape))] = around
    look = Look.random(rng, count, len(scene.patches), target, alike)
    if around and abs(look.objects[around] - look.objects[target]) < 0.15:  # a wall that can be seen
        look.objects[around] = (look.objects[target] + rng.uniform(0.2, 0.8)) % 1.0
    image = look.render(rng, axes, objects, tissue)
    if varied:
        image = _vary(rng, image, truth)
    return acquire(rng, look, image), truth


def _nest(rng: np.random.Generator, objects: np.ndarray, truth: np.ndarray, target: int, other: int) -> np.ndarray:
    """Make the target a ring around ``other``, or lay a thick ring of ``other`` around it; returns the target."""
    if rng.random() < 0.6:
        filled = ndimage.binary_fill_holes(truth)
        depth = ndimage.distance_transform_edt(np.pad(filled, 1))[(slice(1, -1),) * truth.ndim]
        inner = depth > rng.uniform(0.15, 0.5) * depth.max()
        objects[filled] = target
        objects[inner] = other
        return filled & ~inner
    gap = ndimage.distance_transform_edt(~truth)
    objects[(gap > 0) & (gap < rng.uniform(0.08, 0.3) * max(truth.shape))] = other
    return truth


def wide_margin(rng: np.random.Generator, share: float) -> float:
    """The largest margin per side, in units of the object's extent: ten voxels are much around a small object."""
    return 0.25 if rng.random() < 1 - share else 0.8


def _vary(rng: np.random.Generator, image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if rng.random() < 0.25:  # the object fades into what surrounds it
        soft = ndimage.gaussian_filter(truth.astype(np.float32), rng.uniform(0.01, 0.04) * max(truth.shape))
        around = ndimage.gaussian_filter(np.where(truth, image[~truth].mean() if not truth.all() else 0, image), 2.0)
        image = np.where(truth, soft * image + (1 - soft) * around, image).astype(np.float32)
    if rng.random() < 0.1:
        image = cast_shadows(rng, image)
    return image


def _window(
    rng: np.random.Generator, mask: np.ndarray, coarse: list[np.ndarray], shape: Sequence[int], widest: float
) -> list[np.ndarray]:
    """Coordinates of a grid of ``shape`` around a mask, with a margin of up to ``widest`` of its extent per side."""
    largest = rng.uniform(0.0, widest)
    axes = []
    for axis, count in enumerate(shape):
        hit = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        half = (coarse[axis][1] - coarse[axis][0]) / 2
        low, high = coarse[axis][hit[0]] - half, coarse[axis][hit[-1]] + half
        extent = high - low
        low, high = low - rng.uniform(0, largest) * extent, high + rng.uniform(0, largest) * extent
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    return axes
