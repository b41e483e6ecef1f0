"""FCN (Long et al. 2015) as a trunk: much work on coarse maps, next to none at full resolution, a CPU's slowest."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from bifseg.networks.base import BoxNetwork, Classifier, Part, as_they_are, padded, upsampled
from bifseg.networks.guidance import CHANNELS
from bifseg.networks.layers import convolution


class FCN(BoxNetwork):
    """FCN-8s on VGG-16 (Long et al. 2015): scores of strides 32, 16 and 8, each upsampled and summed with the next.

    The features are the fused scores, ``channels`` of them in the place of one per class, upsampled to full resolution.
    ``width``: of the first convolution; ``head``: of the two layers at stride 32. Departs from print: it is classified
    after the upsampling, not before; learns from nothing, not from ImageNet; every upsampling is bilinear, where print
    learns the first two; padded evenly, not by 100 pixels.

    ``context``: pixels around the box that a listening trunk sees beside what the user said (`guidance.CHANNELS`);
    None: it sees the box's image alone. ``detail``: channels that each of the two finest stages of a listening trunk
    gives to the classifier, which then also sees image and strokes as they are: the outline is finer than stride 8.
    """

    dimension = 2

    def __init__(
        self,
        width: int = 64,
        head: int = 4096,
        channels: int = 32,
        hidden: int = 32,
        context: int | None = None,
        detail: int = 8,
    ) -> None:
        super().__init__()
        self.listens, self.context_cells = context is not None, context or 0
        self.stages = nn.ModuleList()
        entering = len(CHANNELS) if self.listens else 1
        for factor, depth in zip((1, 2, 4, 8, 8), (2, 2, 3, 3, 3), strict=True):
            layers = []
            for _ in range(depth):
                layers.append(convolution(2, entering, factor * width))
                entering = factor * width
            self.stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.head = nn.Sequential(convolution(2, entering, head, kernel=7), convolution(2, head, head, kernel=1))
        self.scores = nn.ModuleList(nn.Conv2d(n, channels, 1) for n in (4 * width, 8 * width, head))
        self.channels = channels
        if self.listens:
            self.detail = nn.ModuleList(nn.Conv2d(n, detail, 1) for n in (width, 2 * width))
            self.channels += 2 * detail + len(CHANNELS) - 1
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        whole = x = padded(image, 32)
        size, finest, pooled = x.shape[2:], [], []
        for k, stage in enumerate(self.stages):
            *convolutions, pool = stage.children()
            for layer in convolutions:
                x = layer(x)
            if k < 2:
                finest.append(x)
            x = pool(x)
            pooled.append(x)
        fused = self.scores[2](self.head(x))
        for score, finer in ((self.scores[1], pooled[3]), (self.scores[0], pooled[2])):
            fused = score(finer) + upsampled(fused, finer.shape[2:])
        yield fused, size
        if self.listens:
            for layer, maps in zip(self.detail, finest, strict=True):
                yield layer(maps), size
            yield as_they_are(whole), size
