"""From a crop's voxels to a grid of another size, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import BLOCK, extent, slow_axis

STRETCH = 8  # the longest side of a long and thin working grid, in units of its size: bounds what it costs


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
    result: np.ndarray = np.empty(shape, dtype, order="F" if slow_axis(array) else "C")
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
    result = np.zeros(shape, bool, order="F" if slow_axis(mask) else "C")
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
    from bifseg.algorithms.linear_interpolation import apply, taps

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
    from bifseg.algorithms.linear_interpolation import taps

    first, weights = taps(n, m)
    hit = np.flatnonzero((first < stop) & (first + weights.shape[1] > start))
    return int(hit[0]), int(hit[-1]) + 1


def _target(array: np.ndarray, shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(n) for n in shape)
    if len(shape) != np.ndim(array) or min(shape) < 1:
        raise InvalidInput(f"The array of shape {np.shape(array)} cannot be resampled to {shape}.")
    return shape
