"""Fine-tuning within training is what fine-tuning after it is."""

import numpy as np
import pytest
import torch

from bifseg.method.finetune import update_network
from bifseg.method.parameters import preset
from bifseg.method.weight_map import weight_map
from bifseg.networks.base import Classifier
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND
from bifseg.training.adaptation import ITERATIONS, MOMENTUM, RATE, adapted_odds, fine_tuned, odds_of, weights_of

SHAPE, CHANNELS = (24, 30), 6


def a_classifier(seed=0):
    torch.manual_seed(seed)
    return Classifier(CHANNELS, 8)


def boxes(count=3):
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(count, SHAPE[0] * SHAPE[1], CHANNELS)).astype(np.float32))
    scribbles = np.zeros((count, *SHAPE), np.uint8)
    scribbles[:, 4:6, 3:12], scribbles[:, 18:20, 5:25] = FOREGROUND, BACKGROUND
    scribbles[0, 18:20] = 0  # one label alone
    return features, scribbles


def adapted(classifier, features, scribbles, near, parameters):
    return adapted_odds(classifier, features, torch.from_numpy(scribbles).flatten(1), near, parameters)


@pytest.mark.parametrize("changes", [{}, {"balanced": False, "share": 0.0}, {"unsure": 1.0, "blend": 0.25}])
def test_a_batch_is_fine_tuned_as_each_of_its_objects_is(changes):
    parameters = preset("fast", 2).but(
        evidence=0.0, samples=0, iterations=ITERATIONS, rate=RATE, momentum=MOMENTUM, **changes
    )
    features, scribbles = boxes()
    found = adapted(a_classifier(), features, scribbles, torch.zeros(3, 2, features.shape[1]), parameters)
    for one, drawn, odds in zip(features, scribbles, found, strict=True):
        trained, classifier = a_classifier(), a_classifier()

        def log_odds(of, x=one):
            logits = of(x)
            return (logits[:, 1] - logits[:, 0]).detach()

        p = log_odds(trained).sigmoid().numpy().reshape(SHAPE)
        labels = np.where(drawn > 0, drawn == FOREGROUND, p > 0.5)
        weights = weight_map(
            p, labels, drawn, np.zeros(SHAPE, np.float32), t0=parameters.t0, t1=parameters.t1, epsilon=0.0,
            omega=parameters.omega, unsure=parameters.unsure,
        )  # fmt: skip
        update_network(classifier, [one], labels, weights, drawn, parameters)
        expected = parameters.blend * log_odds(classifier) + (1 - parameters.blend) * log_odds(trained)
        torch.testing.assert_close(odds.detach(), expected, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(expected, log_odds(trained), atol=1e-2)


def test_strokes_are_seen_around_them_and_teach_features_and_weights():
    parameters, classifier = preset("fast", 2), a_classifier()
    features, scribbles = boxes()
    features.requires_grad_(True)
    near = torch.zeros(3, 2, features.shape[1])
    far = adapted(classifier, features, scribbles, near, parameters)
    near[:, 0, 400] = 1.0
    torch.manual_seed(0)
    close = adapted(classifier, features, scribbles, near, parameters)
    assert (close[:, 400] > far[:, 400] + 0.5 * parameters.evidence).all()
    elsewhere = torch.from_numpy(scribbles).flatten(1) == 0
    close[elsewhere].sum().backward()
    assert (features.grad[:, scribbles[1].ravel() > 0].abs().amax((1, 2)) > 0).all()  # through the descent alone
    assert all(weight.grad.abs().max() > 0 for weight in classifier.parameters())


def test_a_descent_that_would_end_above_where_it_began_is_not_taken():
    parameters = preset("fast", 2).but(rate=1e4)
    features, scribbles = boxes()
    drawn = torch.from_numpy(scribbles).flatten(1)
    start = weights_of(a_classifier(), len(features))
    p = odds_of(features, start).sigmoid()
    labels = torch.rand(p.shape, generator=torch.Generator().manual_seed(0)) > 0.5  # which nothing foretells
    for before, after in zip(start, fine_tuned(start, features, labels, p, drawn, parameters), strict=True):
        torch.testing.assert_close(after, before)
