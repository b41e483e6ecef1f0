"""Layers that trunks are made of: convolutions that normalise, and blocks with a way around."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def convolution(dimension: int, entering: int, leaving: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A padded convolution, normalised over groups of channels, and a ReLU."""
    conv = nn.Conv2d if dimension == 2 else nn.Conv3d
    return nn.Sequential(
        conv(entering, leaving, kernel, padding=kernel // 2, stride=stride, bias=False),
        nn.GroupNorm(groups(leaving), leaving),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two convolutions and a way around them (He et al. 2016), normalised over groups of channels.

    At first it passes on what it gets: its last scale is zero.
    """

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__()
        first, second = (convolution(dimension, width, width) for _ in range(2))
        self.body = nn.Sequential(*first, *list(second)[:-1])
        nn.init.zeros_(self.body[-1].get_parameter("weight"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


def groups(*widths: int) -> int:
    """The most groups that divide all widths into eight channels or more: a group of one voxel still has a spread."""
    return max(g for g in range(1, max(1, min(widths) // 8) + 1) if all(w % g == 0 for w in widths))
