"""Our own trunk, made for a CPU: an encoder-decoder that sees where in the box a pixel lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn

from bifseg.networks.base import BoxNetwork, Classifier, Part, as_they_are, encoded, padded, position, upsampled
from bifseg.networks.guidance import CHANNELS
from bifseg.networks.layers import Residual, convolution


class MultiScaleNet(BoxNetwork):
    """A compact encoder-decoder whose features of all scales are concatenated at full resolution.

    Beside the image it sees where in the box a pixel lies, because the box is half of what the user said. Only the
    stem works at full resolution: that is where an encoder-decoder spends its time on a CPU. Group normalisation
    keeps it independent of batch size. ``widths``: channels per scale, fine to coarse; ``compressed``: feature
    channels that each coarse scale contributes. ``blocks``: residual blocks per coarse scale; None: none.
    ``context``: pixels around the box that a listening trunk sees
    beside what the user said (`guidance.CHANNELS`); None: it sees the box's image alone.
    """

    def __init__(
        self,
        dimension: int,
        widths: Sequence[int],
        compressed: int = 8,
        hidden: int = 32,
        context: int | None = None,
        blocks: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.listens, self.context_cells = context is not None, context or 0
        self.sparse = dimension - 1  # a plane has few points
        said = len(CHANNELS) - 1 if self.listens else 0
        self.dimension, self.widths, self.halves = dimension, tuple(widths), dimension == 2
        fine, *coarse = self.widths
        self.stem = convolution(dimension, 1 + 2 * dimension + said, fine)
        self.down = nn.ModuleList(
            nn.Sequential(
                convolution(dimension, a, b, stride=2),
                convolution(dimension, b, b),
                *(Residual(dimension, b) for _ in range(count)),
            )
            for (a, b), count in zip(pairwise(self.widths), blocks or [0] * len(coarse), strict=True)
        )
        conv = nn.Conv2d if dimension == 2 else nn.Conv3d
        self.bridge = nn.ModuleList(conv(b, a, 1) for a, b in pairwise(coarse))
        self.up = nn.ModuleList(convolution(dimension, a, a) for a in coarse[:-1])
        self.compress = nn.ModuleList(conv(b, compressed, 1) for b in coarse)
        self.channels = fine + compressed * len(coarse) + said
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        image = padded(image, 2 ** (len(self.widths) - 1)) if self.listens else image
        box = image[:1, 1:2] if self.listens else torch.ones_like(image[:1])
        place = position(box).to(image.dtype).expand(len(image), *[-1] * (image.ndim - 1))
        x = padded(torch.cat([image[:, :1], place, image[:, 1:]], dim=1), 2 ** (len(self.widths) - 1))
        fine = self.stem(x)
        maps = encoded(self.down, fine)
        x = maps[-1]
        half = maps[0].shape[2:]
        yield fine, fine.shape[2:]
        outputs = [upsampled(self.compress[-1](x), half)]
        for k in reversed(range(len(self.up))):
            x = self.up[k](maps[k] + upsampled(self.bridge[k](x), maps[k].shape[2:]))
            outputs.append(upsampled(self.compress[k](x), half))
        yield torch.cat(outputs, dim=1), fine.shape[2:]
        if self.listens:
            yield as_they_are(image), image.shape[2:]
