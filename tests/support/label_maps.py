"""A label map on a scan's grid, for tests of the command line."""

from pathlib import Path

import numpy as np

from bifseg.io.images import read_image, write_image


def labels_like(scan: Path, path: Path, **strokes: tuple) -> Path:
    """A label map on the scan's grid; ``_k=slices`` paints label k."""
    image = read_image(scan)
    labels = np.zeros(image.shape, np.uint8)
    for label, where in strokes.items():
        labels[where] = int(label[1:])
    write_image(path, labels, image)
    return path
