"""FCN (Long et al. 2015) as a trunk: much work on coarse maps, next to none at full resolution, a CPU's slowest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn

from bifseg.networks.base import BoxNetwork, Classifier, Part, convolution, padded, upsampled


class FCN(BoxNetwork):
    """FCN-8s on VGG-16 (Long et al. 2015): scores of strides 32, 16 and 8, each upsampled and summed with the next.

    The features are the fused scores, ``channels`` of them in place of one per class, upsampled to full resolution.
    ``width``: of the first convolution, which ``factors`` multiply per stage; ``depths``: convolutions per stage, each
    stage ending with pooling; ``head``, ``kernel``: of the two layers after the last. ``fine``: what the first stage
    saw at full resolution joins the features. With four stages it is an FCN-4s: 3D boxes have half as many voxels along
    a side. Departs from print: classified after the upsampling, not before; learns from nothing, not from ImageNet;
    every upsampling is linear, where print learns the first two; padded evenly, not by 100 pixels.
    """

    def __init__(
        self,
        dimension: int = 2,
        width: int = 64,
        factors: Sequence[int] = (1, 2, 4, 8, 8),
        depths: Sequence[int] = (2, 2, 3, 3, 3),
        head: int = 4096,
        kernel: int = 7,
        channels: int = 32,
        hidden: int = 32,
        fine: bool = False,
    ) -> None:
        super().__init__()
        self.dimension, self.fine, self.halves = dimension, fine, dimension == 2
        widths = [factor * width for factor in factors]
        conv, pool = (nn.Conv2d, nn.MaxPool2d) if dimension == 2 else (nn.Conv3d, nn.MaxPool3d)
        self.stages = nn.ModuleList()
        for (entering, leaving), depth in zip(pairwise([1, *widths]), depths, strict=True):
            layers = [convolution(dimension, entering if k == 0 else leaving, leaving) for k in range(depth)]
            self.stages.append(nn.Sequential(*layers, pool(2)))
        self.head = nn.Sequential(
            convolution(dimension, widths[-1], head, kernel=kernel), convolution(dimension, head, head, kernel=1)
        )
        self.scores = nn.ModuleList(conv(n, channels, 1) for n in (widths[-3], widths[-2], head))
        self.channels = channels + (widths[0] if fine else 0)
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        stride = 2 ** len(self.stages)
        x, pooled = padded(image, stride), []
        first = x = self.stages[0][:-1](x)
        for stage in (self.stages[0][-1], *self.stages[1:]):
            x = stage(x)
            pooled.append(x)
        fused = self.scores[2](self.head(x))
        for score, finer in ((self.scores[1], pooled[-2]), (self.scores[0], pooled[-3])):
            fused = score(finer) + upsampled(fused, finer.shape[2:])
        yield fused, first.shape[2:]
        if self.fine:
            yield first, first.shape[2:]
