"""What a scribble says about the voxels around it, and a mask about those that nobody scribbled on. Not in the paper.

All are log-odds: those of a scribble fade with geodesic distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bifseg.algorithms.geodesic import geodesic_distance, soft_distance
from bifseg.errors import InvalidInput
from bifseg.method.energy import CERTAIN
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

STEP = 0.01  # what a voxel's length alone costs on the way: evidence fades in even tissue too
LONG_STEP = 0.003  # the same where evidence does not fade
BORDER = 0.02  # how near a scribble of background lies at the border of the box: what is beyond it is background
NIL = 0.01  # log-odds; less is no evidence, and not searched for (a probability would change by 0.0025 at most)


def scribble_evidence(image01: np.ndarray, scribbles: np.ndarray, strength: float, reach: float) -> np.ndarray | None:
    """strength * [exp(-G(i, S_f) / reach) - exp(-G(i, S_b) / reach)]: what scribbles say of the tissue around them.

    Parameters
    ----------
    image01
        (x, y) or (x, y, z), in [0, 1]; also with colours in a last axis.
    scribbles
        uint8, (x, y) or (x, y, z): 0 none, 1 foreground, 2 background.
    strength
        The log-odds at a scribble itself. Of a scribble, less than ``NIL`` counts as 0.
    reach
        The geodesic distance over which they fall to a third; G counts changes of intensity and a little length.

    Returns
    -------
    ndarray or None
        Log-odds, float32; None where they are 0 everywhere.

    Raises
    ------
    InvalidInput
        For a strength below 0 and a reach that is not above 0.
    """
    if not 0 <= strength < np.inf or not 0 < reach < np.inf:
        raise InvalidInput(f"The evidence has the strength {strength} and the reach {reach}; give >= 0 and > 0.")
    if strength <= NIL or not scribbles.any():
        return None
    limit = reach * np.log(strength / NIL)
    result = np.zeros(scribbles.shape, np.float32)
    for label, sign in ((FOREGROUND, 1), (BACKGROUND, -1)):
        seeds = scribbles == label
        if seeds.any():
            part = geodesic_distance(image01, seeds, limit=limit, spatial=STEP)
            part *= np.float32(-1 / reach)
            result += np.exp(part, out=part) * np.float32(sign * strength)
    return result


class RelativeDistance:
    """How much nearer a voxel lies to one label's scribbles than to the other's: (G_b - G_f) / (G_b + G_f), -1 to 1.

    This is the relative geodesic distance of Bai and Sapiro (ICCV 2007). Unlike `scribble_evidence` it does not fade:
    between two scribbles it changes its sign at an edge, however far they are. The distances of the last scribbles are
    kept, and where scribbles are added only what lies nearest to them is searched; the result does not depend on that.

    Parameters
    ----------
    image01
        As in `scribble_evidence`. On its border lies background, ``BORDER`` away.
    """

    def __init__(self, image01: np.ndarray) -> None:
        self._image01 = image01
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def evidence(self, scribbles: np.ndarray, strength: float, handicap: float = 1.0) -> np.ndarray | None:
        """``strength`` times the relative distance.

        Parameters
        ----------
        scribbles
            As in `scribble_evidence`.
        strength
            The log-odds at a scribble itself.
        handicap
            How many times as far as they are scribbles of foreground count.

        Returns
        -------
        ndarray or None
            Log-odds, float32; None without a scribble of foreground, where the border would say the same everywhere.
        """
        if strength <= 0 or not (scribbles == FOREGROUND).any():
            return None
        nowhere = np.full(scribbles.shape, np.float32(np.inf))
        border = np.full(scribbles.shape, np.float32(BORDER))
        border[(slice(1, -1),) * scribbles.ndim] = np.inf
        with ThreadPoolExecutor(1) as beside:  # it holds no lock
            other = beside.submit(self._distance, BACKGROUND, scribbles, border)
            foreground = np.float32(handicap) * self._distance(FOREGROUND, scribbles, nowhere)
            background = other.result()
        return np.float32(strength) * (background - foreground) / (foreground + background)  # nowhere are both 0

    def _distance(self, label: int, scribbles: np.ndarray, prices: np.ndarray) -> np.ndarray:
        prices[scribbles == label] = 0
        before, known = self._known.get(label, (prices, None))
        if known is not None and (prices > before).any():  # a scribble was taken away, or is of the other label now
            known = None
        distance = soft_distance(self._image01, prices, spatial=LONG_STEP, known=known)
        self._known[label] = prices, distance
        return distance


def sum_of(evidence: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Several pieces of evidence at once.

    Parameters
    ----------
    evidence
        Log-odds of one shape, or None.

    Returns
    -------
    ndarray or None
        Their sum, float32; None where there is none.
    """
    there = [one for one in evidence if one is not None]
    return sum(there[1:], there[0].copy()) if there else None


def with_persistence(evidence: np.ndarray | None, so_far: np.ndarray, strength: float) -> np.ndarray | None:
    """What the mask so far says, beside other evidence: who did not paint somewhere was content with it, as a rule.

    Parameters
    ----------
    evidence
        Log-odds, or None.
    so_far
        bool, the mask that the user saw.
    strength
        Log-odds for what is in the mask, and against what is not.

    Returns
    -------
    ndarray or None
        Their sum, float32; None where it is 0 everywhere.
    """
    if strength <= 0:
        return evidence
    kept = np.where(so_far, np.float32(strength), np.float32(-strength))
    return kept if evidence is None else np.add(kept, evidence, out=kept)


def agreement(positive: np.ndarray, inside: np.ndarray, outside: np.ndarray) -> float:
    """How often an answer is right where the labels are known; both labels weigh alike, one that is nowhere not at all.

    Parameters
    ----------
    positive
        bool, what the answer takes for foreground.
    inside, outside
        Indices into it, or masks of its shape, of what is foreground and background; one of them has a pixel.

    Returns
    -------
    float
        0 to 1; 0.5 is chance.

    Examples
    --------
    >>> agreement(np.array([True, True, False]), np.array([0, 2]), np.array([1]))
    0.25
    """
    known = (positive[inside], True), (positive[outside], False)
    return float(np.mean([np.mean(part == label) for part, label in known if part.size]))


def log_odds_of(probability: np.ndarray) -> np.ndarray:
    """log p / (1 - p), of what is neither surely so nor surely not.

    Parameters
    ----------
    probability
        Of the foreground.

    Returns
    -------
    ndarray
        As precise as the probability.
    """
    p = np.clip(probability, CERTAIN, 1 - CERTAIN)
    return np.log(p / (1 - p))


def with_evidence(probability: np.ndarray, evidence: np.ndarray | None) -> np.ndarray:
    """The probability of the foreground after evidence was added to its log-odds.

    Parameters
    ----------
    probability
        Of the foreground.
    evidence
        Log-odds of the same shape, or None.

    Returns
    -------
    ndarray
        float32; the ``probability`` itself where there is no evidence.

    Examples
    --------
    >>> with_evidence(np.array([0.5, 0.9]), np.array([0.0, -np.log(9)])).round(6).tolist()
    [0.5, 0.5]
    """
    if evidence is None:
        return probability
    p = np.clip(np.asarray(probability, np.float32), CERTAIN, 1 - CERTAIN)
    against = (1 - p) * np.exp(-evidence, dtype=np.float32)
    return np.divide(p, np.add(against, p, out=against), out=against)
