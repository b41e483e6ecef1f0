"""What every network is made of: a trunk that never changes, and the classifier per pixel that adapts to the image."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Classifier(nn.Sequential):
    """Two fully connected layers per pixel: (..., C) features -> (..., 2) logits (block 6 of P-Net)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 2))


class BoxNetwork(nn.Module):
    """What every network here is: ``features`` then ``classifier``; calling it gives logits (N, 2, ...)."""

    dimension: int
    channels: int  # of the features
    classifier: Classifier

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, ...) normalised image -> (N, C, ...) features."""
        raise NotImplementedError

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(self.features(image).movedim(1, -1))
        return logits.movedim(-1, 1)


def padded(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """The image (N, C, ...), its last pixels repeated until every side is a multiple of ``multiple``."""
    return F.pad(image, [p for n in reversed(image.shape[2:]) for p in (0, -n % multiple)], mode="replicate")


def cropped(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The first ``size`` pixels of every side of maps (N, C, ...): what `padded` added is taken off."""
    return maps[(slice(None), slice(None), *(slice(n) for n in size))]


def convolution(dimension: int, entering: int, leaving: int, kernel: int = 3) -> nn.Sequential:
    """A padded convolution, normalised over groups of channels, and a ReLU."""
    conv = nn.Conv2d if dimension == 2 else nn.Conv3d
    return nn.Sequential(
        conv(entering, leaving, kernel, padding=kernel // 2, bias=False),
        nn.GroupNorm(groups(leaving), leaving),
        nn.ReLU(),
    )


def groups(*widths: int) -> int:
    """The most groups that divide all widths into eight channels or more: a group of one voxel still has a spread."""
    return max(g for g in range(1, max(1, min(widths) // 8) + 1) if all(w % g == 0 for w in widths))
