"""What grey levels say: how bright the object is beside what surrounds it, as in GrabCut. Not in the paper."""

from __future__ import annotations

import numpy as np

from bifseg.method.evidence import agreement
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

LEVELS = 64  # bins of the histograms
BLUR = 2.0  # bins, the standard deviation
RARE = 1e-3  # share of a bin that nobody saw
LARGEST = 3.0  # log-odds of a grey level at most
FEWEST, FEWEST_PAINTED = 30, 5  # pixels inside and outside, and of a label's scribbles; fewer are no histogram
LEAST = 0.3  # share of the inside that must be left once what looks like background is taken out


def appearance_evidence(
    image01: np.ndarray, labels: np.ndarray, scribbles: np.ndarray, strength: float
) -> np.ndarray | None:
    """strength * t * log[h_in(X_i) / h_out(X_i)], with h the histograms of what lies in and out.

    Half of a histogram is what was scribbled, where something was, and half what lies safely in or out: what no
    neighbour contradicts. A user paints background where a mask took too much; then what looks like these scribbles
    is taken out of the inside, as much of it as there may be: else the mask would speak for its own mistakes. Not so
    where no foreground is painted, for nothing tells then whether the object looks like them, too; and where nearly
    all of the mask looks so, grey levels say nothing. Foreground that is painted takes nothing out of the outside,
    most of which is right as a rule.

    ``t``, how far grey levels can be trusted, is how much better than chance they tell the two apart, times how much
    better than chance they agree with the scribbles: 0, where they say no more than a coin.

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
    safe = _eroded(labels, border=False), _eroded(~labels, border=True)
    painted = scribbles == FOREGROUND, scribbles == BACKGROUND
    if min(np.count_nonzero(a | b) for a, b in zip(safe, painted, strict=True)) < FEWEST:
        return None
    (mask, around), (foreground, background) = ([_shares(level[where]) for where in two] for two in (safe, painted))
    if mask is not None and foreground is not None and background is not None:
        whole, other = _blurred(mask), _blurred(background)
        rest = (whole - np.minimum(whole, other).sum() * other).clip(0)
        left = mask * rest / np.maximum(whole, RARE * RARE)
        if left.sum() < LEAST:
            return None
        mask = left / left.sum()
    inside, outside = _mean(mask, foreground), _mean(around, background)
    ratio = np.log((_blurred(inside) + RARE) / (_blurred(outside) + RARE)).clip(-LARGEST, LARGEST)
    trust = max(0.0, float(inside[ratio > 0].sum() + outside[ratio <= 0].sum()) - 1)
    if scribbles.any():
        trust *= max(0.0, 2 * agreement(ratio > 0, *(level[where] for where in painted)) - 1)
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


def _shares(levels: np.ndarray) -> np.ndarray | None:
    """How often each level is there; None of too few."""
    return np.bincount(levels, minlength=LEVELS) / len(levels) if len(levels) >= FEWEST_PAINTED else None


def _mean(*histograms: np.ndarray | None) -> np.ndarray:
    """Of those that there are."""
    return np.mean([one for one in histograms if one is not None], axis=0)


def _blurred(shares: np.ndarray) -> np.ndarray:
    reach = int(4 * BLUR)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / BLUR) ** 2)
    return np.convolve(np.pad(shares, reach, mode="edge"), kernel / kernel.sum(), "valid")
