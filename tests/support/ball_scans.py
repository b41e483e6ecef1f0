"""A ball in noise: scans with their labels, in memory and in files, for tests of instances."""

import json
from pathlib import Path

import numpy as np

from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.training.instances import Instance

NAMES = ("a", "b", "c")


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


def folder_of(path: Path) -> Path:
    """Three cases with a ball of class 1 and a smaller one of class 2."""
    for k, name in enumerate(NAMES):
        case = ball_scan(dtype=np.int16, spacing=(1, 1, 2), centre=(20 + k, 18, 8))
        labels = np.maximum(case.labels, ball(centre=(31, 32, 8), radius=5, value=2))
        for part, array in (("imagesTr", case.image.array), ("labelsTr", labels)):
            (path / part).mkdir(parents=True, exist_ok=True)
            write_image(path / part / f"{name}{'_0000' if part == 'imagesTr' else ''}.nii.gz", array, case.image)
    (path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "organ": 1, "lesion": 2, "none": 3}}))
    return path
