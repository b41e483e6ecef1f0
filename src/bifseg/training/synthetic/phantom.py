"""Seeded synthetic scans, whole: what tests and the demo look at."""

from __future__ import annotations

import numpy as np

from bifseg.imaging.image import Image
from bifseg.training.synthetic.look import Look, acquire
from bifseg.training.synthetic.scene import Scene


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
    scan = acquire(rng, look, look.render(rng, axes, labels, tissue))
    low, high = np.percentile(scan, (0.1, 99.9))
    counts = np.rint((scan - low) / max(high - low, 1e-6) * 1000).astype(np.int16)
    return Image(counts, spacing=(1.0, 1.0, 2.0)), labels
