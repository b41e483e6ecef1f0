"""A network grows out of a smaller one, and answers as that one did until it learns."""

from __future__ import annotations

import torch

from bifseg.errors import InvalidInput
from bifseg.networks.base import BoxNetwork


@torch.no_grad()
def grow(network: BoxNetwork, smaller: BoxNetwork) -> None:
    """Take over the weights of a network of the same kind that hears less or is narrower, and answer as it does.

    What it knew does not look at what is new; that begins as layers do, and blocks that are new pass on what they get.
    InvalidInput where it is no part of the network.
    """
    known, grown = smaller.state_dict(), network.state_dict()
    for name, old in known.items():
        if (
            name not in grown
            or old.ndim != grown[name].ndim
            or any(a > b for a, b in zip(old.shape, grown[name].shape, strict=True))
        ):
            raise InvalidInput("The network to start from is of another kind than the one to train, or it is wider.")
    for name, own in grown.items():
        if name in known:
            part = tuple(slice(n) for n in known[name].shape)
            if own.ndim > 1:
                own[part[0]] = 0
            own[part] = known[name]
