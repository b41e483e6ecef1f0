"""A trunk that listens: it sees the image, the box with what lies around it, the mask so far and the user's strokes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from bifseg.networks.base import BoxNetwork, Classifier, Part, as_they_are, encoded, padded, position, upsampled
from bifseg.networks.guidance import CHANNELS
from bifseg.networks.layers import convolution, pyramid


class ListeningNet(BoxNetwork):
    """An encoder-decoder with residual blocks whose input holds what the user has said; see `guidance.CHANNELS`.

    ``widths``: channels per scale, fine to coarse. ``blocks``: residual blocks per scale but the finest. ``context``:
    pixels of the working grid that it sees around the box, on every side. ``compressed``: feature channels that
    each of the next two scales but the coarsest contributes. ``finest``: 2 where the finest scale has half the
    resolution of the working grid: a CPU has no time for wide maps of a whole volume. The classifier sees the
    decoder's maps and, as they are, the image and the user's strokes, so that what adapts to an image knows its
    intensities.

    Only few layers work at full resolution: that is where an encoder-decoder spends its time on a CPU. Where in the
    box a pixel lies enters at half of it. All images of a batch have the same box.
    """

    listens = True
    halves = False

    def __init__(
        self,
        dimension: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        context: int,
        compressed: int = 8,
        hidden: int = 32,
        finest: int = 1,
    ) -> None:
        super().__init__()
        if finest not in (1, 2) or context < finest:
            raise ValueError(f"finest is {finest} and context {context}; possible are 1 and 2, and no less context")
        self.dimension, self.context_cells = dimension, context
        self.finest = self.sparse = finest
        fine, *coarse = widths
        self.stem = convolution(dimension, len(CHANNELS), fine, stride=finest)
        entering = [fine + 2 * dimension, *coarse[:-1]]
        self.down, self.bridge, self.up, self.compress = pyramid(dimension, entering, widths, blocks, compressed)
        self.channels = fine + len(self.compress) * compressed + len(CHANNELS) - 1
        self.classifier = Classifier(self.channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        """``image``: (N, 7, ...), the channels of `guidance.CHANNELS` over the box and its context."""
        image = self._padded(image)
        maps = self._maps(image)
        fine = next(maps)
        yield fine, image.shape[2:]
        yield torch.cat(list(maps), dim=1), image.shape[2:]
        yield as_they_are(image), image.shape[2:]

    def _padded(self, image: torch.Tensor) -> torch.Tensor:
        """Every scale has exactly twice the pixels of the next one: where they are upsampled, they lie as they did."""
        return padded(image, self.finest * 2 ** len(self.down))

    def _maps(self, image: torch.Tensor) -> Iterator[torch.Tensor]:
        """What the classifier sees of the decoder: its finest maps, then those of the next two scales, which have at
        most half of the working grid's resolution."""
        fine = self.stem(image)
        every = [slice(None, None, self.finest)] * self.dimension
        some = slice(None, 1), slice(1, 2), *every
        place = position(image[some]).expand(len(image), *[-1] * (image.ndim - 1)).to(fine.dtype)
        maps = [fine, *encoded(self.down, torch.cat([fine, place], dim=1))]
        x = maps[-1]
        half = maps[2 - self.finest].shape[2:]
        outputs = {}
        for k in reversed(range(len(self.up))):
            x = self.up[k](maps[k] + upsampled(self.bridge[k](x), maps[k].shape[2:]))
            outputs[k] = x
        yield outputs[0]
        yield from (upsampled(layer(outputs[k]), half) for k, layer in enumerate(self.compress, start=1))
