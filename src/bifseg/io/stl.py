"""STL: the surfaces of objects, for printers and planning, in millimetres of the patient (LPS)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bifseg.errors import CannotWrite, InvalidInput, MissingExtra
from bifseg.imaging.image import Image
from bifseg.io.atomic import write_atomically

NEEDED = 'STL needs scikit-image, which is not installed: pip install "bifseg[mesh]"'
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def check_surface(path: str | Path, image: Image) -> None:
    """Refuse to write surfaces of what has no third axis, or no size that is known."""
    if image.planar:
        raise CannotWrite(path, "STL holds surfaces, and the image is a single plane; write .png or .nii.gz.")
    if not image.calibrated:
        raise CannotWrite(path, "STL is in millimetres, and the image does not tell how large a voxel is.")


def write_stl(
    path: str | Path, labels: np.ndarray, names: Sequence[str], image: Image, headers: bytes | None = None
) -> None:
    """Write the surfaces of all objects as one binary STL, LPS mm, seen from outside; atomic. It holds no names.

    ``labels``: integers (x, y, z) on the voxels of ``image``, 0 is outside. The surface runs halfway between the
    centres of voxels inside and outside. Raises InvalidInput where there is nothing in the labels, CannotWrite for
    a plane and for unknown spacing, MissingExtra where scikit-image is missing.
    """
    from scipy import ndimage  # here, for who writes no surface need not wait for it

    check_surface(path, image)
    labels = np.asarray(labels)
    if labels.shape != image.shape:
        raise InvalidInput(f"The labels have the shape {labels.shape}; the image has {image.shape}.")
    surfaces = [
        _surface(labels[box] == number, [s.start for s in box], image)
        for number, box in enumerate(ndimage.find_objects(labels.astype(np.int32, copy=False)), start=1)
        if box is not None
    ]
    if not surfaces:
        raise InvalidInput("There is nothing to write: the labels are empty.")
    corners = np.concatenate(surfaces)
    triangles = np.zeros(len(corners), TRIANGLE)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    triangles["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    triangles["corners"] = corners
    head = b"bifseg: LPS, mm".ljust(80)
    write_atomically(Path(path), head + np.uint32(len(triangles)).astype("<u4").tobytes() + triangles.tobytes())


def _surface(mask: np.ndarray, start: list[int], image: Image) -> np.ndarray:
    """The triangles (n, 3 corners, 3) around a mask, LPS mm; ``start``: its first voxel."""
    try:
        from skimage.measure import marching_cubes
    except ImportError:
        raise MissingExtra(NEEDED) from None
    places, faces, _, _ = marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5)
    places = (places - 1 + start) @ image.affine[:3, :3].T + image.affine[:3, 3]
    corners = places[faces]
    apart = corners - places[0]
    inside = np.einsum("ij,ij->", apart[:, 0], np.cross(apart[:, 1], apart[:, 2]))  # six volumes, if seen from outside
    return corners[:, ::-1] if inside < 0 else corners
