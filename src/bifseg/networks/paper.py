"""The networks of the paper, with the trunks printed there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from bifseg.networks.base import BoxNetwork, Classifier, Part


class PNet(BoxNetwork):
    """P-Net, 2D (Wang et al. 2018, Fig. 2a): five dilated, resolution-preserving blocks, receptive field 181 x 181."""

    dimension = 2

    def __init__(self, width: int = 64, hidden: int = 128) -> None:
        super().__init__()
        depths, dilations = (2, 2, 3, 3, 3), (1, 2, 4, 8, 16)
        self.blocks = nn.ModuleList()
        for k, (depth, dilation) in enumerate(zip(depths, dilations, strict=True)):
            layers = []
            for j in range(depth):
                entering = 1 if k == j == 0 else width
                layers += [nn.Conv2d(entering, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
        self.channels = width * len(depths)
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        for block in self.blocks:
            image = block(image)
            yield image, image.shape[2:]


class PCNet(BoxNetwork):
    """PC-Net, 3D (Wang et al. 2018, Fig. 2b): as P-Net, 3x3x3 then 3x3x1 kernels, receptive field 85 x 85 x 9.

    The output of each block is compressed by a 1x1x1 convolution before concatenation. The through-plane axis is z.
    """

    dimension = 3

    def __init__(self, width: int = 64, compressed: int = 16, hidden: int = 128) -> None:
        super().__init__()
        depths, dilations = (2, 2, 3, 3, 3), (1, 2, 3, 4, 5)
        self.blocks, self.compress = nn.ModuleList(), nn.ModuleList()
        for k, (depth, d) in enumerate(zip(depths, dilations, strict=True)):
            # Blocks 1 and 2 see neighbouring slices, undilated through plane: 1 + 2 (2 + 2) = 9 slices in all.
            kernel, padding, dilation = (
                ((3, 3, 3), (d, d, 1), (d, d, 1)) if k < 2 else ((3, 3, 1), (d, d, 0), (d, d, 1))
            )
            layers = []
            for j in range(depth):
                entering = 1 if k == j == 0 else width
                layers += [nn.Conv3d(entering, width, kernel, padding=padding, dilation=dilation), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers))
            self.compress.append(nn.Conv3d(width, compressed, 1))
        self.channels = compressed * len(depths)
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        for block, compress in zip(self.blocks, self.compress, strict=True):
            image = block(image)
            yield compress(image), image.shape[2:]
