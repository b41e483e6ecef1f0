"""Arrays that device and simulated users share, and what worker processes do with them: they draw, without torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import numpy as np

from bifseg.imaging.intensity import unit_range
from bifseg.networks.guidance import nearness
from bifseg.prompts.interaction import FOREGROUND
from bifseg.training import simulated_user


class SharedArrays:
    """What device and users share: for every box its intensities, target, mask, scribbles and nearness.

    Arrays in a file that all processes map; a box of any shape takes the first voxels of its place.
    """

    FIELDS = (("image", 2), ("truth", 1), ("mask", 1), ("scribbles", 1), ("near", 2))  # bytes a voxel

    def __init__(self, path: Path, places: int, voxels: int) -> None:
        self.about = path, places, voxels
        memory = np.memmap(path, np.uint8, "r+", shape=(places, sum(n for _, n in self.FIELDS), voxels))
        self.image = memory[:, 0:2].reshape(places, 2 * voxels).view(np.float16)
        self.truth, self.mask, self.scribbles, self.near = memory[:, 2], memory[:, 3], memory[:, 4], memory[:, 5:7]

    @classmethod
    def create(cls, folder: Path, places: int, voxels: int) -> SharedArrays:
        path = folder / "arrays"
        with path.open("wb") as file:
            file.truncate(places * 7 * voxels)
        return cls(path, places, voxels)


_arrays: SharedArrays | None = None


def attach(path: Path, places: int, voxels: int) -> None:
    """In a worker process: map the arrays that it is about to draw in."""
    global _arrays
    _arrays = SharedArrays(path, places, voxels)


def scribble(place: int, shape: tuple[int, ...], key: tuple[int, ...], first: bool) -> None:
    """New strokes on one box: before there is a mask (``first``), or where the mask is wrong."""
    count = math.prod(shape)
    rng = np.random.default_rng(key)
    arrays = cast("SharedArrays", _arrays)  # `attach` came first
    image, target, mask, scribbles = (
        array[place, :count].reshape(shape) for array in (arrays.image, arrays.truth, arrays.mask, arrays.scribbles)
    )
    truth = target > 0
    if first:
        new = simulated_user.begin(rng, truth)
    else:
        old = scribbles.copy()
        shown = np.where(old == 0, mask > 0, old == FOREGROUND)
        mask[...] = shown
        new = simulated_user.correct(rng, old, shown, truth)
    scribbles[...] = new
    near = nearness(unit_range(image.astype(np.float32)), new)
    arrays.near[place, :, :count] = np.rint(255 * near).reshape(2, count)
