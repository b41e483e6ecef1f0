"""What the 2D network says of the slices of a stack, one by one. Not in the paper.

Slices several times as thick as their pixels are wide look like steps to a 3D network. A 2D network has seen many more
objects, and is at home in every slice; it does not know what lies above and below. Both are asked, and the user's
scribbles say how much the second counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from bifseg.imaging.image import coarsest_axis
from bifseg.imaging.intensity import normalise
from bifseg.imaging.resampling import resample, working_shape
from bifseg.method.classifier import log_odds
from bifseg.method.energy import CERTAIN
from bifseg.method.evidence import agreement
from bifseg.method.grid import LONGEST_2D
from bifseg.networks.checkpoint import Model
from bifseg.networks.execution import write_features
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

THICK = 2.0  # times as thick as their pixels are wide: slices of a stack are at least that
MOST = 24  # slices that are looked at; of more, the answers are interpolated: bounds the time
AT_ONCE = 4  # as many as a picture has views: threads that share a single slice wait for each other most of the time
PRECISION = "float32"  # as the 3D network's: on all CPUs masks in 3D are the same but for rounding
LARGEST = 30.0  # log-odds; beyond them a probability is 0 or 1


def is_stack(spacing: Sequence[float]) -> bool:
    """Whether the slices of a volume are so thick that each is a picture of its own.

    Parameters
    ----------
    spacing
        mm between voxels along each axis.

    Returns
    -------
    bool
        False for two axes.

    Examples
    --------
    >>> is_stack((1.4, 1.4, 8.0)), is_stack((1.0, 1.0, 1.5)), is_stack((1.4, 8.0))
    (True, False, False)
    """
    return len(spacing) == 3 and sorted(spacing)[2] >= THICK * sorted(spacing)[1]


def slices_log_odds(volume: np.ndarray, spacing: Sequence[float], shape: tuple[int, ...], model: Model) -> np.ndarray:
    """A 2D network's log-odds in a volume, from the slices across its thickest axis, each seen as a picture.

    Parameters
    ----------
    volume
        (x, y, z), the content of a box.
    spacing
        mm between its voxels.
    shape
        Of the grid that the answer is for, three axes.
    model
        The 2D one. It sees no slice flipped: what that gains is not worth three times the time.

    Returns
    -------
    ndarray
        Log-odds of the foreground, float32, of this shape.
    """
    across = coarsest_axis(spacing)
    sides = [axis for axis in range(3) if axis != across]
    seen = list(volume.shape)
    seen[across] = min(seen[across], MOST)
    size = model.size
    plane = working_shape([volume.shape[a] for a in sides], [spacing[a] for a in sides], size, size * LONGEST_2D)
    seen[sides[0]], seen[sides[1]] = plane
    slices = np.ascontiguousarray(np.moveaxis(normalise(resample(volume, seen)), across, 0))
    features = torch.empty((AT_ONCE, *plane, model.network.channels))
    answers = np.empty(slices.shape, np.float32)
    for start in range(0, len(slices), AT_ONCE):
        some = torch.from_numpy(slices[start : start + AT_ONCE])[:, None]
        write_features(model.network, some, features[: len(some)], precision=PRECISION)
        odds = log_odds(model.network.classifier, features[: len(some)].flatten(0, -2))
        answers[start : start + AT_ONCE] = odds.numpy().reshape(-1, *plane)
    return resample(np.moveaxis(answers, 0, across), shape)


def share_of_slices(slices: np.ndarray, scribbles: np.ndarray, share: float) -> float:
    """How much slices count once there are scribbles: their share, times how often they are right about scribbles.

    Parameters
    ----------
    slices
        Log-odds, as from `slices_log_odds`.
    scribbles
        uint8 of the same shape: 0 none, 1 foreground, 2 background.
    share
        0 to 1, without any scribble.

    Returns
    -------
    float
        0 to ``share``. Both labels weigh alike; one that nobody scribbled, nothing.
    """
    if not scribbles.any():
        return share
    return share * agreement(slices > 0, scribbles == FOREGROUND, scribbles == BACKGROUND)


def beside_slices(probability: np.ndarray, slices: np.ndarray, share: float) -> np.ndarray:
    """The probability of the foreground whose log-odds are a weighted mean of a network's and of the slices'.

    Parameters
    ----------
    probability
        The network's, float32.
    slices
        Log-odds of the same shape.
    share
        Of the slices, 0 to 1.

    Returns
    -------
    ndarray
        float32.

    Examples
    --------
    >>> beside_slices(np.array([0.9, 0.5]), np.array([-np.log(9), 0.0]), 0.5).round(3).tolist()
    [0.5, 0.5]
    """
    p = np.clip(np.asarray(probability, np.float32), CERTAIN, 1 - CERTAIN)
    odds = (1 - share) * (np.log(p) - np.log1p(-p)) + share * slices
    return (1 / (1 + np.exp(-odds.clip(-LARGEST, LARGEST)))).astype(np.float32)
