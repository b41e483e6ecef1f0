"""How networks are run while they learn."""

import pytest
import torch
from torch import nn

from bifseg.networks import execution
from bifseg.networks.checkpoint import load_model
from bifseg.networks.copies import copied
from bifseg.networks.execution import convolved_by_onednn


def answer_and_gradients(network):
    image = torch.randn(1, 1, 16, 20, 24, generator=torch.manual_seed(0))
    network.zero_grad()
    logits = network(image)
    logits.square().mean().backward()
    return logits.detach(), [parameter.grad.clone() for parameter in network.parameters()]


@pytest.mark.parametrize("name", ["multiscale3d", "pcnet"])
def test_while_it_learns_it_answers_as_ever_and_has_the_same_gradients(name):
    network = copied(load_model(name).network).requires_grad_(True)
    logits, gradients = answer_and_gradients(network)
    with convolved_by_onednn(network):
        same, others = answer_and_gradients(network)
    torch.testing.assert_close(same, logits, rtol=1e-4, atol=1e-4)
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))


@pytest.mark.parametrize("shape", [(16, 20, 24), (17, 19, 22)])
def test_gradients_pass_through_convolutions_that_do_not_learn(shape):
    network = copied(load_model("multiscale3d").network).requires_grad_(True)
    for layer in network.modules():
        if isinstance(layer, nn.Conv3d) and layer.bias is None:
            layer.weight.requires_grad_(False)
    weights = [weight for weight in network.parameters() if weight.requires_grad]

    def gradients():
        network.zero_grad()
        network(torch.randn(1, 1, *shape, generator=torch.manual_seed(1))).square().mean().backward()
        return [weight.grad.clone() for weight in weights]

    expected = gradients()
    with convolved_by_onednn(network):
        found = gradients()
    for gradient, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))


def test_afterwards_it_is_as_it_was_even_where_learning_failed(monkeypatch):
    network, calls = copied(load_model("multiscale3d").network), []
    monkeypatch.setattr(execution, "_convolved", lambda layer, x: calls.append(layer) or nn.Conv3d.forward(layer, x))

    def fail():
        with convolved_by_onednn(network):
            network(torch.zeros(1, 1, 16, 16, 16))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    assert not any("forward" in vars(layer) for layer in layers)
    count = len(calls)
    network(torch.zeros(1, 1, 16, 16, 16))
    assert len(calls) == count
