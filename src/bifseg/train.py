"""Train a network on synthetic anatomy, from top to bottom: ``python -m bifseg.train -o model.safetensors``.

Every sample is a function of (seed, step), every step is written to a JSON-lines log, and the state is saved
atomically, so a run that was killed resumes exactly where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch.nn import functional as F

from bifseg.checkpoint import Model, save_model
from bifseg.files import write_atomically
from bifseg.image import normalise
from bifseg.networks import BoxNetwork, build
from bifseg.phantom import training_sample

RECIPES = {
    "multiscale2d": {
        "architecture": "multiscale", "settings": {"dimension": 2, "widths": [24, 48, 64, 64, 96]},
        "size": 128, "batch": 8,
        "phases": [
            {"steps": 3000, "rate": 3e-3, "cosine": 3000, "twins": 0.0},
            {"steps": 1500, "rate": 2e-3, "cosine": 1500, "twins": 0.6},
        ],
    },
    "multiscale3d": {
        "architecture": "multiscale", "settings": {"dimension": 3, "widths": [8, 24, 48, 96]},
        "size": 48, "batch": 4,
        "phases": [
            {"steps": 2000, "rate": 3e-3, "cosine": 3000, "twins": 0.0},
            {"steps": 1000, "rate": 2e-3, "cosine": 1000, "twins": 0.5},
        ],
    },
    "pnet": {
        "architecture": "pnet", "settings": {"width": 32, "hidden": 64},
        "size": 128, "batch": 2, "phases": [{"steps": 1200, "rate": 1e-3, "cosine": 1200, "twins": 0.4}],
    },
    "pcnet": {
        "architecture": "pcnet", "settings": {"width": 16, "compressed": 8, "hidden": 32},
        "size": 48, "batch": 1, "phases": [{"steps": 1000, "rate": 1e-3, "cosine": 1000, "twins": 0.4}],
    },
}  # fmt: skip
"""Each phase warms its rate up for 100 steps and lets it fall along a half cosine of ``cosine`` steps; ``twins`` is
`phantom.training_sample`'s. What was learnt on the way is told in docs/method.md."""


def phase_at(recipe: dict, step: int) -> tuple[dict, int]:
    """The phase a step belongs to, and how many steps into it that is."""
    for phase in recipe["phases"]:
        if step < phase["steps"]:
            break
        step -= phase["steps"]
    return phase, step


def crop_shape(rng: np.random.Generator, dimension: int, size: int) -> tuple[int, ...]:
    """A random working grid: smaller side ``size`` in 2D, largest side ``size`` in 3D, as the paper resizes crops."""
    if dimension == 2:
        sides = [size, int(size * rng.choice([1.0, 1.0, 1.15, 1.3, 1.6]))]
    else:
        sides = [size, *(int(size * f) for f in rng.choice([0.5, 0.65, 0.8, 1.0], 2))]
    return tuple(int(n) for n in rng.permutation(sides))


def batch_of(
    seed: int, step: int, dimension: int, size: int, count: int, twins: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Synthetic boxes: images (count, 1, ...) normalised as at test time, labels (count, ...) int64."""
    rng = np.random.default_rng([seed, step])
    shape = crop_shape(rng, dimension, size)
    pairs = [training_sample(rng, shape, twins) for _ in range(count)]
    images = torch.from_numpy(np.stack([normalise(image) for image, _ in pairs])[:, None])
    labels = torch.from_numpy(np.stack([target for _, target in pairs])).long()
    return images, labels


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy, as in the paper, plus half a soft Dice loss, which counts small objects as much as large ones."""
    p, y = logits.softmax(1)[:, 1].flatten(1), labels.flatten(1).float()
    dice = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return F.cross_entropy(logits, labels) + 0.5 * (1 - dice).mean()


@torch.no_grad()
def validate(network: BoxNetwork, size: int, count: int = 32) -> tuple[float, float]:
    """Mean Dice and Dice of the worst quarter on fixed synthetic boxes that no training seed draws."""
    scores = []
    for k in range(count):
        images, labels = batch_of(2**31, k, network.dimension, size, 1)
        mask = network(images).argmax(1)
        scores.append(2.0 * (mask * labels).sum().item() / max(1, (mask + labels).sum().item()))
    scores.sort()
    return float(np.mean(scores)), float(np.mean(scores[: count // 4]))


def train(recipe: dict, seed: int, output: Path, threads: int = 0, every: int = 250) -> Iterator[dict]:
    """Train; yields one record a step and writes ``output`` (averaged weights) every ``every`` steps and at the end."""
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    size, steps = recipe["size"], sum(phase["steps"] for phase in recipe["phases"])
    network, average = (build(recipe["architecture"], **recipe["settings"]) for _ in range(2))
    average.load_state_dict(network.state_dict())
    layout = torch.channels_last if network.dimension == 2 else torch.channels_last_3d
    network, average = (
        network.to(memory_format=layout),
        average.to(memory_format=layout).requires_grad_(False),
    )
    optimiser = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    state = output.with_suffix(".state")
    start, spent = _resume(state, network, average, optimiser)
    for step in range(start, steps):
        clock = time.perf_counter()
        phase, k = phase_at(recipe, step)
        for group in optimiser.param_groups:
            group["lr"] = phase["rate"] * min(1, (k + 1) / 100) * 0.5 * (1 + np.cos(np.pi * k / phase["cosine"]))
        images, labels = batch_of(seed, step, network.dimension, size, recipe["batch"], phase["twins"])
        loss = loss_of(network(images.to(memory_format=layout)), labels)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        keep = min(0.998, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
        spent += time.perf_counter() - clock
        record = {"step": step + 1, "loss": loss.item(), "seconds": time.perf_counter() - clock}
        if (step + 1) % every == 0 or step + 1 == steps:
            record["dice"], record["dice_worst_quarter"] = validate(average, size)
            card = _card(recipe, seed, step + 1, spent, record["dice"])
            model = Model(output.stem, average, recipe["architecture"], recipe["settings"], size, card=card)
            save_model(model, output)
            _suspend(state, step + 1, spent, network, average, optimiser)
        yield record


def _card(recipe: dict, seed: int, steps: int, seconds: float, synthetic_dice: float) -> dict:
    return {
        "licence": "Apache-2.0",
        "data": "synthetic anatomy only (bifseg.phantom); no patient data",
        "recipe": recipe,
        "seed": seed,
        "steps": steps,
        "hours": round(seconds / 3600, 2),
        "hardware": f"{platform.machine()}, {torch.get_num_threads()} CPU threads",
        "torch": torch.__version__,
        "synthetic_dice": round(synthetic_dice, 4),
        "limits": "research use, not a medical device; results on real images: docs/accuracy.md",
    }


def _suspend(path: Path, step: int, seconds: float, network, average, optimiser) -> None:
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": v for k, v in moments.items()}
    header = {"step": str(step), "seconds": str(seconds)}
    write_atomically(path, save({k: v.contiguous() for k, v in tensors.items()}, header))


def _resume(path: Path, network, average, optimiser) -> tuple[int, float]:
    """Steps done and seconds spent before, with everything as it was then."""
    if not path.exists():
        return 0, 0.0
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def part(name: str) -> dict[str, torch.Tensor]:
        return {key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)}

    network.load_state_dict(part("network."))
    average.load_state_dict(part("average."))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in part("optimiser.").items():
        index, name = key.split(".")
        moments.setdefault(int(index), {})[name] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": moments, "param_groups": groups})
    return int(header["step"]), float(header["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("-o", "--output", type=Path, required=True, help="model file to write, .safetensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all")
    arguments = parser.parse_args()
    recipe = RECIPES[arguments.recipe]
    steps = sum(phase["steps"] for phase in recipe["phases"])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.with_suffix(".jsonl").open("a") as log:
        for record in train(recipe, arguments.seed, arguments.output, arguments.threads):
            print(json.dumps(record), file=log, flush=True)
            if "dice" in record:
                print(
                    f"step {record['step']}/{steps}  synthetic Dice {record['dice']:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
