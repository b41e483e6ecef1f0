"""One network proposes from the box, another refines once there are strokes (DeepIGeoS, Wang et al., TPAMI 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.networks.base import BoxNetwork, Classifier, Part, cropped, upsampled
from bifseg.networks.guidance import STROKES

Stage = tuple[str, dict[str, Any]]  # architecture and settings, as `bifseg.networks.build` takes them


class TwoStage(BoxNetwork):
    """Two trunks under one classifier: whichever has its turn gives its features, the other zeros, at no cost.

    A network that was trained on boxes alone makes the better first mask; one that listens makes the better next ones.
    The features are those of both and, for each, whether it is its turn, so that a classifier like any other gives
    exactly the logits of the one or of the other (`joined`), and adapts to the image as any other.

    Parameters
    ----------
    proposal
        The network that sees the box's image alone.
    refinement
        The network of the same dimension that listens.
    """

    listens = True

    def __init__(self, proposal: Stage, refinement: Stage) -> None:
        super().__init__()
        self.stages = proposal, refinement
        members = [_built(stage) for stage in self.stages]
        if members[0].listens or not members[1].listens or members[0].dimension != members[1].dimension:
            raise InvalidInput(
                "The first stage is a network that does not listen, the second one of the same dimension that does."
            )
        self.dimension = members[0].dimension
        self.halves = all(member.halves for member in members)
        self.context_cells = members[1].context_cells
        self.channels = sum(member.channels + 1 for member in members)
        self.classifier = joined([member.classifier for member in members])
        for member in members:
            del member.classifier
        self.members = nn.ModuleList(members)

    @classmethod
    def of(cls, proposal: tuple[Stage, BoxNetwork], refinement: tuple[Stage, BoxNetwork]) -> TwoStage:
        """Both stages with the weights of networks that were trained apart."""
        both = cls(proposal[0], refinement[0])
        networks = proposal[1], refinement[1]
        for member, network in zip(both.members, networks, strict=True):
            member.load_state_dict({name: t for name, t in network.state_dict().items() if not _classifies(name)})
        both.classifier = joined([network.classifier for network in networks])
        return both

    def stage(self, index: int) -> BoxNetwork:
        """The network of one stage by itself, 0 or 1, with its own classifier: what `of` was given."""
        networks = [_built(stage) for stage in self.stages]
        column = sum(network.channels + 1 for network in networks[:index])
        row = sum(network.classifier.linear[0].out_features + 1 for network in networks[:index])
        first, last = (layer.weight for layer in self.classifier.linear)
        turn, passed = column + networks[index].channels, row + networks[index].classifier.linear[0].out_features
        classifier = {
            "classifier.0.weight": first[row:passed, column:turn],
            "classifier.0.bias": first[row:passed, turn],
            "classifier.2.weight": last[:, row:passed],
            "classifier.2.bias": last[:, passed],
        }
        networks[index].load_state_dict(self.members[index].state_dict() | classifier)
        return networks[index]

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        """``image``: (N, 7, ...), the channels of `guidance.CHANNELS` over the box and its context; N views of it."""
        size = image.shape[2:]
        heard = bool(image[:, STROKES].any())
        for turn, module in zip((not heard, heard), self.members, strict=True):
            member = cast("BoxNetwork", module)
            if not turn:
                yield image.new_zeros(len(image), member.channels + 1, *[1] * len(size)), size
                continue
            margin = 0 if heard else self.context_cells
            image_in_box = slice(None), slice(0, 1), *(slice(margin, n - margin) for n in size)
            seen = image if heard else normalised(image[image_in_box])
            for maps, whole in member.parts(seen):
                if margin:
                    maps = F.pad(cropped(upsampled(maps, whole), seen.shape[2:]), [margin] * 2 * len(size))
                yield maps, size if margin else whole
            yield image.new_ones(len(image), 1, *[1] * len(size)), size


def joined(classifiers: Sequence[Classifier]) -> Classifier:
    """The classifier on the features of `TwoStage` that gives each stage's own logits when it has its turn.

    Biases become weights of the feature that says whose turn it is: who is silent adds nothing.
    """
    layers = [classifier.linear for classifier in classifiers]
    both = Classifier(sum(a.in_features + 1 for a, _ in layers), sum(a.out_features + 1 for a, _ in layers))
    first, last = both.linear
    with torch.no_grad():
        for parameter in both.parameters():
            parameter.zero_()
        column = row = 0
        for a, b in layers:
            turn, passed = column + a.in_features, row + a.out_features
            first.weight[row:passed, column:turn] = a.weight
            first.weight[row:passed, turn] = a.bias
            first.weight[passed, turn] = 1
            last.weight[:, row:passed] = b.weight
            last.weight[:, passed] = b.bias
            column, row = turn + 1, passed + 1
    return both


def normalised(image: torch.Tensor) -> torch.Tensor:
    """Views of one image (N, 1, ...) as `bifseg.imaging.image.normalise` makes them, of this part of it alone."""
    low, high = torch.quantile(image[0].flatten(), torch.tensor([0.005, 0.995], device=image.device))
    clipped = image.clamp(low, high)
    return (clipped - clipped[0].mean()) / clipped[0].std(correction=0).clamp_min(1e-6)


def _built(stage: Stage) -> BoxNetwork:
    from bifseg.networks import build  # here, for the registry there names this module

    architecture, settings = stage
    if architecture == "two-stage":
        raise InvalidInput("A stage of a two-stage network is a network of one stage.")
    return build(architecture, **settings)


def _classifies(name: str) -> bool:
    return name.startswith("classifier.")
