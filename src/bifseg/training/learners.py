"""What learns from batches that simulated users draw on: a trunk with its classifier, or an R-Net behind one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.method.parameters import Parameters, preset
from bifseg.networks import build
from bifseg.networks.base import BoxNetwork
from bifseg.networks.checkpoint import Model
from bifseg.networks.copies import copied
from bifseg.networks.growth import grow
from bifseg.networks.rnet import RNet, bounded
from bifseg.prompts.interaction import FOREGROUND
from bifseg.training.adaptation import Weights, adapted_odds, fine_tuned, odds_of, weights_of
from bifseg.training.batches import Batches, UnderWay
from bifseg.training.interactive_recipes import InteractiveRecipe


def loss_of(odds: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy and half a soft Dice loss, inside the box: log-odds (N, ...), truth (N, ...) bool."""
    odds, y = odds.flatten(1).float(), truth.flatten(1).float()
    p = odds.sigmoid()
    dice = (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(odds, y) + 0.5 * (1 - dice).mean()


class Learner:
    """A network that learns from one batch after the other, and the moving average of its weights.

    ``context``: points that it sees around a box; ``sparse``: it is asked at one in so many points along each axis.
    """

    context, sparse = 0, 1

    def __init__(self, recipe: InteractiveRecipe, network: nn.Module, device: str, bf16: bool) -> None:
        self.recipe, self.device, self.bf16 = recipe, device, bf16
        self.layout = torch.channels_last if recipe.dimension == 2 else torch.channels_last_3d
        self.average = copied(network).to(device).requires_grad_(False)
        self.network = network.to(device, memory_format=self.layout)  # type: ignore[call-overload]  # stubs lack it
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=0.0, weight_decay=recipe.weight_decay, fused=device != "cpu"
        )
        self.steps = 0

    def odds(self, batches: Batches, under_way: UnderWay, points: tuple[slice, ...]) -> torch.Tensor:
        """The log-odds (N, ...) of a batch at some points, to learn from."""
        raise NotImplementedError

    def model(self, name: str, card: dict[str, Any]) -> Model:
        """What the run writes."""
        raise NotImplementedError

    def learn(
        self, batches: Batches, under_way: UnderWay, points: tuple[slice, ...], truth: torch.Tensor, done: float
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """One step: the network's answer before it, bool, and the loss, scalar; and whether it was taken.

        It is left out where a gradient is not finite. ``truth``: at the ``points``; ``done``: share of the run.
        """
        warm = min(1, (self.steps + 1) / self.recipe.warm_up)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * warm * 0.5 * (1 + math.cos(math.pi * min(1, done)))
        odds = self.odds(batches, under_way, points)
        loss = loss_of(odds, truth)
        taken = self._step(loss) if loss.requires_grad else True
        self.steps += 1
        return odds > 0, loss.detach(), taken

    def _step(self, loss: torch.Tensor) -> bool:
        """Whether the gradient of a loss was finite: then the weights follow it, and their average follows them."""
        self.optimiser.zero_grad()
        loss.backward()
        taken = bool(torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0).isfinite())
        if taken:
            self.optimiser.step()
        keep = min(self.recipe.average, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        return taken

    def _halves(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)


class TrunkLearner(Learner):
    """A trunk with its classifier: one that hears strokes, one that is fine-tuned to them, or neither."""

    network: BoxNetwork

    def __init__(self, recipe: InteractiveRecipe, start: Model | None, device: str, bf16: bool) -> None:
        network = build(recipe.architecture, **recipe.settings)
        if start is not None:
            grow(network, start.network)
        super().__init__(recipe, network, device, bf16)
        self.began = copied(network) if start is not None and recipe.of_start else None
        self.context, self.sparse = network.context_cells, network.sparse
        self.parameters = preset("fast", recipe.dimension, None if start is None else start.tuned)

    def odds(self, batches: Batches, under_way: UnderWay, points: tuple[slice, ...]) -> torch.Tensor:
        """By the network's classifier, or by those fine-tuned to strokes."""
        x = batches.input(under_way, self.device).contiguous(memory_format=self.layout)
        strokes = batches.strokes(under_way, points, self.device) if self.recipe.adapts else None
        with self._halves():
            features = self.network.features_at(x, points)
            if strokes is None:
                logits = self.network.classified(features)
                return logits[:, 1] - logits[:, 0]
        rows = features.float().flatten(2).transpose(1, 2)
        odds = adapted_odds(self.network.classifier, rows, *strokes, self.parameters)
        return odds.reshape(len(x), *features.shape[2:])

    def result(self) -> BoxNetwork:
        """The averaged weights and, where the recipe says so, a share of those that the run began with."""
        result = cast("BoxNetwork", copied(self.average))
        if self.began is not None:
            with torch.no_grad():
                torch._foreach_lerp_(list(result.parameters()), list(self.began.parameters()), self.recipe.of_start)
        return result

    def model(self, name: str, card: dict[str, Any]) -> Model:
        recipe = self.recipe
        return Model(
            name, self.result(), recipe.architecture, recipe.settings, recipe.size, card=card, flips=recipe.flips
        )


SHARE = 0.5  # of an R-Net's correction, see `Parameters.rnet`: the best where it was tried


@dataclass(eq=False)
class _Objects:
    """The objects of a batch: a trunk's ``features`` (N, C, ...), the same as ``rows`` (N, P, C), the ``trained``
    classifier's log-odds (N, P), and the ``weights`` of every object's own classifier."""

    features: torch.Tensor
    rows: torch.Tensor
    trained: torch.Tensor
    weights: Weights

    def odds(self, parameters: Parameters) -> torch.Tensor:
        """Log-odds (N, P) by the classifiers as they are now."""
        return parameters.blend * odds_of(self.rows, self.weights) + (1 - parameters.blend) * self.trained

    def fine_tune(self, labels: torch.Tensor, scribbles: torch.Tensor, parameters: Parameters) -> None:
        """Let the classifiers go on learning, from ``labels`` (N, P) bool, where nothing is scribbled, uint8."""
        labels, p = torch.where(scribbles > 0, scribbles == FOREGROUND, labels), self.odds(parameters).sigmoid()
        self.weights = fine_tuned(self.weights, self.rows, labels, p, scribbles, parameters)


class RNetLearner(Learner):
    """An R-Net behind a model's trunk, which stays as it is; it goes on from the model's own, if there is one."""

    network: RNet
    sparse = 2

    def __init__(self, recipe: InteractiveRecipe, start: Model | None, device: str, bf16: bool) -> None:
        if start is None:
            raise InvalidInput("An R-Net learns what a trained network lacks; name one with --start.")
        if recipe.rnet is None or start.dimension != recipe.dimension or start.network.listens:
            raise InvalidInput(
                f"The network {start.name} hears strokes itself or is not for {recipe.dimension}D boxes."
            )
        network = RNet(recipe.dimension, start.network.channels, **recipe.rnet)
        if start.rnet is not None:
            if start.rnet.settings != network.settings:
                raise InvalidInput(f"The R-Net of {start.name} has other settings than the recipe.")
            network.load_state_dict(start.rnet.state_dict())
        super().__init__(recipe, network, device, bf16)
        self.start = start
        self.trunk = copied(start.network).to(device, memory_format=self.layout)  # type: ignore[call-overload]
        self.parameters = preset("fast", recipe.dimension, start.tuned)
        self._objects: WeakKeyDictionary[UnderWay, _Objects] = WeakKeyDictionary()

    def odds(self, batches: Batches, under_way: UnderWay, points: tuple[slice, ...]) -> torch.Tensor:
        """What R-Net makes of strokes, once every box's classifier went on learning from labels that it had a say in.

        As `bifseg.method.finetune` has it, but for cuts, grey levels and the label that is nearer. Before there are
        strokes R-Net is silent, and nothing is learnt.
        """
        images, p, some = under_way.boxes.images, self.parameters, (slice(None), *points)
        strokes = batches.strokes(under_way, under_way.boxes.inside, self.device)
        with torch.no_grad():
            if under_way not in self._objects:
                self._objects[under_way] = self._objects_of(images)
            objects = self._objects[under_way]
            if strokes is None:
                if p.unsupervised:
                    odds = objects.odds(p)
                    objects.fine_tune(odds > 0, torch.zeros_like(odds, dtype=torch.uint8), p)
                return objects.odds(p).reshape(len(images), *under_way.shape)[some]
        scribbles, near = strokes
        evidence, guidance = p.evidence * (near[:, 0] - near[:, 1]), batches.guidance(under_way, self.device)
        with self._halves():
            context = self.network.context(objects.features)
            with torch.no_grad():
                first = self._answer(images, objects, objects.odds(p) + evidence, guidance, context)
        with torch.no_grad():
            objects.fine_tune(first.flatten(1) > 0, scribbles, p)
            belief = objects.odds(p) + evidence
        with self._halves():
            return self._answer(images, objects, belief, guidance, context, points)

    def _objects_of(self, images: torch.Tensor) -> _Objects:
        with self._halves():
            features = self.trunk.features(images.contiguous(memory_format=self.layout)).float()
        rows = features.flatten(2).transpose(1, 2).contiguous()
        weights = weights_of(self.trunk.classifier, len(rows))
        return _Objects(features.contiguous(memory_format=self.layout), rows, odds_of(rows, weights), weights)

    def _answer(
        self,
        images: torch.Tensor,
        objects: _Objects,
        belief: torch.Tensor,
        guidance: torch.Tensor,
        context: torch.Tensor,
        points: tuple[slice, ...] | None = None,
    ) -> torch.Tensor:
        both = [bounded(odds).reshape(images.shape) for odds in (objects.trained, belief)]
        said = torch.cat([images, *both, guidance], dim=1).contiguous(memory_format=self.layout)
        odds: torch.Tensor = self.network(said, context, points)
        return odds

    def model(self, name: str, card: dict[str, Any]) -> Model:
        """The model it began with, and the R-Net."""
        start, rnet = self.start, cast("RNet", copied(self.average))
        tuned, card = {"rnet": SHARE, **start.tuned}, {**start.card, "rnet": card}
        return replace(start, name=name, rnet=rnet, tuned=tuned, card=card, sha256="")


def learner_of(recipe: InteractiveRecipe, start: Model | None, device: str, bf16: bool) -> Learner:
    """What a recipe says that learns; InvalidInput where ``start`` is none for it."""
    return (TrunkLearner if recipe.rnet is None else RNetLearner)(recipe, start, device, bf16)
