"""A network is fitted to finished objects: those of its weights that scale and mix what it sees, and the classifier.

These are the scales and biases of normalisations, and the projections: convolutions of one pixel with a bias, which
bring maps to the classifier. They are so few that an object that begins with a task can keep them; all weights of the
trunk gain little more. A network that listens is told of every object but the box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.optim.adam import adam

from bifseg.method.crop import Crop
from bifseg.networks.base import BoxNetwork, some_points
from bifseg.networks.checkpoint import Model
from bifseg.networks.copies import copied
from bifseg.networks.execution import convolved_by_onednn
from bifseg.networks.guidance import heard
from bifseg.tasks.augmentation import shown
from bifseg.tasks.example import Example
from bifseg.training.train import cosine_rate, loss_of

STEPS = {2: 160, 3: 48}  # each with one example: what bounds the time
RATES = {2: 2e-2, 3: 4e-2}  # the largest learning rate
WARM_UP, CLIP = 10, 1.0  # steps until it is reached, and the largest gradient


def fitted(model: Model, examples: Sequence[Example], crops: Sequence[Crop], seed: int) -> BoxNetwork:
    """A copy of a model's network after gradient descent on all examples."""
    network = copied(model.network)
    rng = np.random.default_rng(seed)
    masks = [crop.as_seen(crop.mask_on_grid(example.mask)) for example, crop in zip(examples, crops, strict=True)]
    weights = list(_few(network))
    network.requires_grad_(False)
    for weight in weights:
        weight.requires_grad_(True)
    descent = Adam(weights)
    steps, rate = STEPS[model.dimension], RATES[model.dimension]
    with convolved_by_onednn(network):
        for step in range(steps):
            k = step % len(examples)
            channels = crops[k].channels
            image = crops[k].as_seen(channels[rng.integers(len(channels))])
            image, mask = shown(rng, image, masks[k], model.flips, network.context_cells)
            loss = _loss(network, image, mask, rng)
            network.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            descent.step(cosine_rate(rate, step, steps, WARM_UP))
    return network.requires_grad_(False)


class Adam:
    """`torch.optim.Adam` by the function that it calls: a process that makes such a class loads PyTorch's compiler,
    for two seconds."""

    def __init__(self, weights: Sequence[torch.Tensor]) -> None:
        self._weights = list(weights)
        self._means, self._squares = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
        self._steps = [torch.tensor(0.0) for _ in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move all weights by their gradients."""
        gradients = [cast("torch.Tensor", weight.grad) for weight in self._weights]  # in the order of the weights
        adam(
            self._weights, gradients, self._means, self._squares, [], self._steps, amsgrad=False, beta1=0.9,
            beta2=0.999, lr=rate, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip


def _loss(network: BoxNetwork, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Of one example: its image with the context that the network sees, and the mask in the box."""
    cells = network.context_cells
    inside = tuple(slice(cells, cells + n) for n in mask.shape)
    seen = heard(image, inside) if network.listens else image[None]
    points = some_points(inside, network.sparse, rng)
    truth = mask[tuple(slice(part.start - cells, None, part.step) for part in points)]
    return loss_of(network.logits_at(torch.from_numpy(seen)[None], points), torch.from_numpy(truth).long()[None])


def between(one: BoxNetwork, other: BoxNetwork, share: float) -> BoxNetwork:
    """A network whose weights are so far on the way from one to another."""
    made = copied(one)
    with torch.no_grad():
        for parameter, there in zip(made.parameters(), other.parameters(), strict=True):
            parameter.lerp_(there, share)
    return made


def _few(network: BoxNetwork) -> Iterator[nn.Parameter]:
    """The weights that are fitted."""
    for module in network.modules():
        projects = isinstance(module, nn.Conv2d | nn.Conv3d) and set(module.kernel_size) == {1}
        if isinstance(module, nn.GroupNorm) or (projects and module.bias is not None):
            yield from module.parameters()
    yield from network.classifier.parameters()
