"""Batches that are under way, and the simulated users in worker processes who scribble on them.

A batch is seen several times: from the boxes alone, then after every round of strokes on the network's own errors.
"""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from bifseg.imaging.intensity import unit_range
from bifseg.networks.guidance import nearness
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.training import simulated_user
from bifseg.training.render import Boxes, Renderer

if TYPE_CHECKING:
    from bifseg.training.train_listening import ListeningRecipe

SCRIBBLED_FIRST = 0.2  # share of boxes that come with scribbles before anything was segmented
FORGOTTEN = 0.25  # share of answers that are not shown to the network as the mask so far


# -- what worker processes do -----------------------------------------------------------------------------------------


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


def _attach(path: Path, places: int, voxels: int) -> None:
    global _arrays
    _arrays = SharedArrays(path, places, voxels)


def _scribble(place: int, shape: tuple[int, ...], key: tuple[int, ...], first: bool) -> None:
    """New strokes on one box: before there is a mask (``first``), or where the mask is wrong."""
    count = math.prod(shape)
    rng = np.random.default_rng(key)
    arrays = cast("SharedArrays", _arrays)  # `_attach` came first
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


# -- a batch under way ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class UnderWay:
    """One batch and how often it was seen; ``places``: of its boxes in the arrays; ``jobs``: strokes being drawn."""

    boxes: Boxes
    places: range
    number: int
    rounds: int
    seen: int = 0
    jobs: list[Future] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(s.stop - s.start for s in self.boxes.inside)


class Batches:
    """Where batches are made, and the simulated users who scribble on them."""

    def __init__(self, recipe: ListeningRecipe, renderer: Renderer, workers: int, folder: Path, seed: int) -> None:
        self.recipe, self.renderer, self.seed = recipe, renderer, seed
        voxels = renderer.most
        self.arrays = SharedArrays.create(folder, recipe.under_way * recipe.batch, voxels)
        context = multiprocessing.get_context("spawn")
        self.users = ProcessPoolExecutor(workers, context, _attach, self.arrays.about)

    def begin(self, slot: int, number: int) -> UnderWay:
        """A fresh batch in a slot of the ring."""
        rng = np.random.default_rng((self.seed, number, 1))
        size = self.recipe.batch
        boxes = self.renderer.batch((self.seed, number, 0), size)
        under_way = UnderWay(
            boxes, range(slot * size, (slot + 1) * size), number, int(rng.integers(1, self.recipe.rounds + 1))
        )
        count = math.prod(under_way.shape)
        inside = (slice(None), *boxes.inside)
        rows = slice(under_way.places.start, under_way.places.stop)
        self.arrays.image[rows, :count] = boxes.images[:, 0][inside].flatten(1).half().cpu().numpy()
        self.arrays.truth[rows, :count] = boxes.truth[inside].flatten(1).byte().cpu().numpy()
        for array in (self.arrays.mask, self.arrays.scribbles):
            array[rows, :count] = 0
        self.arrays.near[rows, :, :count] = 0
        for place in under_way.places:
            if rng.random() < SCRIBBLED_FIRST:
                self._ask(under_way, place, first=True)
        return under_way

    def answer(self, under_way: UnderWay, mask: torch.Tensor) -> None:
        """The network's masks (N, ...) of the boxes: users look at them and correct what is wrong."""
        count = math.prod(under_way.shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        self.arrays.mask[rows, :count] = mask.flatten(1).byte().cpu().numpy()
        for place in under_way.places:
            self._ask(under_way, place, first=False)

    def _ask(self, under_way: UnderWay, place: int, first: bool) -> None:
        key = (self.seed, under_way.number, under_way.seen, place)
        under_way.jobs.append(self.users.submit(_scribble, place, under_way.shape, key, first))

    def input(self, under_way: UnderWay, device: str) -> torch.Tensor:
        """What the network sees of a batch now: (N, 7, ...)."""
        boxes, shape = under_way.boxes, under_way.shape
        count = math.prod(shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        n = len(under_way.places)
        rng = np.random.default_rng((self.seed, under_way.number, under_way.seen, 2))
        maps = np.empty((n, 5, count), np.uint8)
        maps[:, 0] = self.arrays.mask[rows, :count] if under_way.seen else 0
        maps[rng.random(n) < FORGOTTEN, 0] = 0
        maps[:, 1] = self.arrays.scribbles[rows, :count] == FOREGROUND
        maps[:, 2] = self.arrays.scribbles[rows, :count] == BACKGROUND
        maps[:, 3:] = self.arrays.near[rows, :, :count]
        guidance = torch.from_numpy(maps).to(device).float().reshape(n, 5, *shape)
        guidance[:, 3:] /= 255
        x = torch.zeros(n, 7, *boxes.images.shape[2:], device=device)
        x[:, 0] = boxes.images[:, 0]
        within = slice(None), slice(None), *boxes.inside
        inside = x[within]  # a view
        inside[:, 1] = 1
        inside[:, 2:] = guidance
        return x

    def close(self) -> None:
        self.users.shutdown(cancel_futures=True)
