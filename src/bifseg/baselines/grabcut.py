"""GrabCut (Rother et al. 2004) for grey images, 2D and 3D: Gaussian mixtures inside and outside, and a minimum cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bifseg.baselines.scribbled import SIZES
from bifseg.imaging.image import Image
from bifseg.method.energy import Energy
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box

LEVELS = np.linspace(0, 1, 1024)  # the grey levels that a mixture tells apart
NARROWEST = 0.005  # standard deviation of a Gaussian, at least
STRAY = 1e-3  # weight of a uniform density in every mixture: no grey level is impossible
ITERATIONS = 25  # of EM per round, begun with the mixture of the round before


class GrabCut:
    """The box's content against what surrounds it, refined by alternating mixtures and cuts.

    ``components``: Gaussians of the foreground and of the background, (3, 5) as in Wang et al. 2018; ``rounds``: of
    alternation per step at most, fewer if the labels come to rest. The background is learnt from a frame around the
    box as wide as a quarter of it, as the box itself says what is outside; inside, everything is foreground at first.
    In 3D the same on the volume, as there. The energy sum -log p(I | label) + lam * sum over cut edges of
    exp(-change^2 / (2 sigma^2)) / length never rises, as in the original: a round fits the mixtures to the labels,
    then the labels, exactly, to the mixtures.

    Departs from the original in one channel instead of colours, in mixtures fitted by EM instead of hard assignment
    (with a little uniform density, `STRAY`), and in ``lam`` and ``sigma`` of the pairwise term, that of Eq. 1, which
    are fixed on the working grid.
    """

    begins_with = "box"

    def __init__(
        self, components: tuple[int, int] = (3, 5), rounds: int = 2, lam: float = 3.0, sigma: float = 0.1
    ) -> None:
        self.components, self.rounds, self.lam, self.sigma = components, rounds, lam, sigma

    def start(self, image: Image, box: Box) -> np.ndarray:
        """The mask from the box alone: bool (x, y, z), the image's shape."""
        self._image, self._box = image, box
        self._grid = Grid(image, _framed(box, image.shape), *SIZES[box.dimension])
        indicator = np.zeros(image.shape, np.uint8)
        indicator[box.slices] = 1
        self._inside = self._grid.mask_on_grid(indicator[self._grid.box.slices])
        self._level = np.rint(self._grid.image01 * (len(LEVELS) - 1)).astype(int)
        self._energy = Energy(
            self._grid.image01, lam=self.lam, sigma=self.sigma, neighbours=8 if box.dimension == 2 else 6
        )
        self._scribbles = np.zeros(image.shape, np.uint8)
        self._labels = self._inside.copy()
        self._mixtures: list[GreyMixture] = []  # of the foreground and of the background, once there are labels
        return self.refine(self._scribbles)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        """The mask after more scribbles: labels (x, y, z), 1 foreground, 2 background, 0 none."""
        self._scribbles = np.where(scribbles > 0, scribbles, self._scribbles).astype(np.uint8)
        frame = self._grid.box.slices
        fixed = self._grid.scribbles_on_grid(self._scribbles[frame])
        fixed[~self._inside] = BACKGROUND
        self._labels = np.where(fixed > 0, fixed == FOREGROUND, self._labels)
        for _ in range(self.rounds):
            if self._labels.all() or not self._labels.any():
                break
            before, self._labels = self._labels, self._round(fixed)
            if np.array_equal(before, self._labels):
                break
        mask = np.zeros(self._image.shape, bool)
        mask[frame] = self._grid.mask_in_box(self._labels)
        in_box = np.zeros_like(mask)
        in_box[self._box.slices] = mask[self._box.slices]
        in_box[self._scribbles == FOREGROUND], in_box[self._scribbles == BACKGROUND] = True, False
        return in_box

    def _round(self, fixed: np.ndarray) -> np.ndarray:
        """The labels after mixtures and cut are each fitted once; ``fixed``: scribbles and frame, on the grid."""
        counts = [np.bincount(self._level[side], minlength=len(LEVELS)) for side in (self._labels, ~self._labels)]
        if not self._mixtures:
            self._mixtures = [GreyMixture.begun(n, k) for n, k in zip(counts, self.components, strict=True)]
        self._mixtures = [m.fitted(n) for m, n in zip(self._mixtures, counts, strict=True)]
        foreground, background = (m.density() for m in self._mixtures)
        return self._energy.label_update((foreground / (foreground + background))[self._level], fixed)


@dataclass(frozen=True, eq=False)
class GreyMixture:
    """Gaussians over grey levels: their weights, means and variances, all (components,)."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    @classmethod
    def begun(cls, counts: np.ndarray, components: int) -> GreyMixture:
        """Gaussians side by side, each over an equal share of the pixels. ``counts``: pixels of each of `LEVELS`."""
        share = (np.cumsum(counts) - counts / 2) / counts.sum()
        part = np.minimum((share * components).astype(int), components - 1)
        weights, means, variances = np.zeros((3, components))
        for k in range(components):
            mine = np.where(part == k, counts, 0)
            mine = mine if mine.any() else counts
            weights[k], means[k] = mine.sum(), np.average(LEVELS, weights=mine)
            variances[k] = np.average((LEVELS - means[k]) ** 2, weights=mine)
        return cls(weights / weights.sum(), means, np.maximum(variances, NARROWEST**2))

    def fitted(self, counts: np.ndarray, iterations: int = ITERATIONS) -> GreyMixture:
        """The mixture after EM on pixels of each level: their likelihood does not fall."""
        weights, means, variances = self.weights, self.means, self.variances
        for _ in range(iterations):
            parts = GreyMixture(weights, means, variances)._parts()
            shares = counts * parts / (parts.sum(0) + STRAY)
            mass = np.maximum(shares.sum(1), 1e-9)
            means = shares @ LEVELS / mass
            variances = np.maximum((shares * (LEVELS - means[:, None]) ** 2).sum(1) / mass, NARROWEST**2)
            weights = mass / mass.sum()
        return GreyMixture(weights, means, variances)

    def density(self) -> np.ndarray:
        """p of each of `LEVELS`."""
        return self._parts().sum(0) + STRAY

    def _parts(self) -> np.ndarray:
        spread = self.variances[:, None]
        bells = np.exp(-((LEVELS - self.means[:, None]) ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
        return (1 - STRAY) * self.weights[:, None] * bells


def _framed(box: Box, shape: tuple[int, int, int]) -> Box:
    """A box and what surrounds it, a quarter of its extent or two voxels at least, as far as the image goes."""
    wider = [0 if axis == box.plane else max(2, n // 4) for axis, n in enumerate(box.shape)]
    sides = zip(box.start, box.stop, wider, shape, strict=True)
    return Box(*zip(*((max(0, a - w), min(n, b + w)) for a, b, w, n in sides), strict=True))
