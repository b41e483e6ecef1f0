"""A network grows out of a smaller one."""

import pytest
import torch

from bifseg.errors import InvalidInput
from bifseg.networks import build
from bifseg.networks.growth import grow
from bifseg.training.learners import loss_of


def test_a_network_that_grows_answers_as_before():
    torch.manual_seed(0)
    smaller, network = build("fcn", width=8, head=16), build("fcn", width=8, head=16, context=8)
    grow(network, smaller)
    image = torch.randn(1, 1, 64, 64)
    said = torch.cat([image, torch.randn(1, 6, 64, 64)], 1)
    with torch.inference_mode():
        torch.testing.assert_close(network(said), smaller(image), rtol=1e-4, atol=1e-4)


@pytest.mark.server
def test_a_network_that_grows_wider_and_deeper_answers_as_before_and_learns_everywhere():
    small = build("multiscale", dimension=3, widths=[8, 16, 24])
    large = build("multiscale", dimension=3, widths=[8, 24, 40], blocks=[1, 2])
    grow(large, small)
    box = torch.randn(2, 1, 12, 16, 20)
    assert torch.allclose(large(box), small(box), atol=1e-5)
    optimiser = torch.optim.SGD(large.parameters(), lr=0.1)
    for _ in range(3):  # first what is seen of the new, then the new itself
        optimiser.zero_grad()
        logits = large(box)
        loss_of(logits[:, 1] - logits[:, 0], box[:, 0] > 0.5).backward()
        optimiser.step()
    assert all(weight.grad.abs().max() > 0 for weight in large.parameters())


@pytest.mark.parametrize("widths", [[8, 32, 24], [8, 24, 24, 24]])
def test_nothing_grows_out_of_what_is_wider_or_deeper(widths):
    other = build("multiscale", dimension=3, widths=widths)
    with pytest.raises(InvalidInput, match="another kind than the one to train, or it is wider"):
        grow(build("multiscale", dimension=3, widths=[8, 24, 40]), other)
