"""An image that came with its channels first."""

from __future__ import annotations

import numpy as np

from bifseg.errors import InvalidInput, TooLarge


def channel(array: np.ndarray, voxels: int) -> np.ndarray:
    """An image's one channel (x, y, z) of (channels, x, y, z); of a colour image (x, y, z, 3), red, green, blue."""
    if array.ndim != 4:
        raise InvalidInput(f"The image has the shape {array.shape}; it needs four axes, (channels, x, y, z).")
    if array[0].size > voxels:
        raise TooLarge("The image", f"has {array[0].size} voxels; at most {voxels} are taken.")
    if len(array) in (3, 4) and array.dtype in (np.uint8, np.uint16):
        return np.moveaxis(array[:3], 0, -1)
    if len(array) != 1:
        raise InvalidInput(
            f"The image has {len(array)} channels of {array.dtype}; one, or a colour image, is possible."
        )
    return array[0].astype(np.float32) if array.dtype == np.float16 else array[0]
