"""How a listening trunk is trained, top to bottom: on a GPU or a CPU, with simulated users in processes of their own.

A trunk that does not listen is trained in the same way, and sees every box once. Many batches are under way at once.
Each is seen several times: from the box alone, then after every round of strokes, which worker processes draw on the
errors of the network's own answer while the device learns from other batches. The order is fixed, so what a batch holds
depends on the seed and on the weights alone. A run that was killed goes on with its weights, moments and clock; only
the boxes under way are drawn anew.

    bifseg train DATA -o bank --pack
    bifseg train bank -o large3d.safetensors --listening large3d --device cuda --bf16 --workers 15 --minutes 9
"""

from __future__ import annotations

import math
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.method.timing import Stopwatch
from bifseg.networks import NETWORKS, build
from bifseg.networks.base import BoxNetwork, some_points
from bifseg.networks.checkpoint import Model, save_model
from bifseg.training.bank import Volume
from bifseg.training.batches import Batches, UnderWay
from bifseg.training.public_sets import LIMITS, origin
from bifseg.training.render import Renderer, Shares
from bifseg.training.run_state import RunState

SAVED_EVERY = 60  # seconds
LOGGED_EVERY = 50  # steps
MEMORY = Path("/dev/shm")  # where files are in memory, if anywhere


@dataclass(frozen=True)
class ListeningRecipe:
    """Everything a run is a function of, but for seed, data and clock.

    ``size``, ``batch``: of boxes; ``under_way``: batches at once; ``rounds``: shares of the boxes that are seen once,
    twice and so on, with more strokes every time; ``average``: decay of the weights that are kept; ``flips``: whether
    the model looks at every box flipped, too.
    """

    architecture: str
    settings: dict[str, Any]
    size: int
    batch: int
    under_way: int = 16
    rounds: tuple[float, ...] = (0, 1 / 3, 1 / 3, 1 / 3)
    rate: float = 1.5e-3
    warm_up: int = 200  # steps
    weight_decay: float = 3e-3
    average: float = 0.999
    shares: Shares = field(default_factory=Shares)
    flips: bool = False

    @property
    def dimension(self) -> int:
        return self.settings.get("dimension") or NETWORKS[self.architecture].dimensions[0]

    @property
    def listens(self) -> bool:
        return "context" in self.settings


RECIPES = {
    "fcn2d": ListeningRecipe(
        "fcn", {"width": 16, "head": 256, "context": 24}, size=112, batch=4, under_way=6, rate=1e-3, average=0.998
    ),
    "multiscale3d": ListeningRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2], "context": 0}, size=48, batch=4,
        under_way=5, rounds=(0.25, 0.3, 0.25, 0.2), rate=1e-3,
    ),
    "halved3d": ListeningRecipe(
        "listening",
        {"dimension": 3, "widths": [24, 64, 112, 112], "blocks": [1, 2, 1], "context": 8, "finest": 2},
        size=48, batch=4, under_way=5, rounds=(0.35, 0.3, 0.2, 0.15), rate=7e-4,
    ),
    "boxes2d": ListeningRecipe(
        "fcn", {"width": 16, "head": 256}, size=128, batch=8, under_way=2, rounds=(1,), rate=5e-4, flips=True
    ),
    "boxes3d": ListeningRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2]}, size=48, batch=4, under_way=2,
        rounds=(1,), rate=1e-3,
    ),
    "large2d": ListeningRecipe(
        "listening", {"dimension": 2, "widths": [16, 32, 64, 128, 192, 192], "blocks": [1, 1, 2, 2, 1], "context": 24},
        size=112, batch=48, rate=2e-3,
    ),
    "large3d": ListeningRecipe(
        "listening", {"dimension": 3, "widths": [16, 32, 64, 112, 160], "blocks": [1, 1, 1, 1], "context": 8},
        size=56, batch=16,
    ),
}  # fmt: skip
"""For a core of a CPU, from weights that do not listen; boxes: trunks that ship, which do not; large: for a GPU."""


@torch.no_grad()
def grow(network: BoxNetwork, smaller: BoxNetwork) -> None:
    """Take over the weights of a network of the same kind that hears less or is narrower, and answer as it does.

    What it knew does not look at what is new; that begins as layers do, and blocks that are new pass on what they get.
    InvalidInput where it is no part of the network.
    """
    known, grown = smaller.state_dict(), network.state_dict()
    for name, old in known.items():
        if (
            name not in grown
            or old.ndim != grown[name].ndim
            or any(a > b for a, b in zip(old.shape, grown[name].shape, strict=True))
        ):
            raise InvalidInput("The network to start from is of another kind than the one to train, or it is wider.")
    for name, own in grown.items():
        if name in known:
            part = tuple(slice(n) for n in known[name].shape)
            if own.ndim > 1:
                own[part[0]] = 0
            own[part] = known[name]


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy and half a soft Dice loss, inside the box: logits (N, 2, ...), truth (N, ...) bool."""
    odds = (logits[:, 1] - logits[:, 0]).flatten(1).float()
    y = truth.flatten(1).float()
    p = odds.sigmoid()
    dice = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(odds, y) + 0.5 * (1 - dice).mean()


def train(
    recipe: ListeningRecipe,
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

    Writes ``output`` (the averaged weights), ``.jsonl`` (the records) and the state to go on from, in four files.
    """
    torch.manual_seed(seed)
    network, average = (build(recipe.architecture, **recipe.settings).to(device) for _ in range(2))
    if start is not None:
        grow(network, start.network)
    layout = torch.channels_last if recipe.dimension == 2 else torch.channels_last_3d
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    average.load_state_dict(network.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=recipe.weight_decay, fused=device != "cpu")
    state = RunState(output)
    step, seconds = state.resume(network, average, optimiser)
    begun = step
    renderer = Renderer(volumes, recipe.dimension, recipe.size, network.context_cells, recipe.shares, device)
    record: dict[str, Any] = {}
    rng = np.random.default_rng((seed, step))
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        batches = Batches(recipe, renderer, workers, Path(folder), seed)
        try:
            number = step * 1000  # of the next batch: a run that goes on draws new ones
            turn = -1
            ring: list[UnderWay | None] = [None] * recipe.under_way
            for slot in range(recipe.under_way):
                ring[slot] = batches.begin(slot, number)
                number += 1
            clock = time.perf_counter() - seconds
            saved = time.perf_counter()
            waiting: tuple[int, torch.Tensor] | None = None  # the last step's slot and masks, not yet looked at
            tally = torch.zeros(len(recipe.rounds), 3, device=device)  # per round: boxes, their Dice, their loss
            skipped = 0  # steps whose gradient was not finite: in bfloat16 one in thousands
            watch = Stopwatch()
            while True:
                seconds = time.perf_counter() - clock
                done = seconds / (60 * minutes)
                if done >= 1 and step > begun:  # a machine may be busy: every run learns something
                    break
                turn += 1
                slot = turn % recipe.under_way
                under_way = cast("UnderWay", ring[slot])
                with watch("wait"):
                    for job in under_way.jobs:
                        job.result()
                    under_way.jobs = []
                with watch("input"):
                    x = batches.input(under_way, device).contiguous(memory_format=layout)
                for group in optimiser.param_groups:
                    group["lr"] = (
                        recipe.rate * min(1, (step + 1) / recipe.warm_up) * 0.5 * (1 + math.cos(math.pi * min(1, done)))
                    )
                points = some_points(under_way.boxes.inside, network.sparse, rng)
                some = slice(None), *points
                truth = under_way.boxes.truth[some]
                with torch.autocast(device, torch.bfloat16, enabled=bf16):
                    logits = network.logits_at(x, points)
                loss = loss_of(logits, truth)
                optimiser.zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                if norm.isfinite():
                    optimiser.step()
                else:
                    skipped += 1
                keep = min(recipe.average, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
                    mask = logits[:, 1] > logits[:, 0]
                    both = (mask & truth).flatten(1).sum(1)
                    dice = 2 * both / (mask.flatten(1).sum(1) + truth.flatten(1).sum(1)).clamp_min(1)
                    tally[under_way.seen] += torch.stack(
                        [dice.new_tensor(len(dice)), dice.sum(), loss.detach().nan_to_num(0, 0, 0) * len(dice)]
                    )
                if waiting is not None:
                    with watch("boxes"):
                        number = _go_on(batches, ring, *waiting, number)
                waiting = slot, _everywhere(mask, network.sparse)
                step += 1
                if step % LOGGED_EVERY == 0:
                    record = _record(step, seconds, tally)
                    spent = {name: round(ms / LOGGED_EVERY, 1) for name, ms in watch.items()}
                    record |= {"skipped": skipped, "milliseconds": spent}
                    tally.zero_()
                    watch.clear()
                    state.log(record)
                    yield record
                    if skipped == LOGGED_EVERY:
                        raise InvalidInput(f"No gradient is finite at step {step}: the learning rate is too high.")
                    skipped = 0
                if time.perf_counter() - saved > SAVED_EVERY:
                    state.save(network, average, optimiser, step, seconds)
                    saved = time.perf_counter()
        finally:
            batches.close()
    state.save(network, average, optimiser, step, seconds)
    data, licence = origin(volumes)
    card = {
        "licence": licence, "data": data, "limits": LIMITS,
        "recipe": asdict(recipe), "seed": seed, "steps": step, "boxes": step * recipe.batch,
        "minutes": round(seconds / 60, 2), "torch": torch.__version__,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "last": record,
    }  # fmt: skip
    if start is not None:
        card["start"] = {"name": start.name, "sha256": start.sha256}
    model = Model(
        output.stem, average, recipe.architecture, recipe.settings, recipe.size, card=card, flips=recipe.flips
    )
    save_model(model, output, half=True)
    yield {"step": step, "seconds": seconds, "finished": True}


def _everywhere(mask: torch.Tensor, step: int) -> torch.Tensor:
    """A mask of `some_points` (N, ...) on all of them."""
    for axis in range(1, mask.ndim):
        mask = mask.repeat_interleave(step, axis)
    return mask


def _go_on(batches: Batches, ring: list, slot: int, mask: torch.Tensor, number: int) -> int:
    """After a step: the batch is shown to the users, or gives way to a new one. Returns the next batch's number."""
    under_way = ring[slot]
    if under_way.seen < under_way.rounds:
        batches.answer(under_way, mask)
        under_way.seen += 1
        return number
    ring[slot] = batches.begin(slot, number)
    return number + 1


def _record(step: int, seconds: float, tally: torch.Tensor) -> dict:
    counts, dice, losses = tally.cpu().double().unbind(1)
    total = float(counts.sum())
    return {
        "step": step, "seconds": round(seconds, 1), "loss": round(float(losses.sum() / max(total, 1)), 5),
        "dice": [round(float(d / c), 4) if c else None for d, c in zip(dice, counts, strict=True)],
    }  # fmt: skip
