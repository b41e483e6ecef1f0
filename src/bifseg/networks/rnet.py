"""R-Net: it hears strokes, behind a trunk that does not (after DeepIGeoS, Wang et al., TPAMI 2018).

It sees what the classifier says once it was fine-tuned, and what the user drew, and corrects the one by the other. At
first it changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from bifseg.networks.base import at_points, cropped, in_float32, padded, upsampled
from bifseg.networks.guidance import CHANNELS as GUIDANCE
from bifseg.networks.layers import groups, pyramid

Numbers = TypeVar("Numbers", np.ndarray, torch.Tensor)
CHANNELS = ("image", "trained", "belief", *GUIDANCE[2:])
"""Of its input, in their order. ``trained``, ``belief``: `bounded` log-odds of the trained classifier, and of the one
that was fine-tuned, with evidence."""
SUREST = 6.0  # log-odds


def bounded(odds: Numbers) -> Numbers:
    """Log-odds, an array or a tensor, as R-Net sees them: from -1 to 1, so that none is too sure to be corrected."""
    return odds.clip(-SUREST, SUREST) / SUREST


class RNet(nn.Module):
    """An encoder-decoder with residual blocks.

    ``features``: channels of the trunk in front of it. ``widths``: channels per scale, fine to coarse; ``blocks``:
    residual blocks per scale but the finest; ``finest``: 2 where the finest scale has half the resolution of the
    working grid; ``compressed``: channels that each of the next two scales gives to what answers, ``hidden`` of that.
    """

    def __init__(
        self,
        dimension: int,
        features: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        finest: int = 1,
        compressed: int = 8,
        hidden: int = 32,
    ) -> None:
        super().__init__()
        if dimension not in (2, 3) or finest not in (1, 2) or min(features, compressed, hidden, *widths) < 1:
            raise ValueError(
                f"dimension is {dimension}, finest {finest}, widths {widths}; possible are 2 and 3, 1 and 2"
            )
        self.settings = {
            "dimension": dimension, "features": features, "widths": list(widths), "blocks": list(blocks),
            "finest": finest, "compressed": compressed, "hidden": hidden,
        }  # fmt: skip
        self.dimension, self.features, self.finest = dimension, features, finest
        conv = nn.Conv2d if dimension == 2 else nn.Conv3d
        fine = widths[0]
        self.known = conv(features, fine, 1)
        self.said = conv(len(CHANNELS), fine, 3, padding=1, stride=finest)
        self.stem = nn.Sequential(nn.GroupNorm(groups(fine), fine), nn.ReLU())
        self.down, self.bridge, self.up, self.compress = pyramid(dimension, widths[:-1], widths, blocks, compressed)
        seen = fine + compressed * len(self.compress) + len(CHANNELS)
        self.answer = nn.Sequential(conv(seen, hidden, 1), nn.ReLU(), conv(hidden, 1, 1))
        nn.init.zeros_(self.answer[-1].get_parameter("weight"))
        nn.init.zeros_(self.answer[-1].get_parameter("bias"))

    @property
    def multiple(self) -> int:
        """Of how many points the sides of what it works on are multiples."""
        return self.finest * 2 ** len(self.down)

    def context(self, features: torch.Tensor) -> torch.Tensor:
        """What it makes of a trunk's features (N, C, ...), which strokes do not change."""
        features = padded(features, self.multiple)
        if self.finest > 1:
            pool = F.avg_pool2d if self.dimension == 2 else F.avg_pool3d
            features = pool(features, self.finest)
        return self.known(features)

    def forward(
        self, said: torch.Tensor, context: torch.Tensor, points: tuple[slice, ...] | None = None
    ) -> torch.Tensor:
        """Log-odds (N, ...): everywhere or, as training asks for them, at some points.

        ``said``: (N, 8, ...), see `CHANNELS`; ``context``: see there.
        """
        x = padded(said, self.multiple)
        whole = x.shape[2:]
        maps = [self.stem(self.said(x) + context)]
        maps.append(self.down[0](maps[0]))
        with in_float32(x):
            x = maps[1].float()
            for scale in self.down[1:]:
                x = scale(x)
                maps.append(x)
            decoded = {}
            for k in reversed(range(1, len(self.up))):
                x = decoded[k] = self._finer(k, maps[k].float(), x)
        decoded[0] = self._finer(0, maps[0], x)
        half = maps[2 - self.finest].shape[2:]
        coarse = [upsampled(layer(decoded[k]), half) for k, layer in enumerate(self.compress, start=1)]
        parts = decoded[0], torch.cat(coarse, dim=1)
        if points is None:
            seen = [cropped(upsampled(part, whole), said.shape[2:]).float() for part in parts]
        else:
            some = slice(None), slice(None), *points
            said = said[some]
            seen = [at_points(part, whole, points) for part in parts]
        correction = self.answer(torch.cat([*seen, said], dim=1))[:, 0]
        return SUREST * said[:, CHANNELS.index("belief")] + correction.float()

    def _finer(self, k: int, maps: torch.Tensor, coarser: torch.Tensor) -> torch.Tensor:
        return self.up[k](maps + upsampled(self.bridge[k](coarser), maps.shape[2:]))
