"""One network proposes from the box, another refines once there are strokes (DeepIGeoS, Wang et al., TPAMI 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bifseg.errors import InvalidInput
from bifseg.networks import Design, build
from bifseg.networks.base import BoxNetwork, Classifier, Part, trunk_state
from bifseg.networks.guidance import CHANNELS, STROKES

UNIT = 8.0  # of the proposal's log-odds as a feature: like the others it is about one, so that descent treats it alike


class TwoStage(BoxNetwork):
    """From the box alone, what one network proposes; once there are strokes, a mean of that and of what another hears.

    A network that was trained on boxes makes the better first mask, one that listens to strokes the better next ones.
    The proposal is made once a box (`Crop`) and is a channel of the input, after those of `guidance.CHANNELS`: its
    log-odds. The features are the proposal and those of the refining trunk, zeros at no cost before there are strokes,
    so that a classifier like any other gives the mean (`joined`), and adapts to the image as any other.

    Parameters
    ----------
    proposal
        The network that sees the box's image alone.
    refinement
        The network of the same dimension that listens.
    shares
        Weights of the log-odds of both once there are strokes.
    """

    listens = True

    def __init__(self, proposal: Design, refinement: Design, shares: tuple[float, float] = (0.5, 0.5)) -> None:
        super().__init__()
        self.proposal, self.refinement = _built(proposal), _built(refinement)
        first, second = self.proposal, self.refinement
        if first.listens or not second.listens or first.dimension != second.dimension:
            raise InvalidInput(
                "The first stage is a network that does not listen, the second one of the same dimension that does."
            )
        self.dimension, self.context_cells = second.dimension, second.context_cells
        self.halves = first.halves and second.halves
        self.channels = 2 + second.channels
        self.shares = tuple(shares)
        self.classifier = joined(second.classifier, self.shares[1])
        del second.classifier

    @classmethod
    def of(
        cls, proposal: tuple[Design, BoxNetwork], refinement: tuple[Design, BoxNetwork], **settings: Any
    ) -> TwoStage:
        """With the weights of networks that were trained apart."""
        both = cls(proposal[0], refinement[0], **settings)
        both.proposal.load_state_dict(proposal[1].state_dict())
        both.refinement.load_state_dict(trunk_state(refinement[1]))
        both.classifier = joined(refinement[1].classifier, both.shares[1])
        return both

    def first_stage(self) -> BoxNetwork:
        return self.proposal

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        """``image``: (N, 8, ...), the channels of `guidance.CHANNELS` and the proposal, over the box and its context;
        N views of one box."""
        said, proposal, size = image[:, : len(CHANNELS)], image[:, len(CHANNELS) :], image.shape[2:]
        heard = bool(said[:, STROKES].any())
        share = self.shares[0] if heard else 1.0
        yield torch.cat([proposal * (share / UNIT), torch.full_like(proposal, heard)], dim=1), size
        if heard:
            yield from self.refinement.parts(said)
        else:
            yield said.new_zeros(len(said), self.refinement.channels, *[1] * len(size)), size


def joined(refinement: Classifier, share: float) -> Classifier:
    """On the features of `TwoStage`: a classifier whose logits differ by the proposal and a share of the refinement's.

    The refinement's biases become weights of the feature that says whether it has its turn: before that it adds
    nothing.
    """
    first, last = refinement.linear
    hidden = first.out_features
    both = Classifier(2 + first.in_features, 3 + hidden)
    entering, leaving = both.linear
    with torch.no_grad():
        for parameter in both.parameters():
            parameter.zero_()
        entering.weight[0, 0], entering.weight[1, 0] = 1, -1  # a proposal passes as its positive and its negative part
        leaving.weight[:, :2] = UNIT / 2 * torch.tensor([[-1, 1], [1, -1]])
        entering.weight[2, 1] = 1
        leaving.weight[:, 2] = share * last.bias
        entering.weight[3:, 1] = first.bias
        entering.weight[3:, 2:] = first.weight
        leaving.weight[:, 3:] = share * last.weight
    return both


def _built(stage: Design) -> BoxNetwork:
    architecture, settings = stage
    if architecture == "two-stage":
        raise InvalidInput("A stage of a two-stage network is a network of one stage.")
    return build(architecture, **settings)
