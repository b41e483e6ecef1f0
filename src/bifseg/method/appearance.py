"""What grey levels say: how bright the object is beside what surrounds it, as in GrabCut. Not in the paper."""

from __future__ import annotations

import numpy as np

from bifseg.method.evidence import agreement
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

LEVELS = 64  # bins of the histograms
BLUR = 2.0  # bins, the standard deviation
RARE = 1e-3  # share of a bin that nobody saw
LARGEST = 3.0  # log-odds of a grey level at most
FEWEST = 30  # pixels inside and outside; fewer are no histogram


def appearance_evidence(
    image01: np.ndarray, labels: np.ndarray, scribbles: np.ndarray, strength: float
) -> np.ndarray | None:
    """strength * t * log[h_in(X_i) / h_out(X_i)], with h the histograms of what lies safely in and out.

    Safe is what no neighbour contradicts, and what is scribbled. ``t``, how far grey levels can be trusted, is how much
    better than chance they tell the two apart, times how much better than chance they agree with the scribbles: 0,
    where they say no more than a coin. A user paints where a mask is wrong: grey levels that made it wrong lose their
    say.

    Parameters
    ----------
    image01
        (x, y) or (x, y, z), in [0, 1].
    labels
        bool, what is foreground so far.
    scribbles
        uint8: 0 none, 1 foreground, 2 background.
    strength
        How much they say at most.

    Returns
    -------
    ndarray or None
        Log-odds, float32; None where they say nothing.

    References
    ----------
    Rother, Kolmogorov, Blake: GrabCut, ACM Transactions on Graphics 23(3), 2004; there with Gaussian mixtures, and
    always believed.
    """
    if strength <= 0:
        return None
    level = (image01 * (LEVELS - 1) + 0.5).astype(np.uint8)
    inside = _eroded(labels, border=False) | (scribbles == FOREGROUND)
    outside = _eroded(~labels, border=True) | (scribbles == BACKGROUND)
    safe, said = (level[inside], level[outside]), [level[scribbles == label] for label in (FOREGROUND, BACKGROUND)]
    if min(map(len, safe)) < FEWEST:
        return None
    ratio = np.log(_histogram(safe[0]) / _histogram(safe[1])).clip(-LARGEST, LARGEST)
    trust = _beyond_chance(ratio, *safe) * (_beyond_chance(ratio, *said) if scribbles.any() else 1)
    return None if trust == 0 else (strength * trust * ratio).astype(np.float32)[level]


def _eroded(mask: np.ndarray, *, border: bool) -> np.ndarray:
    """Where all neighbours that share a face are of the mask, too; ``border``: whether what is around the image is."""
    result = mask.copy()
    for axis in range(mask.ndim):
        lines, eroded = np.moveaxis(mask, axis, 0), np.moveaxis(result, axis, 0)  # views
        eroded[1:] &= lines[:-1]
        eroded[:-1] &= lines[1:]
        eroded[[0, -1]] &= border
    return result


def _histogram(levels: np.ndarray) -> np.ndarray:
    reach = int(4 * BLUR)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / BLUR) ** 2)
    shares = np.bincount(levels, minlength=LEVELS) / len(levels)
    return np.convolve(np.pad(shares, reach, mode="edge"), kernel / kernel.sum(), "valid") + RARE


def _beyond_chance(ratio: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> float:
    """How much better than a coin the sign of ``ratio`` tells levels inside from levels outside: 0 to 1."""
    return max(0.0, 2 * agreement(ratio > 0, inside, outside) - 1)
