"""How a listening trunk is trained, top to bottom: on a GPU or a CPU, with simulated hands in processes of their own.

Many batches are under way at once. Each is seen several times: from the box alone, then after every round of strokes,
which worker processes draw on the errors of the network's own answer while the device learns from other batches.
The order is fixed, so what a batch holds depends on the seed and on the weights alone. A run that was killed goes on
with its weights, moments and clock; only the boxes under way are drawn anew.

    bifseg train DATA -o bank --pack
    bifseg train bank -o large3d.safetensors --listening large3d --device cuda --bf16 --workers 15 --minutes 9
"""

from __future__ import annotations

import json
import math
import multiprocessing
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch.nn import functional as F

from bifseg.imaging.image import unit_range
from bifseg.io.atomic import write_atomically
from bifseg.method.timing import Stopwatch
from bifseg.networks import NETWORKS, build
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model, save_model
from bifseg.networks.guidance import nearness
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.training import hands
from bifseg.training.bank import Volume
from bifseg.training.render import Boxes, Renderer, Shares

SCRIBBLED_FIRST = 0.2  # share of boxes that come with scribbles before anything was segmented
FORGOTTEN = 0.25  # share of answers that are not shown to the network as the mask so far
SAVED_EVERY = 60  # seconds
MEMORY = Path("/dev/shm")  # where files are in memory, if anywhere


@dataclass(frozen=True)
class Recipe:
    """Everything a run is a function of, but for seed, data and clock.

    ``size``, ``batch``: of boxes; ``under_way``: batches at once; ``rounds``: a box is seen at most so often after
    the first time; ``average``: decay of the weights that are kept.
    """

    architecture: str
    settings: dict[str, Any]
    size: int
    batch: int
    under_way: int = 16
    rounds: int = 3
    rate: float = 1.5e-3
    warm_up: int = 200  # steps
    weight_decay: float = 3e-3
    average: float = 0.999
    shares: Shares = field(default_factory=Shares)

    @property
    def dimension(self) -> int:
        return self.settings.get("dimension") or NETWORKS[self.architecture].dimensions[0]


RECIPES = {
    "fcn2d": Recipe(
        "fcn", {"width": 16, "head": 256, "context": 24}, size=112, batch=4, under_way=6, rate=1e-3, average=0.998
    ),
    "multiscale3d": Recipe(
        "multiscale", {"dimension": 3, "widths": [8, 24, 48, 96], "context": 8}, size=48, batch=3, under_way=6,
        average=0.998,
    ),
    "large2d": Recipe(
        "listening", {"dimension": 2, "widths": [16, 32, 64, 128, 192, 192], "blocks": [1, 1, 2, 2, 1], "context": 24},
        size=112, batch=48, rate=2e-3,
    ),
    "large3d": Recipe(
        "listening", {"dimension": 3, "widths": [16, 32, 64, 112, 160], "blocks": [1, 1, 1, 1], "context": 8},
        size=56, batch=16,
    ),
}  # fmt: skip
"""For a core of a CPU, starting from weights that do not listen; and, large, for a GPU."""


# -- what worker processes do -----------------------------------------------------------------------------------------


class Desk:
    """What the device and the hands share: for every box its intensities, target, mask, scribbles and nearness.

    Arrays in a file that all processes map; a box of any shape takes the first voxels of its place.
    """

    FIELDS = (("image", 2), ("truth", 1), ("mask", 1), ("scribbles", 1), ("near", 2))  # bytes a voxel

    def __init__(self, path: Path, places: int, voxels: int) -> None:
        self.about = path, places, voxels
        memory = np.memmap(path, np.uint8, "r+", shape=(places, sum(n for _, n in self.FIELDS), voxels))
        self.image = memory[:, 0:2].reshape(places, 2 * voxels).view(np.float16)
        self.truth, self.mask, self.scribbles, self.near = memory[:, 2], memory[:, 3], memory[:, 4], memory[:, 5:7]

    @classmethod
    def create(cls, folder: Path, places: int, voxels: int) -> Desk:
        path = folder / "desk"
        with path.open("wb") as file:
            file.truncate(places * 7 * voxels)
        return cls(path, places, voxels)


_desk: Desk | None = None


def _sit_down(path: Path, places: int, voxels: int) -> None:
    global _desk
    _desk = Desk(path, places, voxels)


def _scribble(place: int, shape: tuple[int, ...], key: tuple[int, ...], first: bool) -> None:
    """New strokes on one box: before there is a mask (``first``), or where the mask is wrong."""
    count = math.prod(shape)
    rng = np.random.default_rng(key)
    image, truth, mask, scribbles = (
        array[place, :count].reshape(shape) for array in (_desk.image, _desk.truth, _desk.mask, _desk.scribbles)
    )
    truth = truth > 0
    if first:
        new = hands.begin(rng, truth)
    else:
        old = scribbles.copy()
        shown = np.where(old == 0, mask > 0, old == FOREGROUND)
        mask[...] = shown
        new = hands.correct(rng, old, shown, truth)
    scribbles[...] = new
    near = nearness(unit_range(image.astype(np.float32)), new)
    _desk.near[place, :, :count] = np.rint(255 * near).reshape(2, count)


# -- a batch under way ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class UnderWay:
    """One batch and how often it was seen; ``places``: of its boxes on the desk; ``jobs``: strokes being drawn."""

    boxes: Boxes
    places: range
    number: int
    rounds: int
    seen: int = 0
    jobs: list[Future] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(s.stop - s.start for s in self.boxes.inside)


class Room:
    """Where batches are made, and the people who scribble on them."""

    def __init__(self, recipe: Recipe, renderer: Renderer, workers: int, folder: Path, seed: int) -> None:
        self.recipe, self.renderer, self.seed = recipe, renderer, seed
        voxels = renderer.most
        self.desk = Desk.create(folder, recipe.under_way * recipe.batch, voxels)
        context = multiprocessing.get_context("spawn")
        self.people = ProcessPoolExecutor(workers, context, _sit_down, self.desk.about)

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
        self.desk.image[rows, :count] = boxes.images[:, 0][inside].flatten(1).half().cpu().numpy()
        self.desk.truth[rows, :count] = boxes.truth[inside].flatten(1).byte().cpu().numpy()
        for array in (self.desk.mask, self.desk.scribbles):
            array[rows, :count] = 0
        self.desk.near[rows, :, :count] = 0
        for place in under_way.places:
            if rng.random() < SCRIBBLED_FIRST:
                self._ask(under_way, place, first=True)
        return under_way

    def answer(self, under_way: UnderWay, mask: torch.Tensor) -> None:
        """The network's masks (N, ...) of the boxes: people look at them and correct what is wrong."""
        count = math.prod(under_way.shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        self.desk.mask[rows, :count] = mask.flatten(1).byte().cpu().numpy()
        for place in under_way.places:
            self._ask(under_way, place, first=False)

    def _ask(self, under_way: UnderWay, place: int, first: bool) -> None:
        key = (self.seed, under_way.number, under_way.seen, place)
        under_way.jobs.append(self.people.submit(_scribble, place, under_way.shape, key, first))

    def input(self, under_way: UnderWay, device: str) -> torch.Tensor:
        """What the network sees of a batch now: (N, 7, ...)."""
        boxes, shape = under_way.boxes, under_way.shape
        count = math.prod(shape)
        rows = slice(under_way.places.start, under_way.places.stop)
        n = len(under_way.places)
        rng = np.random.default_rng((self.seed, under_way.number, under_way.seen, 2))
        said = np.empty((n, 5, count), np.uint8)
        said[:, 0] = self.desk.mask[rows, :count] if under_way.seen else 0
        said[rng.random(n) < FORGOTTEN, 0] = 0
        said[:, 1] = self.desk.scribbles[rows, :count] == FOREGROUND
        said[:, 2] = self.desk.scribbles[rows, :count] == BACKGROUND
        said[:, 3:] = self.desk.near[rows, :, :count]
        said = torch.from_numpy(said).to(device).float().reshape(n, 5, *shape)
        said[:, 3:] /= 255
        x = torch.zeros(n, 7, *boxes.images.shape[2:], device=device)
        x[:, 0] = boxes.images[:, 0]
        x[(slice(None), 1, *boxes.inside)] = 1
        x[(slice(None), slice(2, 7), *boxes.inside)] = said
        return x

    def close(self) -> None:
        self.people.shutdown(cancel_futures=True)


# -- the loop ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def grow(network: BoxNetwork, smaller: BoxNetwork) -> None:
    """Take over the weights of a network of the same kind that hears less: what is new in a layer begins at nothing.

    Layers that the smaller one lacks stay as they are.
    """
    known = smaller.state_dict()
    for name, own in network.state_dict().items():
        if name in known:
            part = tuple(slice(n) for n in known[name].shape)
            own.zero_()
            own[part] = known[name]


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy and half a soft Dice loss, inside the box: logits (N, 2, ...), truth (N, ...) bool."""
    odds = (logits[:, 1] - logits[:, 0]).flatten(1).float()
    y = truth.flatten(1).float()
    p = odds.sigmoid()
    dice = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(odds, y) + 0.5 * (1 - dice).mean()


def train(
    recipe: Recipe,
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
    """Train for so many minutes in all, earlier runs with this output counted in; yields a record every 50 steps.

    Writes ``output`` (the averaged weights), ``.jsonl`` (the records) and the state to go on from, in four files.
    """
    torch.manual_seed(seed)
    network, average = (build(recipe.architecture, **recipe.settings).to(device) for _ in range(2))
    if start is not None:
        grow(network, start.network)
    layout = torch.channels_last if recipe.dimension == 2 else torch.channels_last_3d
    network = network.to(memory_format=layout)
    average.load_state_dict(network.state_dict())
    average.requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.0, weight_decay=recipe.weight_decay, fused=device != "cpu")
    state = State(output)
    step, seconds = state.resume(network, average, optimiser)
    renderer = Renderer(volumes, recipe.dimension, recipe.size, recipe.settings["context"], recipe.shares, device)
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        room = Room(recipe, renderer, workers, Path(folder), seed)
        try:
            number = step * 1000  # of the next batch: a run that goes on draws new ones
            ring: list[UnderWay | None] = [None] * recipe.under_way
            for slot in range(recipe.under_way):
                ring[slot] = room.begin(slot, number)
                number += 1
            clock = time.perf_counter() - seconds
            saved = time.perf_counter()
            waiting: tuple[int, torch.Tensor] | None = None  # the last step's slot and masks, not yet looked at
            tally = torch.zeros(recipe.rounds + 1, 3, device=device)  # per round: boxes, their Dice, their loss
            watch = Stopwatch()
            while True:
                seconds = time.perf_counter() - clock
                done = seconds / (60 * minutes)
                if done >= 1:
                    break
                slot = step % recipe.under_way
                under_way = ring[slot]
                with watch("wait"):
                    for job in under_way.jobs:
                        job.result()
                    under_way.jobs = []
                with watch("input"):
                    x = room.input(under_way, device).contiguous(memory_format=layout)
                for group in optimiser.param_groups:
                    group["lr"] = (
                        recipe.rate * min(1, (step + 1) / recipe.warm_up) * 0.5 * (1 + math.cos(math.pi * done))
                    )
                inside = (slice(None), *under_way.boxes.inside)
                truth = under_way.boxes.truth[inside]
                with torch.autocast(device, torch.bfloat16, enabled=bf16):
                    features = network.features(x)[(slice(None), *inside)]
                    logits = network.classifier(features.movedim(1, -1)).movedim(-1, 1)
                loss = loss_of(logits, truth)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                keep = min(recipe.average, (1 + step) / (10 + step))
                with torch.no_grad():
                    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
                    mask = logits[:, 1] > logits[:, 0]
                    both = (mask & truth).flatten(1).sum(1)
                    dice = 2 * both / (mask.flatten(1).sum(1) + truth.flatten(1).sum(1)).clamp_min(1)
                    tally[under_way.seen] += torch.stack(
                        [dice.new_tensor(len(dice)), dice.sum(), loss.detach() * len(dice)]
                    )
                if waiting is not None:
                    with watch("boxes"):
                        number = _go_on(room, ring, *waiting, number)
                waiting = slot, mask
                step += 1
                if step % 50 == 0:
                    record = _record(step, seconds, tally)
                    record |= {"milliseconds": {name: round(ms / 50, 1) for name, ms in watch.items()}}
                    tally.zero_()
                    watch.clear()
                    state.log(record)
                    yield record
                    if not math.isfinite(record["loss"]):
                        raise ValueError(f"The loss is {record['loss']} at step {step}: the learning rate is too high.")
                if time.perf_counter() - saved > SAVED_EVERY:
                    state.save(network, average, optimiser, step, seconds)
                    saved = time.perf_counter()
        finally:
            room.close()
    state.save(network, average, optimiser, step, seconds)
    card = {
        "recipe": asdict(recipe), "seed": seed, "steps": step, "boxes": step * recipe.batch,
        "minutes": round(seconds / 60, 2), "torch": torch.__version__,
        "hardware": torch.cuda.get_device_name() if device == "cuda" else platform.machine(),
        "data": sorted({one.source for one in volumes}), "last": record,
    }  # fmt: skip
    if start is not None:
        card["start"] = {"name": start.name, "sha256": start.sha256}
    model = Model(output.stem, average, recipe.architecture, recipe.settings, recipe.size, card=card)
    save_model(model, output, half=True)
    yield {"step": step, "seconds": seconds, "finished": True}


def _go_on(room: Room, ring: list, slot: int, mask: torch.Tensor, number: int) -> int:
    """After a step: the batch is shown to the people, or gives way to a new one. Returns the next batch's number."""
    under_way = ring[slot]
    if under_way.seen < under_way.rounds:
        room.answer(under_way, mask)
        under_way.seen += 1
        return number
    ring[slot] = room.begin(slot, number)
    return number + 1


def _record(step: int, seconds: float, tally: torch.Tensor) -> dict:
    counts, dice, losses = tally.cpu().double().unbind(1)
    total = float(counts.sum())
    return {
        "step": step, "seconds": round(seconds, 1), "loss": round(float(losses.sum() / max(total, 1)), 5),
        "dice": [round(float(d / c), 4) if c else None for d, c in zip(dice, counts, strict=True)],
    }  # fmt: skip


class State:
    """The files that a run goes on from, each below 16 MB for networks as large as ours, and its log."""

    NAMES = ("network", "average", "exp_avg", "exp_avg_sq")

    def __init__(self, output: Path) -> None:
        self.output, self.journal = output, output.with_suffix(".jsonl")

    def _path(self, name: str) -> Path:
        return self.output.with_name(f"{self.output.stem}.{name}.state")

    def save(self, network, average, optimiser, step: int, seconds: float) -> None:
        moments = optimiser.state_dict()["state"]
        parts = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            **{name: {str(i): m[name] for i, m in moments.items()} for name in self.NAMES[2:]},
        }
        header = {"step": str(step), "seconds": str(seconds)}
        for name, tensors in parts.items():
            content = save({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, header)
            write_atomically(self._path(name), content)

    def resume(self, network, average, optimiser) -> tuple[int, float]:
        """Steps and seconds done before, with weights and moments as they were then."""
        if not all(self._path(name).exists() for name in self.NAMES):
            return 0, 0.0
        parts, headers = {}, []
        for name in self.NAMES:
            with safe_open(self._path(name), framework="pt") as file:
                headers.append(file.metadata())
                parts[name] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if any(header != headers[0] for header in headers):
            raise ValueError(f"The files {self._path('*')} are of different moments; delete them and begin anew.")
        network.load_state_dict(parts["network"])
        average.load_state_dict(parts["average"])
        step = int(headers[0]["step"])
        moments = {
            int(i): {"step": torch.tensor(float(step)), "exp_avg": parts["exp_avg"][i], "exp_avg_sq": value}
            for i, value in parts["exp_avg_sq"].items()
        }
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        return step, float(headers[0]["seconds"])

    def log(self, record: dict) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps(record) + "\n")
