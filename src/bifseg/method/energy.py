"""The energy of a labelling and its exact minimum under scribbles: Eq. 1-7 of the paper, the label update."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bifseg.algorithms.graphcut import GridCut, grid_edges
from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

CERTAIN = 1e-6  # a probability of exactly 0 or 1 would forbid a label for ever: only a scribble may do that


class Energy:
    """E(Y) = sum_i phi(y_i) + lam * sum_{i,j} psi(y_i, y_j) of one crop; its graph is built once.

    phi = -[y log p + (1 - y) log(1 - p)], and psi = [y_i != y_j] exp(-(X_i - X_j)^2 / (2 sigma^2)) / d_ij over
    neighbouring voxels, each unordered pair counted once (Eq. 1-4; Wang et al., IEEE TMI 37(7), 2018).

    Parameters
    ----------
    image01
        (x, y) or (x, y, z), intensities in [0, 1], the scale of ``sigma``. Weights have its precision.
    lam, sigma
        Weight and intensity scale of the pairwise term.
    neighbours
        4 or 8 in 2D; 6, 18 or 26 in 3D.
    spacing
        One length per axis, isotropic when None; d_ij is in units of the smallest.
    colours
        Whether a last axis of ``image01`` is of them; (X_i - X_j)^2 is then the mean of their squared differences.

    Raises
    ------
    InvalidInput
        For intensities outside [0, 1], a negative ``lam`` or a ``sigma`` that is not above 0.

    Examples
    --------
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
        colours: bool = False,
    ):
        image = np.asarray(image01)
        image = image.astype(np.result_type(image.dtype, np.float32), copy=False)
        self.shape = image.shape[:-1] if colours else image.shape
        self._edges = grid_edges(self.shape, neighbours, spacing)
        if not (image.min() >= -CERTAIN and image.max() <= 1 + CERTAIN):
            raise InvalidInput(f"The image has values from {image.min()} to {image.max()}; scale it to [0, 1].")
        if not 0 <= lam < np.inf:
            raise InvalidInput(f"lam is {lam}; it must be finite and 0 or more.")
        if not 0 < sigma < np.inf:
            raise InvalidInput(f"sigma is {sigma}; it must be finite and above 0.")
        self._weights = []
        with np.errstate(over="ignore"):  # a tiny sigma: exp(-inf) is the right 0
            for first, second, distance in self._edges:
                weight = image[first] - image[second]
                weight /= sigma
                weight *= weight
                weight = weight.mean(axis=-1) if colours else weight
                weight *= -0.5
                np.exp(weight, out=weight)
                weight *= lam / distance
                self._weights.append(weight)
        self._cut = GridCut(self.shape, self._edges, self._weights) if lam > 0 else None

    def __call__(self, labels: np.ndarray, probability: np.ndarray) -> float:
        """Eq. 1 for a labelling (True or 1: foreground) and the foreground probabilities of the crop."""
        labels = self._fitting(labels, "labels").astype(bool, copy=False)
        p = self._clipped(probability)
        value = -np.log(np.where(labels, p, 1 - p)).sum()
        for (first, second, _), weight in zip(self._edges, self._weights, strict=True):
            apart = np.flatnonzero(labels[first] != labels[second])  # few, as a rule
            value += weight.reshape(-1)[apart].sum(dtype=float)
        return float(value)

    def label_update(self, probability: np.ndarray, scribbles: np.ndarray | None = None) -> np.ndarray:
        """The labelling of least energy among those that agree with every scribble.

        Eq. 5-7, with Eq. 7 as meant, not as printed: there its two cases are swapped, and the infinite cost falls on
        the label that agrees with the scribble. Here it falls on the label that contradicts it.

        Parameters
        ----------
        probability
            Of the foreground, clipped to [1e-6, 1 - 1e-6].
        scribbles
            0 none, 1 foreground, 2 background.

        Returns
        -------
        ndarray
            bool, True foreground. Of several minima the one with the smallest foreground; with lam = 0, ``probability >
            0.5``.

        Raises
        ------
        InvalidInput
            For arrays of another shape, probabilities outside [0, 1] and other scribble labels.
        """
        p = self._clipped(probability)
        scribbles = self._fitting(np.zeros(self.shape, np.uint8) if scribbles is None else scribbles, "scribbles")
        foreground, background = scribbles == FOREGROUND, scribbles == BACKGROUND
        if not (foreground | background | (scribbles == 0)).all():
            raise InvalidInput(f"The scribbles hold {np.unique(scribbles)}; 0 is none, 1 foreground, 2 background.")
        # Only the difference of the two costs of a voxel decides: phi(0) - phi(1), Eq. 2, against 0.
        cost0, cost1 = np.log(p / (1 - p)), np.zeros(self.shape)
        cost0[foreground] = np.inf
        cost1[background] = np.inf
        labels = self._cut(cost0, cost1) if self._cut else cost1 < cost0
        return (labels | foreground) & ~background  # a guarantee to the user, whatever the arithmetic above

    def _clipped(self, probability: np.ndarray) -> np.ndarray:
        """In double precision: single knows too little of 1 - p where p is almost 1."""
        p = self._fitting(probability, "probability")
        if not (p.min() >= 0 and p.max() <= 1):
            raise InvalidInput(f"The probability runs from {p.min()} to {p.max()}; it must lie in [0, 1].")
        return np.clip(p.astype(float), CERTAIN, 1 - CERTAIN)

    def _fitting(self, array: np.ndarray, name: str) -> np.ndarray:
        array = np.asarray(array)
        if array.shape != self.shape:
            raise InvalidInput(f"Shape {array.shape} given for {name}; the image of this energy has {self.shape}.")
        return array


def fixed_labels(scribbles: np.ndarray, locked: np.ndarray | None) -> np.ndarray:
    """The labels that no cut may change.

    Parameters
    ----------
    scribbles
        uint8: 1 foreground, 2 background, 0 none.
    locked
        bool, of the same shape: finished objects, which are background here; or None.

    Returns
    -------
    ndarray
        uint8, labelled as ``scribbles``.
    """
    return scribbles if locked is None else np.where((scribbles == 0) & locked, np.uint8(BACKGROUND), scribbles)
