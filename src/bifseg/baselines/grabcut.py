"""GrabCut (Rother et al. 2004) for grey images, 2D and 3D: Gaussian mixtures inside and outside, and a minimum cut."""

from __future__ import annotations

import warnings

import numpy as np

from bifseg.energy import Energy
from bifseg.image import Image, resample, resample_labels, unit_range, working_shape
from bifseg.interaction import BACKGROUND, FOREGROUND, Box


class GrabCut:
    """The box's content against what surrounds it, refined by alternating mixtures and cuts.

    ``components``: Gaussians per side. The background is learnt from a frame around the box as wide as a quarter of it,
    as the box itself says what is outside; inside, everything is foreground at first. Needs scikit-learn:
    ``pip install "bifseg[evaluation]"``.
    """

    def __init__(
        self, components: int = 5, rounds: int = 4, lam: float = 3.0, sigma: float = 0.1, seed: int = 0
    ) -> None:
        self.components, self.rounds, self.lam, self.sigma, self.seed = components, rounds, lam, sigma, seed

    def start(self, image: Image, box: Box) -> np.ndarray:
        spacing = [s for axis, s in enumerate(image.spacing) if axis != box.plane]
        wide = Box(
            *zip(
                *[
                    (a, b)
                    if axis == box.plane
                    else (max(0, a - max(2, (b - a) // 4)), min(n, b + max(2, (b - a) // 4)))
                    for axis, (a, b, n) in enumerate(zip(box.start, box.stop, image.shape, strict=True))
                ],
                strict=True,
            )
        )
        native = wide.crop(image.array)
        size = 128 if box.dimension == 2 else 80
        shape = working_shape(native.shape, spacing, size, 3 * size if box.dimension == 2 else size)
        self._image, self._box, self._wide, self._native = image, box, wide, native.shape
        self._array = unit_range(resample(native, shape))
        indicator = np.zeros(image.shape, np.uint8)
        indicator[box.slices] = 1
        self._inside = resample_labels(wide.crop(indicator), shape)
        self._energy = Energy(
            self._array, lam=self.lam, sigma=self.sigma, neighbours=8 if box.dimension == 2 else 6, spacing=None
        )
        self._scribbles = np.zeros(image.shape, np.uint8)
        self._labels = self._inside.copy()
        return self.refine(self._scribbles)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        self._scribbles = np.where(scribbles > 0, scribbles, self._scribbles).astype(np.uint8)
        inside = self._wide.crop(self._scribbles)
        fixed = np.zeros(self._array.shape, np.uint8)
        for label in (FOREGROUND, BACKGROUND):
            where = np.nonzero(inside == label)
            fixed[
                tuple((2 * i + 1) * w // (2 * n) for i, w, n in zip(where, fixed.shape, inside.shape, strict=True))
            ] = label
        fixed[~self._inside] = BACKGROUND
        self._labels = np.where(fixed > 0, fixed == FOREGROUND, self._labels)
        for _ in range(self.rounds):
            if self._labels.all() or not self._labels.any():
                break
            self._labels = self._energy.label_update(self._posterior(), fixed)
        mask = np.zeros(self._image.shape, bool)
        self._wide.crop(mask)[...] = resample_labels(self._labels, self._native)
        kept = np.zeros_like(mask)
        kept[self._box.slices] = mask[self._box.slices]
        kept[self._scribbles == FOREGROUND], kept[self._scribbles == BACKGROUND] = True, False
        return kept

    def _posterior(self) -> np.ndarray:
        """P(foreground) under the two mixtures, fitted to at most 10,000 pixels each."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        rng = np.random.default_rng(self.seed)
        values = self._array.reshape(-1, 1).astype(np.float64)
        scores = []
        for side in (self._labels, ~self._labels):
            sample = values[side.ravel()]
            sample = sample[rng.choice(len(sample), min(len(sample), 10_000), replace=False)]
            count = min(self.components, len(np.unique(sample)))
            mixture = GaussianMixture(count, reg_covar=1e-5, random_state=self.seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                scores.append(mixture.fit(sample).score_samples(values))
        return (1 / (1 + np.exp(np.clip(scores[1] - scores[0], -30, 30)))).reshape(self._array.shape)
