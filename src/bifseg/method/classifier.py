"""The classifier that adapts, on a (pixels, C) matrix: logistic regression with one hidden layer, written out.

Automatic differentiation would give the same numbers (tests/method/test_classifier.py) in two to three times the time.
"""

from __future__ import annotations

import torch
from torch import nn

from bifseg.networks.base import Classifier

CHUNK = 1 << 14  # rows at once: their hidden layer stays in the cache
HALVINGS = 4  # of a rate that is too large, at most


def log_odds(classifier: Classifier, features: torch.Tensor) -> torch.Tensor:
    """log p / (1 - p) of the foreground; two-class softmax depends on no more.

    Parameters
    ----------
    classifier
        Not changed.
    features
        (pixels, C), float32.

    Returns
    -------
    Tensor
        (pixels,), float32.
    """
    first, last = classifier.linear
    direction, offset = _difference(last.weight), _difference(last.bias)
    result = torch.empty(len(features))
    hidden = torch.empty(min(CHUNK, len(features)), len(direction))
    with torch.inference_mode():
        for rows, out in zip(features.split(CHUNK), result.split(CHUNK), strict=True):
            _forward(first, direction, offset, rows, hidden[: len(rows)], out)
    return result


@torch.inference_mode()
def descend(
    classifier: Classifier,
    x: torch.Tensor,
    y: torch.Tensor,
    w: torch.Tensor,
    *,
    iterations: int,
    rate: float,
    momentum: float = 0.0,
) -> tuple[float, float]:
    """Gradient descent on Eq. 12, the weighted cross entropy.

    It never ends above where it began: a descent that would is done again at half the rate, `HALVINGS` times at most,
    and then not at all. In 2D one in fifty is; without that, now and then a mask was lost by strokes that were right.

    Parameters
    ----------
    classifier
        Changed in place.
    x
        (n, C) features.
    y
        (n,), 1 foreground, 0 background.
    w
        (n,) weights that sum to 1.
    iterations, rate, momentum
        Of the descent, as in `Parameters`.

    Returns
    -------
    tuple of float
        The loss before and after.
    """
    first, last = classifier.linear
    direction, offset = _difference(last.weight), _difference(last.bias)
    parameters = [first.weight, first.bias, direction, offset]
    started = [p.clone() for p in parameters]
    hidden, z = torch.empty(len(x), len(direction)), torch.empty(len(x))

    def loss() -> float:
        _forward(first, direction, offset, x, hidden, z)
        return float(w @ (torch.nn.functional.softplus(z) - y * z))

    def run(rate: float) -> float:
        velocity = [torch.zeros_like(p) for p in parameters]
        # What moves the difference of the two logits moves both of them, in opposite directions: twice as fast.
        rates = [rate, rate, 2 * rate, 2 * rate]
        for _ in range(iterations):
            _forward(first, direction, offset, x, hidden, z)
            residual = z.sigmoid_().sub_(y).mul_(w)
            of_direction = hidden.T @ residual
            through = hidden.sign_().mul_(residual[:, None])  # a unit passes the gradient on where it is active
            gradient = [(through.T @ x) * direction[:, None], through.sum(0) * direction, of_direction, residual.sum()]
            for p, v, g, r in zip(parameters, velocity, gradient, rates, strict=True):
                p -= r * v.mul_(momentum).add_(g)
        return loss()

    before = loss()
    for halved in range(HALVINGS + 1):
        if (after := run(rate / 2**halved)) <= before:
            break
        for parameter, then in zip(parameters, started, strict=True):
            parameter.copy_(then)
    else:
        after = before
    for parameter, now, then in zip((last.weight, last.bias), (direction, offset), started[2:], strict=True):
        half = (now - then) / 2
        parameter[0] -= half
        parameter[1] += half
    return before, after


def _forward(
    first: nn.Linear,
    direction: torch.Tensor,
    offset: torch.Tensor,
    rows: torch.Tensor,
    hidden: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """The hidden layer of some rows and their log-odds, into ``hidden`` and ``out``."""
    torch.addmm(first.bias, rows, first.weight.T, out=hidden).relu_()
    torch.addmv(offset.expand(len(rows)), hidden, direction, out=out)


def _difference(parameter: torch.Tensor) -> torch.Tensor:
    """Of the foreground's row and the background's, a tensor of its own."""
    return (parameter[1] - parameter[0]).detach()
