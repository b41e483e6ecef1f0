"""GeoS (Criminisi, Sharp & Blake, ECCV 2008): geodesic distances to soft seeds, and masks made smooth along edges."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bifseg.baselines.scribbled import Scribbled
from bifseg.graphcut import grid_edges
from bifseg.grid import Grid
from bifseg.interaction import BACKGROUND, FOREGROUND

BINS, BLUR = 64, 2.0  # of the grey levels' histograms; the blur, in bins, lets a short stroke speak for like levels
RARE = 1e-3  # probability added to every bin: no grey level is impossible
PASSES = 2  # raster scans of a distance transform, as there


class GeoS(Scribbled):
    """The best of a small family of masks, all of them smooth and bound to edges, under likelihoods and edge contrast.

    Grey-level histograms of the scribbles give soft seeds M = 1 / (1 + exp(L / mu)), L = log p(I | foreground) -
    log p(I | background); M is 0 on foreground scribbles and 1 on background's. The geodesic distance to soft seeds is
    D(x; M) = min over x' of d(x, x') + nu M(x'), a step of which costs hypot(gamma * change of I, length); the
    signed distance D_s = D(x; M) - D(x; 1 - M) is negative inside. With M_e = {D_s < -theta_e}, the geodesic erosion,
    and M_d = {D_s < theta_d}, the dilation, the symmetric filter's mask is {D(x; M_e) - D(x; not M_d) + theta_d -
    theta_e < 0}. Among all pairs of ``thetas`` (pixels), the mask of least energy wins:
    sum -log p(I | label) + lam * sum over cut edges of exp(-change^2 / (2 sigma^2)).

    ``gamma``: pixels that an intensity change of the whole range [0, 1] is worth; ``nu``: pixels, how far a scribble
    outdoes grey levels: with 50, grey levels learnt from first short strokes outvote the strokes themselves; ``mu``:
    how much evidence makes a seed firm (5 there). Departs from the original in one channel instead of colours, and in
    its own ``gamma``, ``nu``, ``thetas``, ``lam`` and ``sigma``, set on the working grid; D_s itself, unfiltered, is
    one more candidate.
    """

    def __init__(
        self,
        gamma: float = 100.0,
        nu: float = 1000.0,
        mu: float = 5.0,
        thetas: tuple[float, ...] = (2.0, 5.0, 10.0),
        lam: float = 3.0,
        sigma: float = 0.1,
    ) -> None:
        self.gamma, self.nu, self.mu, self.thetas, self.lam, self.sigma = gamma, nu, mu, thetas, lam, sigma

    def _begin(self, grid: Grid) -> None:
        image = grid.image01.astype(float)
        self._steps = Steps(grid.image01, self.gamma)
        self._edges = [
            (first, second, self.lam * np.exp(-((image[first] - image[second]) ** 2) / (2 * self.sigma**2)) / distance)
            for first, second, distance in grid_edges(grid.shape, 8 if image.ndim == 2 else 6)
        ]

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
        evidence = log_likelihood(grid.image01, foreground) - log_likelihood(grid.image01, background)
        seeds = 1 / (1 + np.exp(evidence / self.mu))
        seeds[foreground], seeds[background] = 0, 1
        to_foreground, to_background = self._steps.distances([self.nu * seeds, self.nu * (1 - seeds)])
        signed = to_foreground - to_background
        masks = [signed < 0, *symmetric_filters(self._steps, signed, self.thetas, scribbles)]
        masks = [(mask | foreground) & ~background for mask in masks]
        return min(masks, key=lambda mask: self._energy(mask, evidence))

    def _energy(self, mask: np.ndarray, evidence: np.ndarray) -> float:
        """The energy of a mask, up to what all masks of this image share."""
        cut = sum(weight[mask[first] != mask[second]].sum() for first, second, weight in self._edges)
        return float(cut - evidence[mask].sum())


def symmetric_filters(
    steps: Steps, signed: np.ndarray, thetas: tuple[float, ...], scribbles: np.ndarray
) -> list[np.ndarray]:
    """The mask {signed < 0} after a geodesic opening and closing by every pair of ``thetas``: bool, scribbles kept."""
    foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
    eroded = [((signed < -t) | foreground) & ~background for t in thetas]
    outside = [((signed >= t) | background) & ~foreground for t in thetas]
    distances = steps.distances([np.where(seeds, 0, np.inf) for seeds in eroded + outside])
    inner, outer = distances[: len(thetas)], distances[len(thetas) :]
    pairs = product(range(len(thetas)), repeat=2)
    return [inner[e] - outer[d] + thetas[d] - thetas[e] < 0 for e, d in pairs]


def log_likelihood(image01: np.ndarray, where: np.ndarray) -> np.ndarray:
    """log p(I) of every pixel, from the histogram of the pixels ``where``: float64."""
    bins = np.minimum((image01 * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins[where], minlength=BINS).astype(float)
    histogram = gaussian_filter1d(counts / counts.sum(), BLUR, mode="nearest") + RARE
    return np.log(histogram / histogram.sum())[bins]


class Steps:
    """What a step between neighbouring pixels (8 in 2D, 26 in 3D) costs: hypot(gamma * change, length), in pixels.

    `bifseg.geodesic.geodesic_distance` computes these costs for each distance; here, many distances share them.
    """

    def __init__(self, image01: np.ndarray, gamma: float) -> None:
        image = np.asarray(image01, np.float32) * np.float32(gamma)
        self.shape = image.shape
        self._offsets = list(product((-1, 0, 1), repeat=image.ndim - 1))
        self._costs = []
        for axis in range(image.ndim):
            planes = np.moveaxis(image, axis, 0)
            rim = [(0, 0)] + [(1, 1)] * (image.ndim - 1)
            before = np.pad(planes[:-1], rim, constant_values=np.inf)
            costs = {}
            for offset in self._offsets:
                cost = np.abs(planes[1:] - before[(slice(None), *_shifted(offset, planes.shape[1:]))])
                cost = np.hypot(cost, np.float32(np.linalg.norm((1, *offset))))
                costs[offset] = np.pad(cost, rim, constant_values=np.inf)
            self._costs.append(costs)

    def distances(self, starts: list[np.ndarray], passes: int | None = PASSES) -> np.ndarray:
        """D(x) = min over x' of d(x, x') + start(x'), for each start: float32 (starts, *shape), in pixels.

        Raster scans along every axis, forward and backward, ``passes`` times; None: until nothing changes.
        """
        distance = np.asarray(starts, np.float32)
        while passes is None or passes > 0:
            before = distance
            for axis in range(len(self.shape)):
                distance = self._scan(distance, axis)
            if np.array_equal(before, distance):
                break
            passes = passes and passes - 1
        return distance

    def _scan(self, distance: np.ndarray, axis: int) -> np.ndarray:
        planes = np.moveaxis(distance, axis + 1, 0)
        flat, across = len(self.shape) - 1, planes.shape[2:]
        planes = np.pad(planes, [(0, 0), (0, 0)] + [(1, 1)] * flat, constant_values=np.inf)
        core = (slice(1, -1),) * flat
        here_shifted = [(o, _shifted(o, across)) for o in self._offsets]
        forward = [((slice(None), *s), self._costs[axis][o][(slice(None), *core)]) for o, s in here_shifted]
        backward = [
            ((slice(None), *s), self._costs[axis][tuple(-d for d in o)][(slice(None, None, -1), *s)])
            for o, s in here_shifted
        ]
        new = np.empty((planes.shape[1], *across), np.float32)
        for ordered, steps in ((planes, forward), (planes[::-1], backward)):
            for k, (before, here) in enumerate(pairwise(ordered)):
                inner = here[(slice(None), *core)]
                for shifted, cost in steps:
                    np.add(before[shifted], cost[k], out=new)
                    np.minimum(inner, new, out=inner)
        return np.moveaxis(planes[(slice(None), slice(None), *core)], 0, axis + 1)


def _shifted(offset: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Where the neighbours at an offset lie in an array padded by one on all sides."""
    return tuple(slice(1 + d, n + 1 + d) for d, n in zip(offset, shape, strict=True))
