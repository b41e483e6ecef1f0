"""Copies of networks: the same answers, and weights of their own."""

import pytest
import torch

from bifseg.networks.checkpoint import load_model
from bifseg.networks.copies import copied


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_copy_computes_the_same_and_changes_alone(dimension):
    network = load_model("default", dimension).network
    image = torch.rand(1, 1, *(32,) * dimension)
    with torch.no_grad():
        before = network(image)
        made = copied(network).requires_grad_(True)
        assert torch.equal(made(image), before)
        assert {name: tensor.shape for name, tensor in made.state_dict().items()} == {
            name: tensor.shape for name, tensor in network.state_dict().items()
        }
        assert not any(weight.requires_grad for weight in network.parameters())
        for weight in made.parameters():
            weight.add_(0.1)
        assert not torch.equal(made(image), before)
        assert torch.equal(network(image), before)


def test_buffers_hooks_and_parts_are_its_own_and_gradients_stay_behind():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.BatchNorm1d(2))
    network(torch.rand(4, 2)).sum().backward()
    made, steps = copied(network), network[1].num_batches_tracked.clone()
    assert all(weight.grad is None for weight in made.parameters())
    made(torch.rand(4, 2))
    made.register_forward_hook(lambda *_: 1 / 0)
    made.append(torch.nn.ReLU())
    assert network[1].num_batches_tracked == steps
    assert len(network) == 2
    assert network.train()(torch.rand(4, 2)).shape == (4, 2)
