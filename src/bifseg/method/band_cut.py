"""A mask from a coarse grid, cut again on the scan's own voxels: exactly, in a narrow band around its border.

The grid says how likely each place is foreground, the scan where its edges are. Inside the band the labels are the
exact minimum of Eq. 1-4 on the scan's voxels, with the grid's log-odds interpolated; outside it the grid's labels stay
and pull at the band as any neighbour does. The band is as wide as its bound on voxels allows, which bounds time and
memory; but for one look at every voxel, a byte each, neither depends on the size of the box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bifseg.algorithms.graphcut import CEILING, NEIGHBOURHOODS, steps
from bifseg.algorithms.jit import compiled
from bifseg.algorithms.linear_interpolation import taps
from bifseg.algorithms.maxflow import maximum_flow
from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

REACH = 1.0  # half the band's width, in cells of the grid, where the bound on voxels allows it
VOXELS = 150_000  # of the band at most, about
BAND, OUTSIDE = 3, 4  # beside FOREGROUND and BACKGROUND: what a voxel is while labels are sought, and around the box
FAR = 2.5  # cells; beyond, no distance is told apart
LEVELS = 4095  # steps of the window that intensities are rounded to

NUMBERS = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)] + ["float32", "float64"]  # of scans
INTERPOLATED = "int64[::1], float32[:,::1], int64[::1], float32[:,::1], int64[::1], float32[:,::1], float32[::1]"
BUILD = (
    "void({}[:,:,:,:], float64, float64, float64[::1], float64[::1], int64[:,::1], float32[:,:,::1], " + INTERPOLATED
    + ", float64, int64, int64, uint8[::1], int64[::1], int32[::1], int32[:,::1], int32[:,::1], int32[:,::1],"
    " int32[:,:,::1], float64)"
)  # fmt: skip


def band_cut(
    scan: np.ndarray,
    window: tuple[float, float],
    spacing: Sequence[float],
    log_odds: np.ndarray,
    labels: np.ndarray,
    fixed: np.ndarray,
    *,
    lam: float,
    sigma: float,
    reach: float = REACH,
    voxels: int = VOXELS,
) -> np.ndarray:
    """The labels of a box's voxels, cut anew in a band around the border of the grid's labels.

    Neighbours are all 8 or 26, whose cuts are the smoothest; of several minima it is the one with the smallest
    foreground. What is fixed is kept, in the band or not.

    Parameters
    ----------
    scan
        The box's voxels, (x, y) or (x, y, z), any real type; also with colours in a last axis, whose difference is the
        root of the mean of their squared differences.
    window
        The intensities that become 0 and 1, the scale of ``sigma``.
    spacing
        mm, one per axis.
    log_odds, labels
        float and bool, on a grid over the same box.
    fixed
        uint8, the box's shape: 1 foreground, 2 background, 0 free.
    lam
        The weight of the pairwise term, its d_ij in cells of the grid: the same in millimetres however fine the scan
        is.
    sigma
        The intensity scale of the pairwise term, in parts of the window.
    reach
        How far from the grid's border a voxel may lie to be cut anew: in cells, at most 1.5.
    voxels
        About how many the band may have; it is narrower where there would be more.

    Returns
    -------
    ndarray
        bool, the box's shape.

    Raises
    ------
    InvalidInput
        For arrays that do not fit, and a reach that is out of range.
    """
    ndim, shape = log_odds.ndim, scan.shape[: log_odds.ndim]
    fits = len(spacing) == ndim and labels.shape == log_odds.shape and fixed.shape == shape
    if not fits or scan.ndim not in (ndim, ndim + 1):
        raise InvalidInput(
            f"A scan of shape {scan.shape} was given with {len(spacing)} spacings, log-odds {log_odds.shape}, labels "
            f"{labels.shape} and fixed voxels {fixed.shape}; they do not fit."
        )
    if not 0 < reach <= FAR - 1:
        raise InvalidInput(f"The band reaches {reach} cells from the border; it must be above 0 and at most {FAR - 1}.")
    sides = np.multiply(shape, spacing)
    cell = float(np.prod(sides / log_odds.shape) ** (1 / ndim))  # mm; the grid is isotropic but for rounding
    neighbours = NEIGHBOURHOODS[ndim][-1]
    offsets = np.zeros((neighbours // 2, 3), np.int64)
    offsets[:, 3 - ndim :] = steps(ndim, neighbours)
    lengths = np.linalg.norm(offsets[:, 3 - ndim :] * np.asarray(spacing, float), axis=1)
    prices = lam * cell / lengths

    three = (1,) * (3 - ndim)
    shape, grid = (*three, *shape), (*three, *log_odds.shape)
    scan, fixed = scan.reshape((*shape, -1)), np.ascontiguousarray(fixed).reshape(shape)
    distance = np.full(grid, FAR, np.float32)
    _sign_distances(np.ascontiguousarray(labels).reshape(grid), distance)
    width = _width(distance, reach, voxels * distance.size / fixed.size)
    axes = [taps(n, m) for n, m in zip(grid, shape, strict=True)]
    state = np.full([n + 2 for n in shape], OUTSIDE, np.uint8)
    interpolated = (*(array for axis in axes for array in axis), np.empty(grid[2], np.float32))
    count = _survey(distance, *interpolated, np.float32(width), fixed, state)
    if count:
        scale = 2.0 ** np.floor(np.log2(CEILING / (2 * prices.sum() or 1.0)))
        nodes = np.zeros(count + 1, np.int64)
        excess, residual = np.zeros(count + 1, np.int32), np.zeros((neighbours, count + 1), np.int32)
        listed = np.zeros((neighbours, count + 1), np.int32)
        low, high = window
        depth = state[0].size
        numbers = np.zeros((2, depth), np.int32)  # of this plane and the one before
        values = np.zeros((2, depth, scan.shape[-1]), np.int32)
        most = 2 * (prices * scale).sum() + 2 * len(prices)  # what all neighbours together can say against a voxel
        table = np.exp(-0.5 * (np.arange(LEVELS + 1) / LEVELS / sigma) ** 2)
        _build(
            scan, low, LEVELS / (high - low) if high > low else 0.0, table, prices * scale, offsets,
            np.ascontiguousarray(log_odds, np.float32).reshape(grid), *interpolated,
            scale, state.shape[2], depth, state.reshape(-1), nodes, excess, residual, listed, numbers, values, most,
        )  # fmt: skip
        level = maximum_flow(residual, excess, listed, False)
        state.reshape(-1)[nodes[1:]] = np.where(level[1:] > 0, FOREGROUND, BACKGROUND)
    return (state[1:-1, 1:-1, 1:-1] == FOREGROUND).reshape(shape[3 - ndim :])


def _width(distance: np.ndarray, reach: float, cells: float) -> float:
    """Half the band's width, in cells: ``reach``, or what leaves about so many cells of the grid in the band."""
    near = np.abs(distance[np.abs(distance) < reach])
    # A cell whose middle is d from the border reaches from d - 1/2 to d + 1/2.
    covered = lambda width: np.clip(width - near + 0.5, 0, 1).sum()  # noqa: E731
    if covered(reach) <= cells:
        return reach
    low, high = 0.0, reach
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if covered(middle) <= cells else (low, middle)
    return low


@compiled("void(boolean[:,:,::1], float32[:,:,::1])")
def _sign_distances(labels, result):
    """How far each cell is from the border of the labels, in cells, below 0 outside; ``result`` begins as ``FAR``."""
    nx, ny, nz = labels.shape
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                own = labels[i, j, k]
                if not (
                    (i > 0 and labels[i - 1, j, k] != own) or (i < nx - 1 and labels[i + 1, j, k] != own)
                    or (j > 0 and labels[i, j - 1, k] != own) or (j < ny - 1 and labels[i, j + 1, k] != own)
                    or (k > 0 and labels[i, j, k - 1] != own) or (k < nz - 1 and labels[i, j, k + 1] != own)
                ):  # fmt: skip
                    continue
                for x in range(max(i - 1, 0), min(i + 2, nx)):
                    for y in range(max(j - 1, 0), min(j + 2, ny)):
                        for z in range(max(k - 1, 0), min(k + 2, nz)):
                            away = np.float32(0.5 + np.sqrt((x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2))
                            result[x, y, z] = min(result[x, y, z], away)
    for i in range(nx):
        for j in range(ny):
            for k in range(nz):
                if not labels[i, j, k]:
                    result[i, j, k] = -result[i, j, k]


@compiled()
def _row(grid, i, j, first_x, weights_x, first_y, weights_y, row):
    """The grid interpolated along x and y to a row of voxels: what is left is to interpolate along z."""
    for c in range(len(row)):
        row[c] = 0
    for a in range(weights_x.shape[1]):
        for b in range(weights_y.shape[1]):
            weight = weights_x[i, a] * weights_y[j, b]
            if weight != 0:
                source = grid[first_x[i] + a, first_y[j] + b]
                for c in range(len(row)):
                    row[c] += weight * source[c]


@compiled(f"int64(float32[:,:,::1], {INTERPOLATED}, float32, uint8[:,:,::1], uint8[:,:,::1])")
def _survey(distance, first_x, weights_x, first_y, weights_y, first_z, weights_z, row, width, fixed, state):
    """Of every voxel: is it foreground, background or in the band? Returns how many are in the band."""
    nx, ny, nz = fixed.shape
    count = 0
    taps_z = weights_z.shape[1]
    for i in range(nx):
        for j in range(ny):
            _row(distance, i, j, first_x, weights_x, first_y, weights_y, row)
            out = state[i + 1, j + 1, 1:-1]
            low, high = row[0], row[0]
            for c in range(1, len(row)):
                low, high = min(low, row[c]), max(high, row[c])
            k = 0
            if low >= width or high <= -width:  # far from the band, as most rows are
                out[:] = FOREGROUND if low > 0 else BACKGROUND
                k = nz
            while k < nz:  # voxels between the same points of the grid
                at, end = first_z[k], k + 1
                while end < nz and first_z[end] == at:
                    end += 1
                low, high = row[at], row[at]
                for c in range(1, taps_z):
                    low, high = min(low, row[at + c]), max(high, row[at + c])
                if low >= width or high <= -width:
                    for n in range(k, end):
                        out[n] = FOREGROUND if low > 0 else BACKGROUND
                else:
                    for n in range(k, end):
                        d = np.float32(0)
                        for c in range(taps_z):
                            d += weights_z[n, c] * row[at + c]
                        if abs(d) < width:
                            out[n] = BAND
                            count += 1
                        else:
                            out[n] = FOREGROUND if d > 0 else BACKGROUND
                k = end
            said = fixed[i, j]
            for k in range(nz):
                if said[k]:
                    count -= out[k] == BAND
                    out[k] = said[k]
    return count


@compiled(*(BUILD.format(number) for number in NUMBERS))
def _build(
    scan, low, factor, table, prices, offsets,
    log_odds, first_x, weights_x, first_y, weights_y, first_z, weights_z, row,
    scale, width, depth, state, nodes, excess, residual, listed, numbers, values, most,
):  # fmt: skip
    """Number the voxels of the band in C order, and lay out their graph; ``nodes``: where they are in ``state``."""
    nx, ny, nz, colours = scan.shape
    count = 0
    for i in range(nx):
        for j in range(ny):
            ready = False
            for k in range(nz):
                q = (j + 1) * width + k + 1
                v = (i + 1) * depth + q
                if state[v] != BAND:
                    continue
                if not ready:
                    _row(log_odds, i, j, first_x, weights_x, first_y, weights_y, row)
                    ready = True
                own = np.float32(0)
                for c in range(weights_z.shape[1]):
                    own += weights_z[k, c] * row[first_z[k] + c]
                total = _rounded(min(max(own * scale, -most), most))
                count += 1
                nodes[count], numbers[i & 1, q] = v, count
                for c in range(colours):
                    values[i & 1, q, c] = _level(scan[i, j, k, c], low, factor)
                for n in range(len(prices)):
                    di, dj, dk = offsets[n]
                    within = dj * width + dk
                    step = di * depth + within
                    if state[v - step] == BAND:
                        beside = (i - di) & 1
                        other = numbers[beside, q - within]
                        price = _rounded(prices[n] * table[_between(values, i & 1, q, beside, q - within)])
                        residual[2 * n, other] = residual[2 * n + 1, other] = price
                        listed[2 * n, other] = count
                        listed[2 * n + 1, count] = other
                    elif state[v - step] != OUTSIDE:
                        there = _away(values, i & 1, q, scan, i - di, j - dj, k - dk, low, factor)
                        price = _rounded(prices[n] * table[there])
                        total += price if state[v - step] == FOREGROUND else -price
                    if state[v + step] < BAND:
                        there = _away(values, i & 1, q, scan, i + di, j + dj, k + dk, low, factor)
                        price = _rounded(prices[n] * table[there])
                        total += price if state[v + step] == FOREGROUND else -price
                excess[count] = total


@compiled()
def _between(values, plane, q, other, r):
    """How far two voxels are apart, in steps of the window."""
    if values.shape[2] == 1:
        return abs(values[plane, q, 0] - values[other, r, 0])
    total = 0
    for c in range(values.shape[2]):
        total += (values[plane, q, c] - values[other, r, c]) ** 2
    return np.int64(np.sqrt(total / values.shape[2]) + 0.5)


@compiled()
def _away(values, plane, q, scan, i, j, k, low, factor):
    """The same of a voxel and one whose steps are not known yet."""
    if values.shape[2] == 1:
        return abs(values[plane, q, 0] - _level(scan[i, j, k, 0], low, factor))
    total = 0
    for c in range(values.shape[2]):
        total += (values[plane, q, c] - _level(scan[i, j, k, c], low, factor)) ** 2
    return np.int64(np.sqrt(total / values.shape[2]) + 0.5)


@compiled()
def _rounded(price):
    return np.int64(np.rint(price))


@compiled()
def _level(value, low, factor):
    """An intensity in steps of the window, 0 to LEVELS."""
    return np.int64(min(max((value - low) * factor, 0.0), float(LEVELS)) + 0.5)
