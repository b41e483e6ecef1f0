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
STRETCH = 8  # the longest side of a long and thin working grid, in units of its size: bounds what it costs
BLOCK = 1 << 22  # voxels worked on at once: what bounds the memory of everything below

Vector = tuple[float, float, float]  # x, y, z


@dataclass(frozen=True, eq=False, init=False)
class Image:
    """A scan or a label map: an array in file order (x, y, z) and its geometry in LPS millimetres.

    ``array``: (X, Y, Z) real numbers, possibly a read-only view. A 2D array becomes (X, Y, 1) and ``planar``. One of
    colours, (X, Y, Z, 3) uint8 or uint16, is kept as ``colours``, red, green and blue, and ``array`` is its luminance;
    of a grey scan ``colours`` is None.
    ``spacing``: mm between voxel centres along x, y, z; None: unknown, which is computed with as 1.
    ``origin``: mm, the centre of voxel (0, 0, 0). ``direction``: (3, 3); column k is the LPS direction of voxel axis
    k. ``planar``: the file was 2D. ``calibrated``: whether ``spacing`` is in millimetres; else only its ratios mean
    something, and nobody may speak of lengths or volumes. ``source``: what the image's file says beyond that and a
    mask's file has to say again (`bifseg.io.images.write_image`), as JSON.

    Raises InvalidInput for an array or a geometry that no scan can have.

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
        """The same place with another array, or other colours; raises InvalidInput where their shape differs."""
        if np.shape(array) not in (self.shape, (*self.shape, 3)):
            raise InvalidInput(f"The array has the shape {np.shape(array)}; the image has {self.shape}.")
        return replace(self, array=array, colours=None)

    def check_scan(self) -> Image:
        """Itself, if there is something to segment; raises InvalidInput for NaN, infinity or one value."""
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
    slow = _slow_axis(array)
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


def extent(mask: np.ndarray) -> list[tuple[int, int]] | None:
    """First and last + 1 index of what is not 0 along each axis, None where all is 0; looks at every voxel once."""
    slow = _slow_axis(mask)
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


def working_shape(
    shape: Sequence[int], spacing: Sequence[float], size: int, longest: int, *, floor: int = 0
) -> tuple[int, ...]:
    """The grid a crop is resampled to: isotropic in mm, as in BIFSeg (Wang et al. 2018, III-B and III-C).

    ``shape`` voxels and ``spacing`` mm, two or three axes. In 2D the smaller physical side becomes ``size``
    pixels, in 3D the largest becomes ``size`` voxels; no side exceeds ``longest`` (all shrink together) or
    falls below 1.

    ``floor``: how many points a long and thin crop keeps along its shortest side: its grid is finer, but not finer
    than the scan along its finest axis, no side exceeds ``STRETCH * size``, and it has at most ``size`` ** axes points.

    >>> working_shape((100, 200), (1, 1), size=96, longest=256)
    (96, 192)
    >>> working_shape((16, 16, 320), (1, 1, 1), size=48, longest=48, floor=12)
    (12, 12, 240)
    """
    sides = np.multiply(shape, spacing)
    pitch = (sides.min() if len(shape) == 2 else sides.max()) / size
    pitch = max(pitch, sides.max() / longest)
    if sides.min() < floor * pitch:
        most, d = STRETCH * size, len(sides)
        # Sides may fall below 1 point and are then 1, so that the points of the others alone have to fit.
        fits = np.cumprod(np.sort(sides)[::-1]) ** (1 / np.arange(1, d + 1)) / size ** (d / np.arange(1, d + 1))
        finer = max(sides.min() / floor, min(spacing), sides.max() / most, float(fits.max()))
        if finer < pitch:
            pitch, longest = finer, max(longest, most)
    return tuple(int(n) for n in np.clip(np.floor(sides / pitch + 0.5), 1, longest))


Window = Sequence[tuple[float, float]]  # per axis from where to where, in voxels; 0 is where the first voxel begins


def resample(
    array: np.ndarray, shape: Sequence[int], *, dtype: type = np.float32, window: Window | None = None
) -> np.ndarray:
    """Linear interpolation to another grid of the same extent; shrinking smooths, so that nothing aliases.

    ``array``: two or three axes, any memory order; ``shape``: as many; ``dtype``: of the result, floating.
    ``window``: what the new grid covers, if not the whole array; beyond the array its border goes on.
    Voxel centres lie as in PIL's BILINEAR and torch's ``align_corners=False, antialias=True``. An unchanged
    shape gives the array itself, in ``dtype``. Raises InvalidInput for a shape of other axes or an empty one.

    >>> resample(np.array([[0.0, 2.0]]), (1, 4)).tolist()
    [[0.0, 0.5, 1.5, 2.0]]
    """
    shape = _target(array, shape)
    if array.shape == shape and window is None:
        return np.asarray(array, dtype)
    result: np.ndarray = np.empty(shape, dtype, order="F" if _slow_axis(array) else "C")
    for where, block in _blocks(array, shape, [(0, n) for n in shape], window):
        result[where] = block
    return result


def resample_labels(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask on another grid of the same extent: inside where its interpolated indicator reaches one half.

    ``mask``: two or three axes, bool or numbers (non-zero is inside). Returns bool of ``shape``; an unchanged
    shape gives the mask itself.

    >>> resample_labels(np.array([[False, True]]), (1, 4)).tolist()
    [[False, False, True, True]]
    """
    mask, shape = np.asarray(mask, dtype=bool), _target(mask, shape)
    if mask.shape == shape:
        return mask
    result = np.zeros(shape, bool, order="F" if _slow_axis(mask) else "C")
    if (inside := extent(mask)) is None:
        return result
    reached = [_reached(n, m, *ends) for n, m, ends in zip(mask.shape, shape, inside, strict=True)]
    for where, block in _blocks(mask.view(np.uint8), shape, reached):
        np.greater(block, 0.5 - 1e-5, out=result[where])  # a tie is inside, whichever way its weights were rounded
    return result


def _blocks(
    array: np.ndarray, shape: tuple[int, ...], wanted: Sequence[tuple[int, int]], window: Window | None = None
) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """The part ``wanted`` of the resampled array, float32, block by block of its slowest axis: (where, block) pairs.

    What shrinks does so first, and along rows that lie together in memory last; what grows goes the other way round.
    So the least is computed, and a block and what it needs of the input are bounded.
    """
    # Imported here, for it takes half a second that reading an image need not wait.
    from bifseg.algorithms.interpolation import apply, taps

    axes = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]) * (array.shape[axis] > 1))
    inverse = np.argsort(axes)
    moved, where = array.transpose(axes), [slice(*wanted[axis]) for axis in axes]
    sums, read = [], []
    for axis, out in zip(axes, where, strict=True):
        first, weights = taps(array.shape[axis], shape[axis], *(() if window is None else window[axis]))
        first, weights = first[out], weights[out]
        read.append(slice(first[0], first[-1] + weights.shape[1]))
        sums.append((first - first[0], weights))
    moved = moved[tuple(read)]
    slow, *others = range(array.ndim)
    shrinks = [len(first) < n for (first, _), n in zip(sums, moved.shape, strict=True)]
    order = [axis for axis in (*others[:-1], slow, others[-1]) if shrinks[axis]]
    order += [axis for axis in (*others[::-1], slow) if not shrinks[axis]]
    before, after = order[: order.index(slow)], order[order.index(slow) + 1 :]

    first, weights = sums[slow]
    entering, leaving = moved[0].size, int(np.prod([len(sums[axis][0]) for axis in others]))
    step = max(1, (BLOCK >> 4) // max(leaving, entering * len(moved) // len(first)))
    few = max(1, (BLOCK >> 4) // entering)
    for start in range(0, len(first), step):
        low, high = first[start], first[min(start + step, len(first)) - 1] + weights.shape[1]
        parts = []
        for k in range(low, high, few):
            part = moved[k : min(k + few, high)]
            for axis in before:
                part = apply(part, *sums[axis], axis)
            parts.append(part)
        block = parts[0] if len(parts) == 1 else np.concatenate(parts)
        block = apply(block, first[start : start + step] - low, weights[start : start + step], slow)
        for axis in after:
            block = apply(block, *sums[axis], axis)
        here = slice(where[0].start + start, where[0].start + start + len(block))
        at = [here, *where[1:]]
        yield tuple(at[k] for k in inverse), block.transpose(inverse)


def _reached(n: int, m: int, start: int, stop: int) -> tuple[int, int]:
    """Which of m points look at the points from ``start`` to ``stop`` of n: a range."""
    from bifseg.algorithms.interpolation import taps

    first, weights = taps(n, m)
    hit = np.flatnonzero((first < stop) & (first + weights.shape[1] > start))
    return int(hit[0]), int(hit[-1]) + 1


def _slow_axis(array: np.ndarray) -> int:
    """The axis along which neighbours lie farthest apart in memory."""
    return int(np.argmax(np.abs(array.strides) * (np.array(array.shape) > 1)))


def _target(array: np.ndarray, shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(n) for n in shape)
    if len(shape) != np.ndim(array) or min(shape) < 1:
        raise InvalidInput(f"The array of shape {np.shape(array)} cannot be resampled to {shape}.")
    return shape


def _three(values: Sequence[float], name: str) -> Vector:
    three = tuple(float(v) for v in values)
    if len(three) != 3 or not np.isfinite(three).all():
        raise InvalidInput(f"An image has the {name} {three}; it needs three finite numbers (x, y, z).")
    x, y, z = three
    return x, y, z
