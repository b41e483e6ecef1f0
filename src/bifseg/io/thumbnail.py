"""A small picture of a scan, to know it again by: its middle axial slice."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from bifseg.imaging.image import Image
from bifseg.imaging.orientation import axes_of, canonical
from bifseg.io.dicom_display import Display

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SIDE = 128  # pixels of its longer side
LOOKED = 1024  # pixels of a slice, along each side, that are enough to draw it from
SOFT_TISSUE = (-160.0, 240.0)  # Hounsfield units
SHARES = (0.02, 0.995)  # of the slice's values, that are black and white where nothing says so


def thumbnail(image: Image, display: Display) -> bytes:
    """The middle axial slice as radiologists see it, PNG, in colour where the image has colours.

    ``display``: what its file says of its window.
    """
    from PIL import Image as Pillow

    voxels, _ = canonical(image)
    cut = np.asarray(voxels[:, :, voxels.shape[2] // 2])[::-1, ::-1].swapaxes(0, 1)  # the patient's right on the left
    shape = cut.shape
    cut = cut[:: -(-shape[0] // LOOKED), :: -(-shape[1] // LOOKED)]
    if cut.ndim == 2:
        cut = _grey(cut, display)
    elif cut.dtype != np.uint8:
        cut = (cut >> 8).astype(np.uint8)
    across, down = (image.spacing[abs(axis) - 1] for axis in axes_of(image.direction)[:2])
    width, height = shape[1] * across, shape[0] * down
    scale = SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return _png(Pillow.fromarray(np.ascontiguousarray(cut)).resize(size, Pillow.Resampling.BOX))


def png(picture: np.ndarray) -> bytes:
    """A picture (x, y, 1, 3) uint8, y down, as PNG."""
    from PIL import Image as Pillow

    return _png(Pillow.fromarray(np.ascontiguousarray(picture[:, :, 0].swapaxes(0, 1))))


def _png(picture: Picture) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=4)
    return content.getvalue()


def _grey(cut: np.ndarray, display: Display) -> np.ndarray:
    values = cut.astype(np.float32)
    if display.window is not None:
        low, high = display.window
    elif display.unit == "HU":
        low, high = SOFT_TISSUE
    else:
        low, high = np.quantile(values, SHARES).tolist()
        low, high = (low, high) if high > low else (float(values.min()), float(values.max()))
    if display.table is not None:
        place = np.clip(np.rint(values - low), 0, len(display.table) - 1).astype(int)
        grey = np.array(display.table, np.uint8)[place]
        return 255 - grey if display.inverted else grey
    grey = np.clip((values - low) * (255 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    return 255 - grey if display.inverted else grey
