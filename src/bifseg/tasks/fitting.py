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

from bifseg.method.classifier import descend
from bifseg.method.crop import Crop
from bifseg.networks.base import BoxNetwork, Classifier, some_points
from bifseg.networks.checkpoint import Model
from bifseg.networks.copies import copied
from bifseg.networks.execution import convolved_by_onednn
from bifseg.networks.guidance import heard
from bifseg.tasks.augmentation import shown
from bifseg.tasks.example import Example
from bifseg.training.train import cosine_rate, loss_of

ITERATIONS, RATE, MOMENTUM = 150, 0.1, 0.9  # of the classifier alone, where the trunk cannot learn
ROWS = 48_000  # pixels that it learns from, in all: what bounds the time
STEPS = {2: 160, 3: 48}  # of the whole, each with one example: what bounds the time
RATES = {2: 2e-2, 3: 4e-2}  # the largest learning rate
WARM_UP, CLIP = 10, 1.0  # steps until it is reached, and the largest gradient


def fitted(model: Model, examples: Sequence[Example], crops: Sequence[Crop], seed: int) -> BoxNetwork:
    """A copy of a model's network after gradient descent on all examples."""
    network = copied(model.network)
    if not learns_in_trunk(network):
        network.classifier = fitted_classifier(network.classifier, examples, crops, seed)
        return network
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


def learns_in_trunk(network: BoxNetwork) -> bool:
    """Whether a trunk has weights that are fitted; where it has none, its features are computed once."""
    return len(list(_few(network))) > len(list(network.classifier.parameters()))


def _loss(network: BoxNetwork, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Of one example: its image with the context that the network sees, and the mask in the box."""
    cells = network.context_cells
    inside = tuple(slice(cells, cells + n) for n in mask.shape)
    seen = heard(image, inside) if network.listens else image[None]
    points = some_points(inside, network.sparse, rng)
    truth = mask[tuple(slice(part.start - cells, None, part.step) for part in points)]
    return loss_of(network.logits_at(torch.from_numpy(seen)[None], points), torch.from_numpy(truth).long()[None])


def fitted_classifier(
    classifier: Classifier, examples: Sequence[Example], crops: Sequence[Crop], seed: int
) -> Classifier:
    """A classifier after gradient descent on pixels of all examples; in each, both classes weigh the same."""
    rng = np.random.default_rng(seed)
    features, labels = [], []
    for example, crop in zip(examples, crops, strict=True):
        inside = crop.mask_on_grid(example.mask).ravel()
        views = crop.features().views
        share = max(1, ROWS // (2 * len(examples) * len(views)))
        for view in views:
            for label in (False, True):
                pixels = np.flatnonzero(inside == label)
                pixels = rng.choice(pixels, min(share, len(pixels)), replace=False)
                features.append(view[torch.from_numpy(pixels)])
                labels.append(torch.full((len(pixels),), float(label)))
    x, y = torch.cat(features), torch.cat(labels)
    w = torch.empty(len(y))
    for side in (y == 0, y == 1):
        w[side] = 0.5 / max(1, int(side.sum()))
    made = copied(classifier)
    descend(made, x, y, w, iterations=ITERATIONS, rate=RATE, momentum=MOMENTUM)
    return made


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
