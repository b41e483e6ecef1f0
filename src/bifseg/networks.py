"""Networks with a trunk that never changes (``features``) and a small per-pixel classifier that adapts to the image.

Tensors are (N, C, x, y) or (N, C, x, y, z). ``features`` maps one channel to C feature channels at full resolution;
``classifier`` maps each pixel's feature vector to two logits (background, foreground), so it works on a
(pixels, C) matrix as well as on a grid: that matrix is all that image-specific fine-tuning needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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

    def features(self, image: torch.Tensor) -> torch.Tensor:
        outputs = []
        for block in self.blocks:
            image = block(image)
            outputs.append(image)
        return torch.cat(outputs, dim=1)


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

    def features(self, image: torch.Tensor) -> torch.Tensor:
        outputs = []
        for block, compress in zip(self.blocks, self.compress, strict=True):
            image = block(image)
            outputs.append(compress(image))
        return torch.cat(outputs, dim=1)


class MultiScaleNet(BoxNetwork):
    """A compact encoder-decoder whose features of all scales are concatenated at full resolution.

    Beside the image it sees where in the box a pixel lies, because the box is half of what the user said. Only the
    stem works at full resolution: that is where an encoder-decoder spends its time on a CPU. Group normalisation
    keeps it independent of batch size. ``widths``: channels per scale, fine to coarse; ``compressed``: feature
    channels that each coarse scale contributes.
    """

    def __init__(self, dimension: int, widths: Sequence[int], compressed: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.dimension, self.widths = dimension, tuple(widths)
        fine, *coarse = self.widths
        self.stem = self._block(1 + 2 * dimension, fine)
        self.down = nn.ModuleList(
            nn.Sequential(self._block(a, b, stride=2), self._block(b, b)) for a, b in pairwise(self.widths)
        )
        conv = nn.Conv2d if dimension == 2 else nn.Conv3d
        self.bridge = nn.ModuleList(conv(b, a, 1) for a, b in pairwise(coarse))
        self.up = nn.ModuleList(self._block(a, a) for a in coarse[:-1])
        self.compress = nn.ModuleList(conv(b, compressed, 1) for b in coarse)
        self.channels = fine + compressed * len(coarse)
        self.classifier = Classifier(self.channels, hidden)

    def _block(self, entering: int, leaving: int, stride: int = 1) -> nn.Sequential:
        conv = nn.Conv2d if self.dimension == 2 else nn.Conv3d
        return nn.Sequential(
            conv(entering, leaving, 3, padding=1, stride=stride, bias=False),
            nn.GroupNorm(max(1, leaving // 8), leaving),
            nn.ReLU(),
        )

    def features(self, image: torch.Tensor) -> torch.Tensor:
        size = image.shape[2:]
        multiple = 2 ** (len(self.widths) - 1)
        pad = [p for n in reversed(size) for p in (0, -n % multiple)]
        x = F.pad(torch.cat([image, _position(image)], dim=1), pad, mode="replicate")
        fine = x = self.stem(x)
        encoded = []
        for down in self.down:
            x = down(x)
            encoded.append(x)
        half = encoded[0].shape[2:]
        outputs = [self._resize(self.compress[-1](x), half)]
        for k in reversed(range(len(self.up))):
            x = self.up[k](encoded[k] + self._resize(self.bridge[k](x), encoded[k].shape[2:]))
            outputs.append(self._resize(self.compress[k](x), half))
        coarse = self._resize(torch.cat(outputs, dim=1), fine.shape[2:])
        window = (slice(None), slice(None), *(slice(n) for n in size))
        return torch.cat([fine, coarse], dim=1)[window]

    def _resize(self, x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        if x.shape[2:] == size:
            return x
        return F.interpolate(x, size=size, mode="bilinear" if self.dimension == 2 else "trilinear")


def _position(image: torch.Tensor) -> torch.Tensor:
    """Where each pixel lies in its box: signed (-1 to 1) and absolute position per axis, (N, 2 d, ...)."""
    axes = [torch.linspace(-1, 1, n, device=image.device, dtype=image.dtype) for n in image.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([grid, grid.abs()]).expand(len(image), -1, *grid.shape[1:])


ARCHITECTURES = {"pnet": PNet, "pcnet": PCNet, "multiscale": MultiScaleNet}


def build(architecture: str, **settings) -> BoxNetwork:
    """The network of a name and its settings; ValueError lists the known names."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"Unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}.")
    try:
        return ARCHITECTURES[architecture](**settings)
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"The settings {settings} do not fit the architecture {architecture!r}: {error}.") from None
