"""How networks learn beside simulated users, top to bottom: on a GPU or a CPU, users in processes of their own.

A trunk that hears strokes, or whose classifier is fine-tuned to them, sees a box several times, and so does an R-Net;
a trunk that does neither is trained in the same way, and sees it once. Many batches are under way at once.
Each is seen several times: from the box alone, then after every round of strokes, which worker processes draw on the
errors of the network's own answer while the device learns from other batches. The order is fixed, so what a batch holds
depends on the seed and on the weights alone. A run that was killed goes on with its weights, moments and clock; only
the boxes under way are drawn anew.

    bifseg train DATA -o bank --pack
    bifseg train bank -o large3d.safetensors --recipe large3d --device cuda --bf16 --workers 15 --minutes 9
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bifseg.errors import InvalidInput
from bifseg.method.timing import Stopwatch
from bifseg.networks.base import some_points
from bifseg.networks.checkpoint import Model, save_model
from bifseg.training.bank import Volume
from bifseg.training.batches import Batches, UnderWay
from bifseg.training.interactive_recipes import InteractiveRecipe
from bifseg.training.learners import learner_of
from bifseg.training.public_sets import LIMITS, origin
from bifseg.training.render import Renderer
from bifseg.training.run_state import RunState

SAVED_EVERY = 60  # seconds
LOGGED_EVERY = 50  # steps
MEMORY = Path("/dev/shm")  # where files are in memory, if anywhere


class Tally:
    """Dice and loss since the last record, by how often the boxes were seen before; and the steps that were left out,
    which in bfloat16 one in thousands is."""

    def __init__(self, views: int, device: str) -> None:
        self._sums = torch.zeros(views, 3, device=device)  # boxes, their Dice, their loss
        self.skipped = 0

    def add(self, seen: int, mask: torch.Tensor, truth: torch.Tensor, loss: torch.Tensor) -> None:
        """A batch (N, ...) that the network learnt from."""
        both = (mask & truth).flatten(1).sum(1)
        dice = 2 * both / (mask.flatten(1).sum(1) + truth.flatten(1).sum(1)).clamp_min(1)
        self._sums[seen] += torch.stack([dice.new_tensor(len(dice)), dice.sum(), loss * len(dice)])

    def record(self) -> dict[str, Any]:
        """Ready for JSON; begins anew."""
        counts, dice, losses = self._sums.cpu().double().unbind(1)
        told = {
            "loss": round(float(losses.sum() / max(float(counts.sum()), 1)), 5),
            "dice": [round(float(d / c), 4) if c else None for d, c in zip(dice, counts, strict=True)],
            "skipped": self.skipped,
        }
        self._sums.zero_()
        self.skipped = 0
        return told


def train(
    recipe: InteractiveRecipe,
    volumes: list[Volume],
    output: Path,
    *,
    minutes: float,
    device: str = "cpu",
    workers: int = 1,
    seed: int = 0,
    start: Model | None = None,
    bf16: bool = False,
) -> Iterator[dict]:
    """Train for so many minutes in all, earlier runs with this output counted in; yields a record now and then.

    Writes ``output`` (`Learner.model`), ``.jsonl`` (the records) and the state to go on from, in four files.
    """
    torch.manual_seed(seed)
    learner, state = learner_of(recipe, start, device, bf16), RunState(output)
    learner.steps, seconds = state.resume(learner.network, learner.average, learner.optimiser)
    begun, record = learner.steps, {}
    renderer = Renderer(volumes, recipe.dimension, recipe.size, learner.context, recipe.shares, device)
    rng = np.random.default_rng((seed, begun))
    tally, watch = Tally(len(recipe.rounds), device), Stopwatch()
    with (
        tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        closing(Batches(recipe, renderer, workers, Path(folder), seed)) as batches,
    ):
        batches.begin(begun * 1000)  # a run that goes on draws new ones
        clock = time.perf_counter() - seconds
        saved = time.perf_counter()
        answered: tuple[UnderWay, torch.Tensor] | None = None  # the last step's batch and masks, not yet looked at
        # A machine may be busy: every run learns something.
        while (done := (time.perf_counter() - clock) / (60 * minutes)) < 1 or learner.steps == begun:
            with watch("wait"):
                under_way = batches.next()
            points = some_points(under_way.boxes.inside, learner.sparse, rng)
            some = slice(None), *points
            truth = under_way.boxes.truth[some]
            mask, loss, taken = learner.learn(batches, under_way, points, truth, done)
            if taken:
                tally.add(under_way.seen, mask, truth, loss)
            else:
                tally.skipped += 1
            if answered is not None:
                with watch("boxes"):
                    batches.go_on(*answered)
            answered = under_way, _everywhere(mask, learner.sparse)
            seconds = time.perf_counter() - clock
            if learner.steps % LOGGED_EVERY == 0:
                spent = {name: round(ms / LOGGED_EVERY, 1) for name, ms in watch.items()}
                record = {"step": learner.steps, "seconds": round(seconds, 1), **tally.record(), "milliseconds": spent}
                watch.clear()
                state.log(record)
                yield record
                if record["skipped"] == LOGGED_EVERY:
                    raise InvalidInput(f"No gradient is finite at step {learner.steps}: the learning rate is too high.")
            if time.perf_counter() - saved > SAVED_EVERY:
                state.save(learner.network, learner.average, learner.optimiser, learner.steps, seconds)
                saved = time.perf_counter()
    state.save(learner.network, learner.average, learner.optimiser, learner.steps, seconds)
    data, licence = origin(volumes)
    card = {
        "licence": licence, "data": data, "limits": LIMITS,
        "recipe": asdict(recipe), "seed": seed, "steps": learner.steps, "boxes": learner.steps * recipe.batch,
        "minutes": round(seconds / 60, 2), "torch": torch.__version__,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "last": record,
    }  # fmt: skip
    if start is not None:
        card["start"] = {"name": start.name, "sha256": start.sha256}
    save_model(learner.model(output.stem, card), output, half=True)
    yield {"step": learner.steps, "seconds": seconds, "finished": True}


def _everywhere(mask: torch.Tensor, step: int) -> torch.Tensor:
    """A mask of `some_points` (N, ...) on all of them."""
    for axis in range(1, mask.ndim):
        mask = mask.repeat_interleave(step, axis)
    return mask
