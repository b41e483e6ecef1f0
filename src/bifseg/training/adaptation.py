"""A classifier is fine-tuned to strokes while its trunk learns, so that the trunk learns what can be fine-tuned.

What `bifseg.method.finetune` does to one object after strokes, done to a batch, and differentiable: the loss after a
descent says how features, and the weights that it began with, should have been (MAML: Finn et al., ICML 2017; of the
last layers alone: Raghu et al., ICLR 2020). Left out: cuts, grey levels, U_s, and the label that is nearer.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from bifseg.method.parameters import Parameters
from bifseg.networks.base import Classifier
from bifseg.prompts.interaction import FOREGROUND

POINTS = 4096  # of each box, that its classifier is fine-tuned on
ITERATIONS, RATE, MOMENTUM = 12, 0.4, 0.8  # of that descent: a short way, for gradients go all the way back
MOVED = 1, 1, 2, 2  # what moves the difference of the two logits moves both of them: see `method.classifier.descend`

Weights = tuple[
    torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor
]  # of each box: a layer, and a logit's difference


def adapted_odds(
    classifier: Classifier,
    features: torch.Tensor,
    scribbles: torch.Tensor,
    near: torch.Tensor,
    parameters: Parameters,
) -> torch.Tensor:
    """The log-odds (N, P) that labels would be cut from, after every box's own classifier was fine-tuned to strokes.

    ``features``: (N, P, C), float32; ``scribbles``: (N, P), uint8; ``near``: (N, 2, P), how near the strokes of object
    and background are, 0 to 1, see `guidance.nearness`. Of the ``parameters`` those of the loss and of what is seen
    around strokes.
    """
    start = weights_of(classifier, len(features))
    trained = odds_of(features, start)
    evidence = parameters.evidence * (near[:, 0] - near[:, 1])
    labels = torch.where(scribbles > 0, scribbles == FOREGROUND, trained + evidence > 0)
    short = parameters.but(iterations=ITERATIONS, rate=RATE, momentum=MOMENTUM)
    weights = fine_tuned(start, features, labels, trained.sigmoid(), scribbles, short)
    return parameters.blend * odds_of(features, weights) + (1 - parameters.blend) * trained + evidence


def fine_tuned(
    start: Weights,
    features: torch.Tensor,
    labels: torch.Tensor,
    p: torch.Tensor,
    scribbles: torch.Tensor,
    parameters: Parameters,
) -> Weights:
    """Every box's classifier after the descent that the ``parameters`` say, on `POINTS` of it; as it was, where that
    would end above where it began.

    ``features``: (N, P, C); ``labels``: (N, P) bool; ``p``: (N, P), what the classifier says that goes into w(i);
    ``scribbles``: (N, P), uint8.
    """
    with torch.no_grad():
        scribbled = scribbles > 0
        some = (torch.rand(p.shape, device=p.device) + 2 * scribbled).topk(min(POINTS, p.shape[1]), dim=1).indices
        y = labels.gather(1, some)
        w = _shares(p.gather(1, some), y, scribbled.gather(1, some), parameters)
    x = features.gather(1, some[..., None].expand(-1, -1, features.shape[2]))
    after = _descended(start, x, y.float(), w, parameters)
    with torch.no_grad():
        before, now = (_loss(weights, x, y.float(), w) for weights in (start, after))
        better = now <= before
    pairs = zip(start, after, strict=True)
    return tuple(torch.where(better.reshape(-1, *[1] * (b.ndim - 1)), b, a) for a, b in pairs)  # type: ignore[return-value]


def _loss(weights: Weights, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    z = odds_of(x, weights)
    return (w * (F.softplus(z) - y * z)).sum(1)


def _shares(p: torch.Tensor, y: torch.Tensor, scribbled: torch.Tensor, parameters: Parameters) -> torch.Tensor:
    """How much each point (N, n) counts in the loss of Eq. 12: w(i), and then as `method.finetune` balances it."""
    doubtful = (p > parameters.t0) & (p < parameters.t1)
    w = torch.where(doubtful, parameters.unsure, 1.0)
    w = torch.where(scribbled, parameters.omega, w)
    own, others = (w * scribbled).sum(1), (w * ~scribbled).sum(1)
    least = parameters.share / (1 - parameters.share) * others / own.clamp_min(1e-6)
    w = torch.where(scribbled, w * least.clamp_min(1)[:, None], w)
    if parameters.balanced:
        totals = torch.stack([(w * ~y).sum(1), (w * y).sum(1)], 1).clamp_min(1e-6)
        w = w / totals.gather(1, y.long())
    return w / w.sum(1, keepdim=True)


def _descended(start: Weights, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor, parameters: Parameters) -> Weights:
    """Every box's weights after gradient descent on its points: features (N, n, C), labels and shares (N, n)."""
    weights, velocity = start, tuple(torch.zeros_like(one) for one in start)
    for _ in range(parameters.iterations):
        gradient = _gradient(weights, x, y, w)
        velocity = tuple(parameters.momentum * v + g for v, g in zip(velocity, gradient, strict=True))
        weights = tuple(  # type: ignore[assignment]  # four of them
            one - moved * parameters.rate * v for one, moved, v in zip(weights, MOVED, velocity, strict=True)
        )
    return weights


def _gradient(weights: Weights, x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> Weights:
    matrix, bias, direction, offset = weights
    hidden = torch.baddbmm(bias[:, None], x, matrix.transpose(1, 2)).relu()
    residual = w * (torch.baddbmm(offset[:, None, None], hidden, direction[..., None])[..., 0].sigmoid() - y)
    through = (hidden > 0) * residual[..., None]  # a unit passes the gradient on where it is active
    return (
        through.transpose(1, 2) @ x * direction[..., None],
        through.sum(1) * direction,
        (hidden * residual[..., None]).sum(1),
        residual.sum(1),
    )


def weights_of(classifier: Classifier, count: int) -> Weights:
    """A classifier's weights, as often as there are boxes."""
    first, last = classifier.linear
    direction, offset = last.weight[1] - last.weight[0], last.bias[1] - last.bias[0]
    return (
        first.weight.expand(count, -1, -1),
        first.bias.expand(count, -1),
        direction.expand(count, -1),
        offset.expand(count),
    )


def odds_of(features: torch.Tensor, weights: Weights) -> torch.Tensor:
    """The log-odds (N, P) that every box's classifier has for its features (N, P, C)."""
    matrix, bias, direction, offset = weights
    hidden = torch.baddbmm(bias[:, None], features, matrix.transpose(1, 2)).relu()
    return torch.baddbmm(offset[:, None, None], hidden, direction[..., None])[..., 0]
