"""Random Walks (Grady, IEEE TPAMI 28(11), 2006): the label whose scribbles a walker, who avoids edges, meets first."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array, dia_array
from scipy.sparse.linalg import cg

from bifseg.algorithms.graphcut import grid_edges
from bifseg.baselines.scribbled import Scribbled
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import FOREGROUND

FLOOR = 1e-5  # no edge is closed: with weights of exactly 0 the equation would have no single solution


class RandomWalks(Scribbled):
    """Where the probability of meeting the foreground scribbles before the background's is one half or more.

    A walker steps from pixel i to its neighbour j (4 in 2D, 6 in 3D, as there) with a chance in proportion to
    w_ij = exp(-beta (g_i - g_j)^2), g in [0, 1] (his Eq. 1). The probabilities solve the linear system L_U x = -B^T m
    (his Eq. 8), here by conjugate gradients with Jacobi's preconditioner, begun with the solution of the round before,
    up to a relative residual of ``tolerance``.

    Departs from his experiments, in its favour, in ``beta``: 1000, where he has 90.
    """

    def __init__(self, beta: float = 1000.0, tolerance: float = 1e-3) -> None:
        self.beta, self.tolerance = beta, tolerance

    def _begin(self, grid: Grid) -> None:
        self._laplacian = laplacian(grid.image01, self.beta)
        self._before = np.full(grid.image01.size, 0.5)

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        self._before = meeting_probability(self._laplacian, scribbles.ravel(), self.tolerance, self._before)
        return self._before.reshape(grid.shape)


def laplacian(image01: np.ndarray, beta: float) -> csr_array:
    """The combinatorial Laplacian of the pixel graph (Grady's Eq. 3): (pixels, pixels), in C order of the image."""
    image = np.asarray(image01, float)
    index = np.arange(image.size, dtype=np.int32).reshape(image.shape)
    degree = np.zeros(image.shape)
    heads, tails, values = [index.ravel()], [index.ravel()], [degree.ravel()]  # the diagonal's zeros are filled below
    for first, second, _ in grid_edges(image.shape, 2 * image.ndim):
        weight = np.exp(-beta * (image[first] - image[second]) ** 2) + FLOOR
        degree[first] += weight
        degree[second] += weight
        heads += [index[first].ravel(), index[second].ravel()]
        tails += [index[second].ravel(), index[first].ravel()]
        values += [-weight.ravel()] * 2
    entries = (np.concatenate(values), (np.concatenate(heads), np.concatenate(tails)))
    return csr_array(entries, shape=(image.size, image.size))


def meeting_probability(
    laplacian: csr_array, scribbles: np.ndarray, tolerance: float = 1e-3, guess: np.ndarray | None = None
) -> np.ndarray:
    """The probability, per pixel, that a walker from there meets a foreground scribble first: float64, flat, in [0, 1].

    ``scribbles``: flat labels, 1 foreground, 2 background, at least one of either. ``guess``: where to begin.
    """
    probability = (scribbles == FOREGROUND).astype(float)
    free = scribbles == 0
    if not free.any():
        return probability
    rows = laplacian[np.flatnonzero(free)]
    system, right = rows[:, np.flatnonzero(free)], -(rows @ probability)
    inverse = dia_array((1 / system.diagonal()[None], [0]), shape=system.shape)
    solution, _ = cg(system, right, x0=None if guess is None else guess[free], rtol=tolerance, M=inverse)
    probability[free] = np.clip(solution, 0, 1)
    return probability
