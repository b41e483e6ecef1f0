"""Labelled images in nnU-Net's raw layout: ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bifseg.image import Image
from bifseg.io import read_image, read_labels


@dataclass(frozen=True)
class Case:
    """One channel of one labelled scan."""

    dataset: str
    name: str
    patient: str
    image_path: Path
    labels_path: Path

    @cached_property
    def image(self) -> Image:
        return read_image(self.image_path)

    @cached_property
    def labels(self) -> np.ndarray:
        """Integer label map (x, y, z)."""
        return read_labels(self.labels_path, self.image)


def cases(dataset: Path, channel: int = 0) -> Iterator[Case]:
    """The cases of a data set folder, by name; raises FileNotFoundError where there are none."""
    description = dataset / "dataset.json"
    about = json.loads(description.read_text())["cases"] if description.is_file() else {}
    paths = sorted((dataset / "imagesTr").glob(f"*_{channel:04d}.nii.gz"))
    if not paths:
        raise FileNotFoundError(f"There are no images imagesTr/*_{channel:04d}.nii.gz in {dataset}.")
    for path in paths:
        name = path.name.removesuffix(f"_{channel:04d}.nii.gz")
        patient = str(about.get(name, {}).get("patient", name))
        yield Case(dataset.name, name, patient, path, dataset / "labelsTr" / f"{name}.nii.gz")
