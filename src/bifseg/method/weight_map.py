"""Which voxels teach the network, and how much: the weights w(i) of Eq. 13."""

from __future__ import annotations

import numpy as np

from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.errors import InvalidInput
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND


def weight_map(
    probability: np.ndarray,
    labels: np.ndarray,
    scribbles: np.ndarray,
    image01: np.ndarray,
    *,
    t0: float,
    t1: float,
    epsilon: float,
    omega: float,
    unsure: float = 0.0,
    distances: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """w(i): ``omega`` on scribbles, ``unsure`` on U_p and U_s, 1 elsewhere; scribbles win (Eq. 13).

    All arrays are (x, y) or (x, y, z), of one shape.

    Parameters
    ----------
    probability
        Of the foreground.
    labels
        The current ones, True or 1 for foreground.
    scribbles
        0 none, 1 foreground, 2 background.
    image01
        Intensities in [0, 1]; also with colours in a last axis.
    t0, t1
        As in `network_uncertainty`.
    epsilon
        As in `scribble_uncertainty`.
    omega, unsure
        Weights; ``unsure`` is 0 in the paper.
    distances
        `scribble_distances` of these scribbles, exact up to ``epsilon``, if already known: they do not change during
        the rounds of one refinement.

    Returns
    -------
    ndarray
        float32.

    Raises
    ------
    InvalidInput
        For unequal shapes, ``omega`` or ``unsure`` below 0, and as the functions below.
    """
    if not (0 <= omega < np.inf and 0 <= unsure < np.inf):
        raise InvalidInput(f"omega is {omega} and unsure is {unsure}; both must be finite and 0 or more.")
    probability, labels, scribbles, image01 = map(np.asarray, (probability, labels, scribbles, image01))
    shapes = {a.shape for a in (probability, labels, scribbles, *(distances or ()))} | {image01.shape[: labels.ndim]}
    if len(shapes) > 1:
        raise InvalidInput(f"The arrays have the shapes {sorted(shapes)}; all must have the same.")
    if distances is None:
        distances = scribble_distances(image01, scribbles)
    doubtful = network_uncertainty(probability, t0, t1)
    doubtful |= scribble_uncertainty(labels, scribbles, distances, epsilon)
    weights = np.where(doubtful, np.float32(unsure), np.float32(1))
    np.copyto(weights, omega, where=scribbles != 0)
    return weights


def network_uncertainty(probability: np.ndarray, t0: float, t1: float) -> np.ndarray:
    """U_p = {t0 < p < t1}: where the network is undecided.

    Parameters
    ----------
    probability
        Of the foreground, any shape.
    t0, t1
        0 <= t0 <= t1 <= 1; InvalidInput is raised for others.

    Returns
    -------
    ndarray
        bool; empty for t0 = t1.
    """
    if not 0 <= t0 <= t1 <= 1:
        raise InvalidInput(f"t0 is {t0} and t1 is {t1}; they must satisfy 0 <= t0 <= t1 <= 1.")
    return (probability > t0) & (probability < t1)


def scribble_uncertainty(
    labels: np.ndarray, scribbles: np.ndarray, distances: tuple[np.ndarray, np.ndarray], epsilon: float
) -> np.ndarray:
    """U_s: background near a foreground scribble, and foreground near a background one.

    U_s = {i not in S, G(i, S_f) < epsilon, y_i = 0} + {i not in S, G(i, S_b) < epsilon, y_i = 1}.

    Parameters
    ----------
    labels
        The current ones, True or 1 for foreground.
    scribbles
        0 none, 1 foreground, 2 background.
    distances
        From `scribble_distances`.
    epsilon
        A geodesic distance; InvalidInput is raised for one below 0.

    Returns
    -------
    ndarray
        bool; empty for epsilon = 0.
    """
    if not epsilon >= 0:
        raise InvalidInput(f"epsilon is {epsilon}; it must be 0 or more.")
    to_foreground, to_background = distances
    foreground = np.asarray(labels).astype(bool)
    doubtful = np.where(foreground, to_background, to_foreground) < epsilon
    return doubtful & (scribbles == 0)


def scribble_distances(
    image01: np.ndarray, scribbles: np.ndarray, limit: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """G(i, S_f) and G(i, S_b): the geodesic distances to the foreground and the background scribbles.

    Parameters
    ----------
    image01
        Intensities in [0, 1], (x, y) or (x, y, z).
    scribbles
        0 none, 1 foreground, 2 background.
    limit
        U_s asks only for {G < epsilon}: a limit of epsilon gives the same U_s in a fraction of the time.

    Returns
    -------
    tuple of ndarray
        Infinite from ``limit`` on, and where there is no such scribble, so that it makes no voxel uncertain.
    """
    to_foreground, to_background = (
        geodesic_distance(image01, np.equal(scribbles, label), limit=limit) for label in (FOREGROUND, BACKGROUND)
    )
    return to_foreground, to_background
