"""The training loop, from top to bottom.

Every batch is a function of (seed, step, rank), every step is a line of the log, and the state is saved atomically: a
run that was killed resumes exactly where it was. Under ``torchrun`` the batch is shared out to the processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import distributed, nn
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.imaging.intensity import normalise
from bifseg.io.atomic import write_atomically
from bifseg.networks import build
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model, save_model
from bifseg.training.instances import intensity_statistics
from bifseg.training.public_sets import LIMITS
from bifseg.training.recipes import Phase, Recipe
from bifseg.training.sources import Mixture, Sources
from bifseg.training.training_set import TrainingSet

SYNTHETIC_SEED = 2**31  # of the synthetic boxes to validate on: no training seed draws them
WARM_UP = 100


def rate_at(phase: Phase, step: int) -> float:
    """The learning rate, ``step`` steps into a phase."""
    if phase.halving:
        return phase.rate * 0.5 ** (step // phase.halving)
    return cosine_rate(phase.rate, step, phase.cosine, WARM_UP)


def cosine_rate(rate: float, step: int, steps: int, warm_up: int) -> float:
    """A learning rate that warms up over some steps, and falls along half a cosine of ``steps``."""
    return rate * min(1, (step + 1) / warm_up) * 0.5 * (1 + np.cos(np.pi * step / steps))


def loss_of(logits: torch.Tensor, labels: torch.Tensor, dice_loss: float = 0.5) -> torch.Tensor:
    """Cross entropy, as in the paper, plus a soft Dice loss, which counts small objects as much as large ones."""
    p, y = logits.softmax(1)[:, 1].flatten(1), labels.flatten(1).float()
    dice = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return F.cross_entropy(logits, labels) + dice_loss * (1 - dice).mean()


def train(
    recipe: Recipe,
    output: Path,
    data: TrainingSet | None = None,
    *,
    seed: int = 0,
    start: Model | None = None,
    every: int = 250,
    keep: bool = False,
    device: str = "cpu",
    bf16: bool = False,
) -> Iterator[dict]:
    """Train; yields one record a step, the same that are appended to the log beside ``output``.

    Every ``every`` steps and at the end it validates and writes ``output`` (the averaged weights; where instances
    were held back, those of the best validation) and ``.last.safetensors``, and what resuming needs to ``.state``.
    ``keep``: whether every model validated is kept, too, as ``.step250.safetensors`` and so on. ``start``: a model of
    the same architecture to go on from. Raises InvalidInput where the sources that the recipe
    draws from are empty or the state beside ``output`` is that of another run.
    """
    data = data or TrainingSet()
    _check(recipe, data, start)
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    if recipe.batch % world:
        raise InvalidInput(f"A batch of {recipe.batch} cannot be shared out to {world} processes.")
    torch.manual_seed(seed)
    network, average = (untrained(recipe) for _ in range(2))
    if start is not None:
        network.load_state_dict(start.network.state_dict())
    average.load_state_dict(network.state_dict())
    layout = torch.channels_last if recipe.dimension == 2 else torch.channels_last_3d
    for net in (network, average):
        net.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack it
    average.requires_grad_(False)
    optimiser = _optimiser(recipe, network)
    run = _Run(output, _fingerprint(recipe, data, seed, start, world))
    begin = run.resume(network, average, optimiser)
    parallel = torch.nn.parallel.DistributedDataParallel(network) if world > 1 else network
    share = recipe.batch // world

    for step in range(begin, recipe.steps):
        clock = time.perf_counter()
        phase, k = recipe.phase_at(step)
        if k == 0 and phase.fresh and step:
            network.load_state_dict(average.state_dict())
            optimiser = _optimiser(recipe, network)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(phase, k)
        key = (seed, step, rank) if world > 1 else (seed, step)
        batch, labels = data.drawn_from(phase.wider).batch(key, recipe.dimension, recipe.size, share, phase.mixture)
        images = torch.from_numpy(batch).to(device, memory_format=layout)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            logits = parallel(images)
        loss = loss_of(logits.float(), torch.from_numpy(labels).to(device), recipe.dice_loss)
        optimiser.zero_grad()
        loss.backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        memory = min(recipe.average, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - memory)
            run.collect(average, step + 1, recipe)
        run.seconds += time.perf_counter() - clock
        record = {"step": step + 1, "loss": loss.item(), "seconds": round(run.seconds, 3)}
        if not np.isfinite(record["loss"]):
            raise InvalidInput(f"The loss is {record['loss']} at step {step + 1}: the learning rate is too high.")
        if rank == 0:
            if (step + 1) % every == 0 or step + 1 == recipe.steps:
                record |= validate(average, recipe.size, data)
                card = _card(recipe, data, seed, start, step + 1, run.seconds, world, record)
                model = Model(
                    output.stem, average, recipe.architecture, recipe.settings, recipe.size, card=card,
                    flips=recipe.flips,
                )  # fmt: skip
                run.save(model, record, network, optimiser, step + 1)
                if keep:
                    save_model(model, output.with_suffix(f".step{step + 1}.safetensors"))
            run.log(record)
        yield record


def untrained(recipe: Recipe) -> BoxNetwork:
    """A recipe's network with its initial weights, drawn from PyTorch's global generator.

    PyTorch's own shrink what passes a convolution and a ReLU to 41 % (the square root of a sixth): of thirteen without
    a norm between them the last see nothing of the image, and learn next to nothing. He's keep it as large as it was.
    """
    network = build(recipe.architecture, **recipe.settings)
    if recipe.initial == "he":
        for layer in network.modules():
            if isinstance(layer, (nn.Conv2d, nn.Conv3d, nn.Linear)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network


@torch.no_grad()
def validate(network: BoxNetwork, size: int, data: TrainingSet, synthetic: int = 32) -> dict:
    """Dice on fixed boxes: synthetic ones, and per class the held-back instances of seen and of unseen classes.

    On the working grid and from the box alone. ``score`` is what the best model is chosen by: the mean over the seen
    classes, or over synthetic boxes where no instance was held back. Unseen classes never choose.
    """
    device = next(network.parameters()).device

    def score(image: np.ndarray, target: np.ndarray) -> float:
        mask = network(torch.from_numpy(normalise(image))[None, None].to(device)).argmax(1)[0].cpu().numpy() > 0
        return 2.0 * np.count_nonzero(mask & target) / max(1, np.count_nonzero(mask) + np.count_nonzero(target))

    none = Sources()
    boxes = [none.batch((SYNTHETIC_SEED, k), network.dimension, size, 1, Mixture()) for k in range(synthetic)]
    scores = sorted(score(images[0, 0], labels[0] > 0) for images, labels in boxes)
    record: dict = {"dice": float(np.mean(scores)), "dice_worst_quarter": float(np.mean(scores[: synthetic // 4]))}
    for name, instances in (("seen", data.seen), ("unseen", data.unseen)):
        by_class = defaultdict(list)
        for k, one in enumerate(instances):
            rng = np.random.default_rng((SYNTHETIC_SEED, k))
            by_class[one.label].append(score(*one.sample(rng, one.working_shape(size))))
        if by_class:
            record[name] = {label: round(float(np.mean(found)), 5) for label, found in sorted(by_class.items())}
    record["score"] = float(np.mean(list(record["seen"].values()))) if "seen" in record else record["dice"]
    return record


class _Run:
    """The files of a run: the model, the state to resume from, and the log, cut back to the state on resuming."""

    def __init__(self, output: Path, fingerprint: str) -> None:
        self.output, self.fingerprint = output, fingerprint
        self.state, self.journal = output.with_suffix(".state"), output.with_suffix(".jsonl")
        self.last = output.with_suffix(".last.safetensors")
        self.seconds, self.best = 0.0, -1.0
        self.mean: dict[str, torch.Tensor] = {}  # of the averaged weights at the steps `Recipe.mean_of`, so far

    def collect(self, average: BoxNetwork, step: int, recipe: Recipe) -> None:
        """Add to the mean of the recipe's checkpoints; after the last step the average becomes that mean."""
        if step in recipe.mean_of:
            for name, value in average.state_dict().items():
                self.mean[name] = self.mean.get(name, 0) + value / len(recipe.mean_of)
        if step == recipe.steps and self.mean:
            average.load_state_dict(self.mean)

    def resume(self, network: BoxNetwork, average: BoxNetwork, optimiser: torch.optim.Optimizer) -> int:
        """Steps done before, with everything as it was then."""
        step = 0
        if self.state.exists():
            with safe_open(self.state, framework="pt") as file:
                header = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if header.get("fingerprint") != self.fingerprint:
                raise InvalidInput(
                    f"{self.state} belongs to another run, with another recipe, seed or data; "
                    f"choose another output or delete that file."
                )
            step, self.seconds, self.best = int(header["step"]), float(header["seconds"]), float(header["best"])
            network.load_state_dict(_part(tensors, "network."))
            average.load_state_dict(_part(tensors, "average."))
            self.mean = _part(tensors, "mean.")
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for key, value in _part(tensors, "optimiser.").items():
                index, name = key.split(".")
                moments.setdefault(int(index), {})[name] = value
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        if self.journal.exists():
            lines = self.journal.read_text().splitlines(keepends=True)
            write_atomically(self.journal, "".join(lines[:step]).encode())
        return step

    def save(
        self, model: Model, record: dict, network: BoxNetwork, optimiser: torch.optim.Optimizer, step: int
    ) -> None:
        """``model`` holds the averaged weights; which files they go to depends on how well they did."""
        if "seen" in record:
            save_model(model, self.last)
        if "seen" not in record or record["score"] > self.best:
            save_model(model, self.output)
            self.best = record["score"]
        tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in model.network.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.items()}
        for i, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
        header = {
            "step": str(step), "seconds": str(self.seconds), "best": str(self.best), "fingerprint": self.fingerprint
        }  # fmt: skip
        write_atomically(self.state, save({k: v.contiguous().cpu() for k, v in tensors.items()}, header))

    def log(self, record: dict) -> None:
        with self.journal.open("a") as file:
            file.write(json.dumps(record) + "\n")


def _part(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)}


def _optimiser(recipe: Recipe, network: BoxNetwork) -> torch.optim.Optimizer:
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)


def _check(recipe: Recipe, data: TrainingSet, start: Model | None) -> None:
    for phase in recipe.phases:
        sources = data.drawn_from(phase.wider)
        if phase.mixture.anatomy and not len(sources.maps):
            raise InvalidInput("The recipe draws from label maps, and none were given.")
        if phase.mixture.scans and not len(sources.instances):
            raise InvalidInput("The recipe draws from labelled scans, and none were given.")
    if start is not None and (start.architecture, start.settings) != (recipe.architecture, recipe.settings):
        raise InvalidInput(
            f"The model {start.name} is a {start.architecture} with {start.settings}; the recipe trains a "
            f"{recipe.architecture} with {recipe.settings}."
        )


def _fingerprint(recipe: Recipe, data: TrainingSet, seed: int, start: Model | None, world: int) -> str:
    facts = [recipe.as_dict(), seed, world, start.sha256 if start else "", data.origin]
    facts += [len(data.sources.maps), len(data.sources.instances), len(data.seen), len(data.unseen)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _card(
    recipe: Recipe, data: TrainingSet, seed: int, start: Model | None, steps: int, seconds: float, world: int,
    record: dict,
) -> dict:  # fmt: skip
    threads = f"{world} x {torch.get_num_threads()}" if world > 1 else str(torch.get_num_threads())
    card = {
        "licence": data.licence,
        "data": data.origin,
        "recipe": recipe.as_dict(),
        "seed": seed,
        "steps": steps,
        "hours": round(seconds / 3600, 2),
        "hardware": f"{platform.machine()}, {threads} CPU threads",
        "torch": torch.__version__,
        "synthetic_dice": round(record["dice"], 4),
        "limits": LIMITS,
    }
    if start is not None:
        card["start"] = {"name": start.name, "sha256": start.sha256}
    if data.sources.instances:
        card["intensities"] = intensity_statistics(data.sources.instances)
    return card | {name: record[name] for name in ("seen", "unseen") if name in record}


def join_processes() -> None:
    """Under ``torchrun``: join the other processes, over gloo; otherwise nothing."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        distributed.init_process_group("gloo")


def leave_processes() -> None:
    """The end of `join_processes`: wait for the others, then end this process, where there are others.

    It ends at once, because gloo's threads now and then abort an interpreter that shuts down in order.
    """
    if distributed.is_initialized():
        distributed.barrier()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
