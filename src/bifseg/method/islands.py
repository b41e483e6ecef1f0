"""Nothing left over: small islands that nobody painted go, small holes that nobody painted are filled.

Foreground hangs together over faces, edges and corners, so that a thin vessel that runs askew is one piece; background
over faces only. What is small is a share of the object, so that a ring keeps what it surrounds, and a tree its twigs.
"""

from __future__ import annotations

import numpy as np

from bifseg.algorithms.jit import compiled
from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND


def tidy(mask: np.ndarray, fixed: np.ndarray, *, fill_holes: float, drop_islands: float) -> np.ndarray:
    """The mask without small islands and holes.

    Parameters
    ----------
    mask
        bool, (x, y) or (x, y, z), everything in the object's box.
    fixed
        uint8, the same shape: 1 where the user says foreground, 2 background, or another's, 0 free.
    fill_holes
        A hole is filled that the mask encloses within the box (its plane, in 2D), that has no voxel of fixed background
        and is not larger than this share of the mask. 0: none.
    drop_islands
        A piece goes that has no voxel of fixed foreground and is smaller than this share of the largest piece. 0: none.

    Returns
    -------
    ndarray
        bool, a new array unless nothing changes.

    Raises
    ------
    InvalidInput
        For arrays of other shapes and shares outside [0, 1].

    Examples
    --------
    >>> mask = np.ones((9, 9), bool)
    >>> mask[4, 4] = False
    >>> tidy(mask, np.zeros((9, 9), np.uint8), fill_holes=0.1, drop_islands=0).all()
    np.True_
    """
    if mask.shape != fixed.shape or mask.ndim not in (2, 3):
        raise InvalidInput(
            f"A mask of shape {mask.shape} and fixed voxels of shape {fixed.shape}; give the same, 2 or 3."
        )
    for name, share in (("fill_holes", fill_holes), ("drop_islands", drop_islands)):
        if not 0 <= share <= 1:
            raise InvalidInput(f"{name} is {share}; it must lie between 0 and 1.")
    shape = mask.shape
    three = (1,) * (3 - mask.ndim) + shape
    mask, fixed = mask.reshape(three), np.ascontiguousarray(fixed).reshape(three)
    if drop_islands:
        mask = _without_islands(mask, fixed, drop_islands)
    if fill_holes:
        mask = _without_holes(mask, fixed, fill_holes)
    return mask.reshape(shape)


def _without_islands(mask: np.ndarray, fixed: np.ndarray, share: float) -> np.ndarray:
    runs, root = _pieces(mask, True)
    if len(np.unique(root)) < 2:
        return mask
    size = np.bincount(root, weights=runs[:, 3] - runs[:, 2])
    goes = (size < share * size.max()) & ~_held(runs, root, fixed, FOREGROUND)
    return _painted(mask, runs, goes[root], False)


def _without_holes(mask: np.ndarray, fixed: np.ndarray, share: float) -> np.ndarray:
    runs, root = _pieces(mask, False)
    size = np.bincount(root, weights=runs[:, 3] - runs[:, 2])
    open_ = np.zeros(len(size), bool)
    for axis in (axis for axis, n in enumerate(mask.shape) if n > 1):  # a plane has no border across itself
        first, last = (runs[:, 2], runs[:, 3] - 1) if axis == 2 else (runs[:, axis], runs[:, axis])
        open_[root[(first == 0) | (last == mask.shape[axis] - 1)]] = True
    filled = (size <= share * np.count_nonzero(mask)) & ~open_
    if filled[root].any():
        filled &= ~_held(runs, root, fixed, BACKGROUND)
    return _painted(mask, runs, filled[root], True)


def _pieces(mask: np.ndarray, label: bool) -> tuple[np.ndarray, np.ndarray]:
    """The runs of a label along z, (n, 4) rows of x, y, start, stop; and the piece of each, the number of a run."""
    mask = np.ascontiguousarray(mask)
    first = np.zeros(mask.shape[0] * mask.shape[1] + 1, np.int64)
    runs = np.empty((_runs(mask, label, first, np.empty((0, 4), np.int32)), 4), np.int32)  # counted, then written
    _runs(mask, label, first, runs)
    root = np.arange(len(runs))
    _join(runs, first, mask.shape[1], label, root)
    return runs, root


def _held(runs: np.ndarray, root: np.ndarray, fixed: np.ndarray, label: int) -> np.ndarray:
    """Of each piece: has it a voxel of this fixed label?"""
    held = np.zeros(len(root), bool)
    touched = np.zeros(len(runs), bool)
    _touch(runs, fixed, label, touched)
    held[root[touched]] = True
    return held[: root.max(initial=-1) + 1]


def _painted(mask: np.ndarray, runs: np.ndarray, which: np.ndarray, label: bool) -> np.ndarray:
    if not which.any():
        return mask
    mask = mask.copy(order="C")
    _paint(mask, runs[which], label)
    return mask


@compiled("int64(boolean[:,:,::1], int64, int64[::1], int32[:,::1])")
def _runs(mask, label, first, runs):
    """How many runs of a label there are along z; written, in C order, where ``runs`` has room for them.

    ``first``: the number of the first run of each row, and of what comes after the last.
    """
    nx, ny, nz = mask.shape
    count, written = 0, len(runs) > 0
    for i in range(nx):
        for j in range(ny):
            first[i * ny + j] = count
            row = mask[i, j]
            inside = False
            for k in range(nz):
                if (row[k] == label) != inside:
                    inside = not inside
                    if inside:
                        if written:
                            runs[count, 0], runs[count, 1], runs[count, 2] = i, j, k
                        count += 1
                    elif written:
                        runs[count - 1, 3] = k
            if inside and written:
                runs[count - 1, 3] = nz
    first[-1] = count
    return count


@compiled("void(int32[:,::1], int64[::1], int64, int64, int64[::1])")
def _join(runs, first, columns, corners, root):
    """The piece of each run, the smallest number of its runs; ``corners``: joined over edges and corners, too.

    ``root`` begins as the runs' own numbers.
    """
    wide = 1 if corners else 0
    for n in range(len(runs)):
        i, j, start, stop = runs[n, 0], runs[n, 1], runs[n, 2], runs[n, 3]
        for di in range(-1, 1):
            for dj in range(-1, 2):
                before = di < 0 or dj < 0
                if not before or (not corners and di != 0 and dj != 0) or i + di < 0 or not 0 <= j + dj < columns:
                    continue
                row = (i + di) * columns + j + dj
                for m in range(first[row], first[row + 1]):
                    if runs[m, 2] >= stop + wide:
                        break
                    if runs[m, 3] + wide > start:
                        a, b = _root(root, m), _root(root, n)
                        root[max(a, b)] = min(a, b)
    for n in range(len(runs)):
        root[n] = root[root[n]]


@compiled()
def _root(root, n):
    while root[n] != n:
        root[n] = root[root[n]]
        n = root[n]
    return n


@compiled("void(int32[:,::1], uint8[:,:,::1], int64, boolean[::1])")
def _touch(runs, fixed, label, result):
    """Of each run: has it a voxel of the label?"""
    for n in range(len(runs)):
        row = fixed[runs[n, 0], runs[n, 1]]
        for k in range(runs[n, 2], runs[n, 3]):
            if row[k] == label:
                result[n] = True
                break


@compiled("void(boolean[:,:,::1], int32[:,::1], int64)")
def _paint(mask, runs, label):
    for n in range(len(runs)):
        mask[runs[n, 0], runs[n, 1], runs[n, 2] : runs[n, 3]] = label
