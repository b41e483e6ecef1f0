"""An image with its place in the body, and what brings a crop of it to the network and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from bifseg.errors import InvalidInput
from bifseg.imaging.colours import luminance

FINEST, COARSEST = 1e-7, 1e4  # mm that a voxel may measure: from a tenth of a nanometre to ten metres
FARTHEST = 1e7  # mm
IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
BLOCK = 1 << 22  # voxels worked on at once: what bounds the memory of everything below

Vector = tuple[float, float, float]  # x, y, z


@dataclass(frozen=True, eq=False, init=False)
class Image:
    """A scan or a label map: an array in file order (x, y, z) and its geometry in LPS millimetres.

    Parameters
    ----------
    array
        (X, Y, Z) real numbers, possibly a read-only view; (X, Y) becomes (X, Y, 1) and ``planar``. One of colours, (X,
        Y, Z, 3) uint8 or uint16, is kept as ``colours``, red, green and blue, and ``array`` is its luminance; of a grey
        scan ``colours`` is None.
    spacing
        mm between voxel centres along x, y, z; None: unknown, which is computed with as 1.
    origin
        mm, the centre of voxel (0, 0, 0).
    direction
        (3, 3); column k is the LPS direction of voxel axis k.
    planar
        The file was 2D.
    calibrated
        Whether ``spacing`` is in millimetres; else only its ratios mean something, and nobody may speak of lengths or
        volumes. None: where it is given.
    source
        What the image's file says beyond that and a mask's file has to say again (`bifseg.write_image`), as JSON.
    colours
        Of an image whose ``array`` is their luminance already.

    Raises
    ------
    InvalidInput
        For an array or a geometry that no scan can have.

    Examples
    --------
    >>> Image(np.zeros((4, 5))).shape
    (4, 5, 1)
    >>> Image(np.zeros((4, 5, 1, 3), np.uint8)).colours.shape
    (4, 5, 1, 3)
    """

    array: np.ndarray = field(repr=False)
    spacing: Vector
    origin: Vector
    direction: np.ndarray
    planar: bool
    calibrated: bool
    source: Mapping = field(repr=False)
    colours: np.ndarray | None = field(repr=False)

    def __init__(
        self,
        array: ArrayLike,
        spacing: Sequence[float] | None = None,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        direction: ArrayLike = IDENTITY,
        planar: bool = False,
        calibrated: bool | None = None,
        source: Mapping | None = None,
        colours: np.ndarray | None = None,
    ) -> None:
        array = np.asarray(array)
        if array.ndim == 4 and array.shape[3] == 3:
            array, colours = luminance(array), array
        planar = planar or array.ndim == 2
        if array.ndim == 2:
            array = array[..., None]
        if array.ndim != 3 or 0 in array.shape:
            raise InvalidInput(f"An image has the shape {array.shape}; it needs two or three axes, none empty.")
        if colours is not None and colours.shape != (*array.shape, 3):
            raise InvalidInput(f"The colours have the shape {colours.shape}; the image needs {(*array.shape, 3)}.")
        if planar and array.shape[2] != 1:
            raise InvalidInput(f"A planar image has the shape {array.shape}; it needs a single plane, (x, y, 1).")
        if array.dtype.kind not in "buif" or array.dtype.itemsize > 8:
            raise InvalidInput(f"An image holds {array.dtype}; it needs real numbers of at most 64 bits.")
        if array.dtype == bool:
            array = array.view(np.uint8)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        calibrated = spacing is not None if calibrated is None else calibrated
        spacing = _three((1, 1, 1) if spacing is None else spacing, "spacing")
        origin = _three(origin, "origin")
        if min(spacing) < FINEST or max(spacing) > COARSEST:
            raise InvalidInput(
                f"An image has the spacing {spacing}; it must be positive, from {FINEST:g} to {COARSEST:g} mm."
            )
        if np.abs(origin).max() > FARTHEST:
            raise InvalidInput(f"An image has the origin {origin}; it must lie within {FARTHEST:g} mm.")
        direction = np.array(direction, dtype=float)
        # 1e-3 forgives float32 headers written with few digits, not a tilted gantry.
        if direction.shape != (3, 3) or not np.allclose(direction.T @ direction, np.eye(3), atol=1e-3):
            raise InvalidInput(f"An image has the direction {direction.tolist()}; it needs three orthonormal columns.")
        direction.flags.writeable = False
        for name, value in zip(
            ("array", "spacing", "origin", "direction", "planar", "calibrated", "source", "colours"),
            (array, spacing, origin, direction, planar, bool(calibrated), {} if source is None else source, colours),
            strict=True,
        ):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        return self.array.shape

    @property
    def voxels(self) -> np.ndarray:
        """The colours, (X, Y, Z, 3), of an image that has some, else the array."""
        return self.array if self.colours is None else self.colours

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): voxel index (x, y, z, 1) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction * self.spacing
        affine[:3, 3] = self.origin
        return affine

    def with_array(self, array: np.ndarray) -> Image:
        """The same place with another array, or other colours.

        Parameters
        ----------
        array
            Of the image's shape (x, y, z), or with a last axis of three colours; InvalidInput is raised for another.

        Returns
        -------
        Image
            This one stays as it is.
        """
        if np.shape(array) not in (self.shape, (*self.shape, 3)):
            raise InvalidInput(f"The array has the shape {np.shape(array)}; the image has {self.shape}.")
        return replace(self, array=array, colours=None)

    def check_scan(self) -> Image:
        """Check that there is something to segment.

        Returns
        -------
        Image
            Itself. InvalidInput is raised for NaN, infinity or one value everywhere.
        """
        if bad := count_not_finite(self.array):
            raise InvalidInput(f"The image holds {bad} voxels that are NaN or infinite; all must be finite.")
        first, seen = self.array.flat[0], [self.array]
        if self.colours is not None:  # those of one luminance are told apart
            seen = list(np.moveaxis(self.colours, 3, 0))
        if all((slab == one.flat[0]).all() for one in seen for slab in slabs(one)):  # the first nearly always differs
            raise InvalidInput(f"The image is constant: every voxel is {first}; there is nothing to segment.")
        return self


def slabs(array: np.ndarray) -> Iterator[np.ndarray]:
    """Views that together make up ``array``, cut along its slowest axis, about ``BLOCK`` elements each."""
    slow = slow_axis(array)
    moved = np.moveaxis(array, slow, 0)
    step = max(1, BLOCK // max(1, moved[0].size))
    for start in range(0, len(moved), step):
        yield np.moveaxis(moved[start : start + step], 0, slow)


def count_not_finite(array: np.ndarray) -> int:
    """How many elements are NaN or infinite."""
    if array.dtype.kind != "f":
        return 0
    bad = 0
    for slab in slabs(array):
        with np.errstate(all="ignore"):
            certain = np.isfinite(slab.sum())  # a sum is finite only if all are: one look, no array of answers
        bad += 0 if certain else slab.size - int(np.count_nonzero(np.isfinite(slab)))
    return bad


def slow_axis(array: np.ndarray) -> int:
    """The axis along which neighbours lie farthest apart in memory."""
    return int(np.argmax(np.abs(array.strides) * (np.array(array.shape) > 1)))


def extent(mask: np.ndarray) -> list[tuple[int, int]] | None:
    """First and last + 1 index of what is not 0 along each axis, None where all is 0; looks at every voxel once."""
    slow = slow_axis(mask)
    planes = np.moveaxis(mask, slow, 0)
    used = [k for k, plane in enumerate(planes) if np.count_nonzero(plane)]
    if not used:
        return None
    found = planes[used[0] : used[-1] + 1] != 0
    axes = set(range(mask.ndim))
    hits = [np.flatnonzero(found.any(axis=tuple(axes - {axis}))) for axis in range(1, mask.ndim)]
    ranges = [(int(hit[0]), int(hit[-1]) + 1) for hit in hits]
    ranges.insert(slow, (used[0], used[-1] + 1))
    return ranges


def coarsest_axis(spacing: Sequence[float]) -> int:
    """The axis of the largest spacing, the network's z in 3D; of equal ones the first.

    `slicing_axis` takes the last of equal ones. One rule for both would give isotropic scans other masks, or users
    other slices to draw on, and change the published tables either way: the two stay.

    Examples
    --------
    >>> coarsest_axis((1.0, 2.0, 2.0))
    1
    """
    return int(np.argmax(spacing))


def slicing_axis(spacing: Sequence[float]) -> int:
    """The axis that slices lie across: that of the largest spacing; of equal ones the last, which is axial mostly.

    >>> slicing_axis((1.0, 1.0, 1.0))
    2
    """
    return len(spacing) - 1 - int(np.argmax(spacing[::-1]))


def _three(values: Sequence[float], name: str) -> Vector:
    three = tuple(float(v) for v in values)
    if len(three) != 3 or not np.isfinite(three).all():
        raise InvalidInput(f"An image has the {name} {three}; it needs three finite numbers (x, y, z).")
    x, y, z = three
    return x, y, z
