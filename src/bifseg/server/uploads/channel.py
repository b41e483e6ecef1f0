"""The one channel of an image that came with several."""

from __future__ import annotations

import numpy as np

from bifseg.errors import InvalidInput, TooLarge
from bifseg.io.images import LUMINANCE


def channel(array: np.ndarray, voxels: int) -> np.ndarray:
    """An image's one channel (x, y, z) of (channels, x, y, z); the luminance of a colour image."""
    if array.ndim != 4:
        raise InvalidInput(f"The image has the shape {array.shape}; it needs four axes, (channels, x, y, z).")
    if array[0].size > voxels:
        raise TooLarge("The image", f"has {array[0].size} voxels; at most {voxels} are taken.")
    if len(array) in (3, 4) and array.dtype in (np.uint8, np.uint16):
        return sum(weight * channel for weight, channel in zip(LUMINANCE, array, strict=False))
    if len(array) != 1:
        raise InvalidInput(
            f"The image has {len(array)} channels of {array.dtype}; one, or a colour image, is possible."
        )
    return array[0].astype(np.float32) if array.dtype == np.float16 else array[0]
