"""A ball in noise: scans with their labels, in memory, for tests of instances."""

import numpy as np

from bifseg.imaging.image import Image
from bifseg.training.instances import Instance


class Scan:
    """A case in memory."""

    dataset, name, patient = "set", "case", "patient"

    def __init__(self, array, labels, spacing=(1.0, 1.0, 1.0)):
        self.image, self.labels = Image(array, spacing), labels.reshape(Image(array).shape)


def same(one: Instance, other: Instance) -> bool:
    plain = [
        (i.dataset, i.case, i.patient, i.label, i.dimension, i.inner, i.spacing, i.image.dtype) for i in (one, other)
    ]
    return plain[0] == plain[1] and np.array_equal(one.image, other.image) and np.array_equal(one.truth, other.truth)


def ball(shape=(40, 40, 16), centre=(20, 18, 8), radius=6, value=1):
    labels = np.zeros(shape, np.uint8)
    labels[sum((g - c) ** 2 for g, c in zip(np.indices(shape), centre, strict=True)) <= radius**2] = value
    return labels


def ball_scan(dtype=np.float32, spacing=(1.0, 1.0, 1.0), **kwargs):
    labels = ball(**kwargs)
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    return Scan((100 * labels + noise).astype(dtype), labels, spacing)
