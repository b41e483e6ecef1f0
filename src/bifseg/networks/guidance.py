"""What the user has said, as maps that a listening trunk sees beside the image (DeepIGeoS, Wang et al., TPAMI 2018)."""

from __future__ import annotations

import numpy as np

from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

REACH = 0.1  # geodesic distance over which nearness falls to a third
LIMIT = 5 * REACH  # what is farther away is not near at all
STEP = 0.01  # what the length of one voxel adds to a distance
CHANNELS = ("image", "box", "mask", "object strokes", "background strokes", "near object", "near background")
"""Of a listening trunk's input, in their order. ``mask``: what was segmented before these strokes, or nothing."""


def nearness(image01: np.ndarray, scribbles: np.ndarray) -> np.ndarray:
    """exp(-G / REACH) to the strokes of the object and of the background: float32, (2, ...), 0 where there are none.

    ``image01``: intensities in [0, 1], (x, y) or (x, y, z). ``scribbles``: uint8 of that shape, 1 object, 2 background.
    """
    near = np.zeros((2, *scribbles.shape), np.float32)
    for channel, label in enumerate((FOREGROUND, BACKGROUND)):
        seeds = scribbles == label
        if seeds.any():
            distance = geodesic_distance(image01, seeds, limit=LIMIT, spatial=STEP)
            near[channel] = np.exp(distance * np.float32(-1 / REACH))
    return near


def guidance(image01: np.ndarray, scribbles: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """All channels but image and box: float32, (5, ...) in the order of `CHANNELS`.

    ``mask``: bool, what was segmented so far; None where nothing was.
    """
    so_far = np.zeros(scribbles.shape, bool) if mask is None else mask
    marks = np.stack([so_far, scribbles == FOREGROUND, scribbles == BACKGROUND]).astype(np.float32)
    return np.concatenate([marks, nearness(image01, scribbles)])


def heard(image: np.ndarray, inside: tuple[slice, ...], said: np.ndarray | None = None) -> np.ndarray:
    """The input of a listening trunk: float32, (7, ...), the channels of `CHANNELS`.

    ``image``: normalised, over box and context; ``inside``: where the box lies in it; ``said``: `guidance` in the box;
    None where the user said nothing but the box.
    """
    channels = np.zeros((len(CHANNELS), *image.shape), np.float32)
    channels[0] = image
    box = slice(None), *inside
    channels[box][1] = 1
    if said is not None:
        channels[box][2:] = said
    return channels
