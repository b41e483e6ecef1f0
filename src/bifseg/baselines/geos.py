"""GeoS (Criminisi, Sharp & Blake, ECCV 2008): geodesic distances to soft seeds, and masks made smooth along edges."""

from __future__ import annotations

from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter1d

from bifseg.algorithms.geodesic import soft_distance
from bifseg.algorithms.graphcut import grid_edges
from bifseg.baselines.scribbled import Scribbled
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

BINS, BLUR = 64, 2.0  # of the grey levels' histograms; the blur, in bins, lets a short stroke speak for like levels
RARE = 1e-3  # probability added to every bin: no grey level is impossible


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
    one more candidate; distances are exact, not those of two raster scans.
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
        self._edges = [
            (first, second, self.lam * np.exp(-((image[first] - image[second]) ** 2) / (2 * self.sigma**2)) / distance)
            for first, second, distance in grid_edges(grid.shape, 8 if image.ndim == 2 else 6)
        ]

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
        evidence = log_likelihood(grid.image01, foreground) - log_likelihood(grid.image01, background)
        seeds = 1 / (1 + np.exp(evidence / self.mu))
        seeds[foreground], seeds[background] = 0, 1
        to_foreground, to_background = (
            distance(grid.image01, self.nu * soft, self.gamma) for soft in (seeds, 1 - seeds)
        )
        signed = to_foreground - to_background
        masks = [signed < 0, *symmetric_filters(grid.image01, signed, self.thetas, scribbles, self.gamma)]
        masks = [(mask | foreground) & ~background for mask in masks]
        return min(masks, key=lambda mask: self._energy(mask, evidence))

    def _energy(self, mask: np.ndarray, evidence: np.ndarray) -> float:
        """The energy of a mask, up to what all masks of this image share."""
        cut = sum(weight[mask[first] != mask[second]].sum() for first, second, weight in self._edges)
        return float(cut - evidence[mask].sum())


def distance(image01: np.ndarray, prices: np.ndarray, gamma: float) -> np.ndarray:
    """D(x) = min over x' of d(x, x') + prices(x'): float32, all in pixels.

    A step between neighbours (8 in 2D, 26 in 3D) costs hypot(gamma * change, length).
    """
    return soft_distance(image01, prices / gamma, spatial=1 / gamma) * np.float32(gamma)


def symmetric_filters(
    image01: np.ndarray, signed: np.ndarray, thetas: tuple[float, ...], scribbles: np.ndarray, gamma: float
) -> list[np.ndarray]:
    """The mask {signed < 0} after a geodesic opening and closing by every pair of ``thetas``: bool, scribbles kept."""
    foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
    eroded = [((signed < -t) | foreground) & ~background for t in thetas]
    outside = [((signed >= t) | background) & ~foreground for t in thetas]
    inner, outer = ([distance(image01, np.where(m, 0, np.inf), gamma) for m in masks] for masks in (eroded, outside))
    pairs = product(range(len(thetas)), repeat=2)
    return [inner[e] - outer[d] + thetas[d] - thetas[e] < 0 for e, d in pairs]


def log_likelihood(image01: np.ndarray, where: np.ndarray) -> np.ndarray:
    """log p(I) of every pixel, from the histogram of the pixels ``where``: float64."""
    bins = np.minimum((image01 * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins[where], minlength=BINS).astype(float)
    histogram = gaussian_filter1d(counts / counts.sum(), BLUR, mode="nearest") + RARE
    return np.log(histogram / histogram.sum())[bins]
