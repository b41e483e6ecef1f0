"""Colours, red, green and blue in an array's last axis, and the luminance that stands for them where one number has to.

A colour image is kept as one array of four numbers a voxel, so that neither is computed again when it is opened.
"""

from __future__ import annotations

import numpy as np

from bifseg.errors import InvalidInput

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R Rec. 601
KINDS = (np.uint8, np.uint16)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Of colours (x, y, z, 3), uint8 or uint16: (x, y, z), rounded, of the same type; InvalidInput for other types."""
    if colours.dtype not in KINDS:
        raise InvalidInput(f"Colours are {colours.dtype}; they need to be uint8 or uint16, red, green and blue.")
    result = np.empty(colours.shape[:-1], colours.dtype, order="F")
    for plane in range(result.shape[-1]):  # so that no volume of float32 stands beside it
        result[..., plane] = np.rint(colours[..., plane, :] @ LUMINANCE)
    return result


def joined(array: np.ndarray, colours: np.ndarray | None) -> np.ndarray:
    """The one array that an image is kept as: of a colour image (x, y, z, 4), the luminance and its colours."""
    if colours is None:
        return array
    together: np.ndarray = np.empty((*array.shape, 4), colours.dtype, order="F")
    together[..., 0], together[..., 1:] = array, colours
    return together


def parted(together: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """What `joined` joined, as views: the array and, of a colour image, its colours.

    Raises InvalidInput for what that cannot have made.
    """
    if together.ndim != 4:
        return together, None
    if together.shape[3] != 4 or together.dtype not in KINDS:
        raise InvalidInput(f"A stored image of {together.dtype} has the shape {together.shape}; it is none.")
    return together[..., 0], together[..., 1:]
