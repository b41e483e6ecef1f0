"""Batches that are under way, and the simulated users in worker processes who scribble on them.

A batch is seen several times: from the boxes alone, then after every round of strokes on the network's own errors.
"""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.training.interactive_recipes import InteractiveRecipe
from bifseg.training.render import Boxes, Renderer
from bifseg.training.shared_arrays import SharedArrays, attach, scribble

SCRIBBLED_FIRST = 0.2  # share of boxes that come with scribbles before anything was segmented
AHEAD = 4  # batches that are rendered before they are needed
FORGOTTEN = 0.25  # share of answers that are not shown to the network as the mask so far


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

    def __init__(self, recipe: InteractiveRecipe, renderer: Renderer, workers: int, folder: Path, seed: int) -> None:
        self.recipe, self.renderer, self.seed = recipe, renderer, seed
        voxels = renderer.most
        self.arrays = SharedArrays.create(folder, recipe.under_way * recipe.batch, voxels)
        context = multiprocessing.get_context("spawn")
        self.users = ProcessPoolExecutor(workers, context, attach, self.arrays.about)
        self._painter = ThreadPoolExecutor(1) if renderer.device == "cpu" else None
        self._ahead: dict[int, Future[Boxes]] = {}
        self._ring: list[UnderWay] = []
        self._turn = self._number = 0  # of the batch that is seen next, and of the one that is begun next

    def begin(self, number: int) -> None:
        """Have the first batches under way, those from a number on."""
        self._number = number + self.recipe.under_way
        self._ring = [self.fresh(slot, number + slot) for slot in range(self.recipe.under_way)]

    def next(self) -> UnderWay:
        """The batch whose turn it is, once its strokes are drawn."""
        under_way = self._ring[self._turn % len(self._ring)]
        self._turn += 1
        for job in under_way.jobs:
            job.result()
        under_way.jobs = []
        return under_way

    def go_on(self, under_way: UnderWay, mask: torch.Tensor) -> None:
        """After a step: users look at the network's masks (N, ...) of a batch, or it gives way to a new one."""
        if under_way.seen < under_way.rounds:
            self._answer(under_way, mask)
            under_way.seen += 1
            return
        slot = under_way.places.start // self.recipe.batch
        self._ring[slot] = self.fresh(slot, self._number)
        self._number += 1

    def fresh(self, slot: int, number: int) -> UnderWay:
        """A new batch in a slot of the ring."""
        rng = np.random.default_rng((self.seed, number, 1))
        size = self.recipe.batch
        shares = self.recipe.rounds
        rounds = int(rng.choice(len(shares), p=shares))
        under_way = UnderWay(self._rendered(number), range(slot * size, (slot + 1) * size), number, rounds)
        boxes = under_way.boxes
        if not self.recipe.scribbled:
            return under_way
        count = math.prod(under_way.shape)
        inside = (slice(None), *boxes.inside)
        rows = slice(under_way.places.start, under_way.places.stop)
        self.arrays.image[rows, :count] = boxes.images[:, 0][inside].flatten(1).half().cpu().numpy()
        self.arrays.truth[rows, :count] = boxes.truth[inside].flatten(1).byte().cpu().numpy()
        for array in (self.arrays.mask, self.arrays.scribbles):
            array[rows, :count] = 0
        self.arrays.near[rows, :, :count] = 0
        for place in under_way.places:
            if self.recipe.listens and rng.random() < SCRIBBLED_FIRST:
                self._ask(under_way, place, first=True)
        return under_way

    def _rendered(self, number: int) -> Boxes:
        """The boxes of a batch; on a CPU those of the next ones are made while the network learns."""
        if self._painter is None:
            return self._boxes(number)
        for coming in range(number, number + AHEAD):
            if coming not in self._ahead:
                self._ahead[coming] = self._painter.submit(self._boxes, coming)
        return self._ahead.pop(number).result()

    def _boxes(self, number: int) -> Boxes:
        return self.renderer.batch((self.seed, number, 0), self.recipe.batch)

    def _answer(self, under_way: UnderWay, mask: torch.Tensor) -> None:
        count = math.prod(under_way.shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        self.arrays.mask[rows, :count] = mask.flatten(1).byte().cpu().numpy()
        for place in under_way.places:
            self._ask(under_way, place, first=False)

    def _ask(self, under_way: UnderWay, place: int, first: bool) -> None:
        key = (self.seed, under_way.number, under_way.seen, place)
        under_way.jobs.append(self.users.submit(scribble, place, under_way.shape, key, first))

    def input(self, under_way: UnderWay, device: str) -> torch.Tensor:
        """What a trunk sees of a batch now: (N, 7, ...); of one that does not listen the images, (N, 1, ...)."""
        boxes = under_way.boxes
        if not self.recipe.listens:
            return boxes.images
        x = torch.zeros(len(under_way.places), 7, *boxes.images.shape[2:], device=device)
        x[:, 0] = boxes.images[:, 0]
        within = slice(None), slice(None), *boxes.inside
        inside = x[within]  # a view
        inside[:, 1] = 1
        inside[:, 2:] = self.guidance(under_way, device)
        return x

    def guidance(self, under_way: UnderWay, device: str) -> torch.Tensor:
        """What users said of a batch so far, in its boxes: (N, 5, ...), as `bifseg.networks.guidance.guidance`."""
        count = math.prod(under_way.shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        n = len(under_way.places)
        rng = np.random.default_rng((self.seed, under_way.number, under_way.seen, 2))
        maps = np.empty((n, 5, count), np.uint8)
        maps[:, 0] = self.arrays.mask[rows, :count] if under_way.seen else 0
        maps[rng.random(n) < FORGOTTEN, 0] = 0
        maps[:, 1] = self.arrays.scribbles[rows, :count] == FOREGROUND
        maps[:, 2] = self.arrays.scribbles[rows, :count] == BACKGROUND
        maps[:, 3:] = self.arrays.near[rows, :, :count]
        guidance = torch.from_numpy(maps).to(device).float().reshape(n, 5, *under_way.shape)
        guidance[:, 3:] /= 255
        return guidance

    def strokes(
        self, under_way: UnderWay, points: tuple[slice, ...], device: str
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What users have drawn on a batch, at some points of its boxes: scribbles (N, P), uint8, and how near they
        are (N, 2, P); None where nothing is drawn."""
        count, n = math.prod(under_way.shape), len(under_way.places)
        rows = slice(under_way.places.start, under_way.places.stop)
        scribbles = self.arrays.scribbles[rows, :count].reshape(n, *under_way.shape)
        if not scribbles.any():
            return None
        near = self.arrays.near[rows, :, :count].reshape(n, 2, *under_way.shape)
        some = tuple(
            slice(point.start - box.start, point.stop - box.start, point.step)
            for point, box in zip(points, under_way.boxes.inside, strict=True)
        )
        each = slice(None), *some
        drawn = np.ascontiguousarray(scribbles[each]).reshape(n, -1)
        around = np.stack([near[:, label][each].reshape(n, -1) for label in (0, 1)], axis=1)
        return torch.from_numpy(drawn).to(device), torch.from_numpy(around).to(device).float() / 255

    def close(self) -> None:
        self.users.shutdown(cancel_futures=True)
        if self._painter is not None:
            self._painter.shutdown(cancel_futures=True)
