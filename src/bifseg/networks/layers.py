"""Layers that trunks are made of: convolutions that normalise, and blocks with a way around."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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


def pyramid(
    dimension: int, entering: Sequence[int], widths: Sequence[int], blocks: Sequence[int], compressed: int
) -> tuple[nn.ModuleList, nn.ModuleList, nn.ModuleList, nn.ModuleList]:
    """The parts of an encoder-decoder: each scale but the finest, the bridges back to the finer one, what is made of
    both, and what the next two scales but the coarsest pass on.

    ``entering``: channels that each scale gets; ``widths``: those it makes, the finest first; ``blocks``: residual
    blocks of each scale but the finest; ``compressed``: channels that are passed on.
    """
    conv = nn.Conv2d if dimension == 2 else nn.Conv3d
    down = nn.ModuleList(
        nn.Sequential(*convolution(dimension, a, b, stride=2), *(Residual(dimension, b) for _ in range(count)))
        for a, b, count in zip(entering, widths[1:], blocks, strict=True)
    )
    bridge = nn.ModuleList(conv(b, a, 1) for a, b in pairwise(widths))
    up = nn.ModuleList(convolution(dimension, width, width) for width in widths[:-1])
    return down, bridge, up, nn.ModuleList(conv(width, compressed, 1) for width in widths[1:-1][:2])


def groups(*widths: int) -> int:
    """The most groups that divide all widths into eight channels or more: a group of one voxel still has a spread."""
    return max(g for g in range(1, max(1, min(widths) // 8) + 1) if all(w % g == 0 for w in widths))
