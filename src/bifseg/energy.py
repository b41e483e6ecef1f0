"""The energy of a labelling and its exact minimum under scribbles: Eq. 1-7 of the paper, the label update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bifseg.graphcut import GridCut, grid_edges
from bifseg.interaction import BACKGROUND, FOREGROUND

CERTAIN = 1e-6  # a probability of exactly 0 or 1 would forbid a label for ever: only a scribble may do that


class Energy:
    """E(Y) = sum_i phi(y_i) + lam * sum_{i,j} psi(y_i, y_j) of one crop; its graph is built once.

    phi = -[y log p + (1 - y) log(1 - p)], and psi = [y_i != y_j] exp(-(X_i - X_j)^2 / (2 sigma^2)) / d_ij over
    neighbouring voxels, each unordered pair counted once (Eq. 1-4; Wang et al., IEEE TMI 37(7), 2018).

    ``image01``: (x, y) or (x, y, z), intensities in [0, 1], the scale of ``sigma``. ``neighbours``: 4 or 8 in
    2D; 6, 18 or 26 in 3D. ``spacing``: one length per axis, isotropic when None; d_ij is in units of the smallest.
    Raises ValueError for intensities outside [0, 1], a negative ``lam`` or a ``sigma`` that is not above 0.

    >>> energy = Energy(np.zeros((3, 3)), lam=1.0, sigma=0.1, neighbours=4)
    >>> probability = np.full((3, 3), 0.9)
    >>> probability[1, 1] = 0.4                        # a hole, which costs 4 edges: more than filling it
    >>> energy.label_update(probability).all()
    np.True_
    """

    def __init__(
        self,
        image01: np.ndarray,
        *,
        lam: float,
        sigma: float,
        neighbours: int,
        spacing: Sequence[float] | None = None,
    ):
        image = np.asarray(image01, dtype=float)
        if not ((image >= -CERTAIN) & (image <= 1 + CERTAIN)).all():
            raise ValueError(f"The image has values from {image.min()} to {image.max()}; scale it to [0, 1].")
        if not 0 <= lam < np.inf:
            raise ValueError(f"lam is {lam}; it must be finite and 0 or more.")
        if not 0 < sigma < np.inf:
            raise ValueError(f"sigma is {sigma}; it must be finite and above 0.")
        self.shape = image.shape
        self._edges = grid_edges(image.shape, neighbours, spacing)
        self._weights = [
            lam * np.exp(-((image[first] - image[second]) ** 2) / (2 * sigma**2)) / distance
            for first, second, distance in self._edges
        ]
        self._cut = GridCut(image.shape, self._edges, self._weights) if lam > 0 else None

    def __call__(self, labels: np.ndarray, probability: np.ndarray) -> float:
        """Eq. 1 for a labelling (True or 1: foreground) and the foreground probabilities of the crop."""
        labels = self._fitting(labels, "labels").astype(bool)
        cost0, cost1 = self._unary(probability)
        pairwise = sum(
            weight[labels[first] != labels[second]].sum()
            for (first, second, _), weight in zip(self._edges, self._weights, strict=True)
        )
        return float(np.where(labels, cost1, cost0).sum() + pairwise)

    def label_update(self, probability: np.ndarray, scribbles: np.ndarray | None = None) -> np.ndarray:
        """The labelling of least energy among those that agree with every scribble: bool, True foreground.

        ``probability``: of the foreground, clipped to [1e-6, 1 - 1e-6]. ``scribbles``: 0 none, 1 foreground,
        2 background. Of several minima, the one with the smallest foreground; with lam = 0, ``probability > 0.5``.
        Raises ValueError for arrays of another shape, probabilities outside [0, 1] and other scribble labels.

        Eq. 5-7, with Eq. 7 as meant, not as printed: there its two cases are swapped, and the infinite cost falls
        on the label that agrees with the scribble. Here it falls on the label that contradicts it.
        """
        cost0, cost1 = self._unary(probability)
        scribbles = self._fitting(np.zeros(self.shape) if scribbles is None else scribbles, "scribbles")
        if not np.isin(scribbles, (0, FOREGROUND, BACKGROUND)).all():
            raise ValueError(f"The scribbles hold {np.unique(scribbles)}; 0 is none, 1 foreground, 2 background.")
        foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
        cost0[foreground] = np.inf
        cost1[background] = np.inf
        labels = self._cut(cost0, cost1) if self._cut else cost1 < cost0
        return (labels | foreground) & ~background  # a guarantee to the user, whatever the arithmetic above

    def _unary(self, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """phi of label 0 and of label 1 (Eq. 2)."""
        p = self._fitting(probability, "probability").astype(float)
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(f"The probability runs from {p.min()} to {p.max()}; it must lie in [0, 1].")
        p = np.clip(p, CERTAIN, 1 - CERTAIN)
        return -np.log1p(-p), -np.log(p)

    def _fitting(self, array: np.ndarray, name: str) -> np.ndarray:
        array = np.asarray(array)
        if array.shape != self.shape:
            raise ValueError(f"Shape {array.shape} given for {name}; the image of this energy has {self.shape}.")
        return array
