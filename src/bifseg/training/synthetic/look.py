"""What tissues look like in a scan, and what the scanner does to them: any label map becomes an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bifseg.imaging.resampling import resample
from bifseg.training.synthetic.scene import Field


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

    def render(
        self, rng: np.random.Generator, axes: Sequence[np.ndarray], objects: np.ndarray, tissue: np.ndarray
    ) -> np.ndarray:
        """The noiseless image of a label map: float32."""
        dimension = objects.ndim
        inside = objects > 0
        index = np.where(inside, objects, tissue + len(self.objects))
        means = np.concatenate([self.objects, self.tissue]).astype(np.float32)
        coarse, fine = (Field.random(rng, dimension, c)(axes) for c in self.cells)
        image = means[index] + self.texture.astype(np.float32)[index] * (coarse + np.float32(0.6) * fine)
        image = np.clip(image, 0, None) ** np.float32(self.gamma)
        return image * np.exp(np.float32(self.bias) * Field.random(rng, dimension, 3)(axes))


def acquire(rng: np.random.Generator, look: Look, image: np.ndarray) -> np.ndarray:
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


def cast_shadows(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Dark fans along one axis, as behind bone or gas in ultrasound, and a drop of intensity with depth."""
    axis = int(rng.integers(image.ndim))
    depth = np.linspace(0, 1, image.shape[axis], dtype=np.float32)
    depth = depth.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    across = int(rng.choice([a for a in range(image.ndim) if a != axis]))
    place = np.linspace(-1, 1, image.shape[across], dtype=np.float32)
    fan = np.abs(place - rng.uniform(-1, 1)) < rng.uniform(0.05, 0.3)
    fan = fan.reshape([-1 if a == across else 1 for a in range(image.ndim)])
    dark = np.where(fan & (depth > rng.uniform(0, 0.7)), np.float32(rng.uniform(0.1, 0.7)), np.float32(1))
    dark = ndimage.gaussian_filter(np.broadcast_to(dark, image.shape), 1.5)
    return image * dark * np.exp(-np.float32(rng.uniform(0, 1)) * depth)


def augment(rng: np.random.Generator, image: np.ndarray, inverted: float = 0.15) -> np.ndarray:
    """A real crop as another scanner might have shown it: bias field, gamma, blur, noise, contrast inversion.

    ``inverted``: how often bright is shown as dark.
    """
    low, high = np.percentile(image, (0.5, 99.5))
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    image = image ** np.float32(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.3:
        axes = [np.linspace(-1, 1, n) for n in image.shape]
        image = image * np.exp(np.float32(0.3 * rng.random()) * Field.random(rng, image.ndim, 3)(axes))
    if rng.random() < 0.3:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.5), truncate=2.5)
    if rng.random() < 0.5:
        image = image + np.float32(rng.uniform(0, 0.06)) * rng.standard_normal(image.shape, dtype=np.float32)
    return -image if rng.random() < inverted else image
