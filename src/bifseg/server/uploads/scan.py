"""The image in a stranger's file, and all of it but its voxels as JSON: what a reading process needs, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bifseg.imaging.colours import parted
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.io.formats import Room


def image_from_upload(
    path: Path, voxels: int, size: int, *, series: str | None = None, room: Room | None = None
) -> tuple[Image, bytes | None]:
    """The image in a file that nobody has looked at yet, and the headers of its DICOM series, where it is one; read
    in this process.

    ``path``: a file, or a folder of DICOM slices; ``size``: bytes that it may unpack to; ``room``: as in
    `bifseg.io.formats.ReadOptions`. Raises InvalidInput and TooLarge as `bifseg.io.images.read_upload`.
    """
    return images.read_upload_with_headers(path, voxels=voxels, bytes=size, series=series, room=room)


def geometry_of(image: Image) -> dict:
    """All of an image but its array, as JSON."""
    return {
        "spacing": image.spacing, "origin": image.origin, "direction": image.direction.tolist(),
        "planar": image.planar, "calibrated": image.calibrated, "source": dict(image.source),
    }  # fmt: skip


def placed(array: np.ndarray, geometry: Mapping) -> Image:
    """The image of an array and of what `geometry_of` said."""
    array, colours = parted(array)
    return Image(array, **{**geometry, "direction": np.array(geometry["direction"])}, colours=colours)
