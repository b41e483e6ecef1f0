"""What the store tells of its images and sessions."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from bifseg.imaging.colours import parted
from bifseg.imaging.image import Image


@dataclass(frozen=True)
class ImageRow:
    """An image as the store keeps it: everything but the voxels. Axes (x, y, z), LPS mm as in `bifseg.Image`."""

    key: str
    blob: str
    shape: tuple[int, int, int]
    dtype: str
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[tuple[float, float, float], ...]
    planar: bool
    bytes: int
    created: float
    dicom: str | None  # the blob that holds the series' headers
    calibrated: bool = True
    source: Mapping = field(default_factory=dict)
    colours: bool = False

    @classmethod
    def of(cls, row: sqlite3.Row | Mapping[str, Any]) -> ImageRow:
        geometry = json.loads(row["geometry"])
        return cls(
            row["key"], row["blob"], tuple(geometry["shape"]), geometry["dtype"],
            tuple(geometry["spacing"]), tuple(geometry["origin"]), tuple(map(tuple, geometry["direction"])),
            bool(geometry["planar"]), row["bytes"], row["created"], row["dicom"],
            geometry.get("calibrated", not geometry["planar"]), geometry.get("source", {}),
            geometry.get("colours", False),
        )  # fmt: skip

    @property
    def voxels(self) -> int:
        return prod(self.shape)

    def as_dict(self) -> dict:
        """For people and clients: no names of blobs."""
        return {
            "key": self.key, "shape": list(self.shape), "dtype": self.dtype, "spacing": list(self.spacing),
            "origin": list(self.origin), "direction": [list(row) for row in self.direction], "planar": self.planar,
            "calibrated": self.calibrated, "colours": self.colours,
            "bytes": self.bytes, "created": self.created, "dicom": self.dicom is not None,
        }  # fmt: skip

    def frame(self, array: np.ndarray) -> Image:
        """An image with this geometry; ``array``: as `bifseg.imaging.colours.joined` makes it."""
        array, colours = parted(array)
        return Image(
            array, self.spacing, self.origin, np.array(self.direction), self.planar, self.calibrated, self.source,
            colours,
        )  # fmt: skip


def further(planar: bool, calibrated: bool, source: Mapping, colours: bool) -> dict:
    """What stores of 0.1 did not keep of a geometry, where it is not as they took it to be."""
    known = {} if calibrated != planar else {"calibrated": calibrated}
    return known | ({"source": dict(source)} if source else {}) | ({"colours": True} if colours else {})


def key_of(geometry: str, blob: str, headers: str | None) -> str:
    """What an image is called: by its geometry, as of `geometry_of`, its voxels, and the headers that came with it."""
    return hashlib.sha256(" ".join(filter(None, (geometry, blob, headers))).encode()).hexdigest()


def geometry_of(image: Image) -> str:
    """An image's geometry, type and shape as JSON that is the same for the same image."""
    return json.dumps(
        {
            "shape": list(image.shape), "dtype": image.array.dtype.str, "spacing": list(image.spacing),
            "origin": list(image.origin), "direction": image.direction.tolist(), "planar": image.planar,
            **further(image.planar, image.calibrated, image.source, image.colours is not None),
        },
        sort_keys=True,
    )  # fmt: skip


@dataclass(frozen=True)
class SessionRow:
    """A session as the store keeps it, without its journal."""

    id: str
    owner: str
    image: str
    title: str
    model: str
    parameters: str | dict
    seed: int
    client: str
    created: float
    touched: float

    @classmethod
    def of(cls, row: sqlite3.Row) -> SessionRow:
        return cls(**{**dict(row), "parameters": json.loads(row["parameters"])})

    def as_dict(self) -> dict:
        return dict(vars(self))


def loaded(text: str | None) -> dict | None:
    """JSON in a column that may be empty."""
    return None if text is None else json.loads(text)
