import copy

import pytest
import torch
from torch.nn import functional as F

from bifseg.method.classifier import CHUNK, descend, log_odds
from bifseg.networks.base import Classifier


@pytest.fixture
def case():
    """A classifier and 500 weighted pixels to teach it."""
    torch.manual_seed(0)
    x, w = torch.randn(500, 12), torch.rand(500)
    return Classifier(12, 7), x, (x[:, 0] * x[:, 1] > 0.2).float(), w / w.sum()


def by_autograd(classifier, x, y, w, iterations, rate, momentum):
    """The same descent by automatic differentiation: what the written-out one must equal."""
    own = list(classifier.parameters())
    velocity, losses = [torch.zeros_like(p) for p in own], []
    for _ in range(iterations + 1):
        logits = classifier(x)
        loss = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], y, w, reduction="sum")
        losses.append(loss.item())
        gradient = torch.autograd.grad(loss, own)
        with torch.no_grad():
            for p, v, g in zip(own, velocity, gradient, strict=True):
                if len(losses) <= iterations:
                    p -= rate * v.mul_(momentum).add_(g)
    return losses[0], losses[-1]


@pytest.mark.parametrize(("iterations", "rate", "momentum"), [(1, 0.5, 0.0), (40, 0.2, 0.9), (30, 1.0, 0.0)])
def test_the_descent_is_that_of_automatic_differentiation(case, iterations, rate, momentum):
    classifier, x, y, w = case
    other = copy.deepcopy(classifier)
    losses = descend(classifier, x, y, w, iterations=iterations, rate=rate, momentum=momentum)
    assert losses == pytest.approx(by_autograd(other, x, y, w, iterations, rate, momentum), rel=1e-4)
    assert losses[1] < losses[0]
    for own, expected in zip(classifier.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-5)


def test_a_rate_that_is_too_large_is_halved_until_the_loss_falls(case):
    classifier, x, y, w = case
    other = copy.deepcopy(classifier)
    before, after = descend(classifier, x, y, w, iterations=40, rate=32.0, momentum=0.9)
    assert after < before
    half = next(r for r in (16.0, 8.0, 4.0, 2.0) if (losses := descended(other, x, y, w, r)) and losses[1] <= losses[0])
    assert (before, after) == pytest.approx(descended(other, x, y, w, half), rel=1e-3)


def descended(classifier, x, y, w, rate):
    """By one rate alone."""
    return by_autograd(copy.deepcopy(classifier), x, y, w, 40, rate, 0.9)


def test_where_no_rate_lowers_the_loss_all_stays_as_it_was(case):
    classifier, x, y, w = case
    before = copy.deepcopy(classifier)
    losses = descend(classifier, x, y, w, iterations=40, rate=1e6, momentum=0.9)
    assert losses[0] == losses[1]
    for own, expected in zip(classifier.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(own, expected)


def test_no_iterations_change_nothing(case):
    classifier, x, y, w = case
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    first, second = descend(classifier, x, y, w, iterations=0, rate=1.0)
    assert first == second
    assert all(torch.equal(t, before[name]) for name, t in classifier.state_dict().items())


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 3])
def test_log_odds_are_the_difference_of_the_logits(case, count):
    classifier = case[0]
    x = torch.randn(count, 12)
    logits = classifier(x)
    torch.testing.assert_close(log_odds(classifier, x), logits[:, 1] - logits[:, 0], rtol=1e-4, atol=1e-5)
