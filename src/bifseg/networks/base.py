"""What every network is made of: a trunk that never changes, and the classifier per pixel that adapts to the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

Part = tuple[torch.Tensor, torch.Size]


class Classifier(nn.Sequential):
    """Two fully connected layers per pixel: (..., C) features -> (..., 2) logits (block 6 of P-Net)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    @property
    def linear(self) -> tuple[nn.Linear, nn.Linear]:
        """The two layers that have weights: (C -> hidden), (hidden -> 2)."""
        first, _, last = self
        return cast("nn.Linear", first), cast("nn.Linear", last)


class BoxNetwork(nn.Module):
    """What every network here is: ``features`` then ``classifier``; calling it gives logits (N, 2, ...)."""

    dimension: int
    channels: int  # of the features
    classifier: Classifier
    halves: bool = True  # whether bfloat16 convolutions were found to leave the masks as good
    listens: bool = False  # whether it sees `guidance.CHANNELS`, and not the image alone
    context_cells: int = 0  # points of the working grid that it sees around the box
    sparse: int = 1  # training looks at one in so many points along each axis

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """(N, 1, ...) normalised image -> (N, C, ...) features."""
        parts = [cropped(upsampled(maps, size), image.shape[2:]) for maps, size in self.parts(image)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        """The features as they are made, some channels at a time, before they are upsampled and padding is taken off.

        Maps (N, c, ...) of any size, and the size they are upsampled to: the image's, or that of the padded image.
        """
        raise NotImplementedError

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.classified(self.features(image))

    def logits_at(self, image: torch.Tensor, points: tuple[slice, ...]) -> torch.Tensor:
        """Logits (N, 2, ...) at some points of the image (N, c, ...): what training asks for. ``points``: of each axis
        a slice with a start, a stop and a step."""
        return self.classified(self.features_at(image, points))

    def features_at(self, image: torch.Tensor, points: tuple[slice, ...]) -> torch.Tensor:
        """`features` (N, C, ...) at such points."""
        return torch.cat([at_points(maps, size, points) for maps, size in self.parts(image)], dim=1)

    def classified(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N, C, ...) -> logits (N, 2, ...)."""
        return self.classifier(features.movedim(1, -1)).movedim(-1, 1)


def as_they_are(said: torch.Tensor) -> torch.Tensor:
    """What a classifier sees of a listening trunk's input (N, 7, ...): all but the box."""
    return torch.cat([said[:, :1], said[:, 2:]], dim=1)


def position(box: torch.Tensor) -> torch.Tensor:
    """Where each pixel lies in its box: signed, from -1 to 1 inside it, and absolute; (1, 2 d, ...).

    ``box``: (1, 1, ...), 1 inside the box, else 0.
    """
    axes = []
    for axis in range(2, box.ndim):
        inside = box.amax([a for a in range(box.ndim) if a != axis])
        at = torch.arange(box.shape[axis], device=box.device, dtype=torch.float32)
        count = inside.sum(dtype=torch.float32)
        axes.append(2 * (at - (at * inside).sum() / count) / (count - 1).clamp_min(1))
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return torch.cat([grid, grid.abs()])[None]


def encoded(scales: nn.ModuleList, x: torch.Tensor) -> list[torch.Tensor]:
    """The maps that one scale after the other makes of the maps before.

    The coarsest, which takes no time, are float32 within an autocast to bfloat16, too: of maps as small as 2 x 4 x 2,
    oneDNN 3.12 makes up numbers for a bfloat16 convolution's gradient.
    """
    *finer, coarsest = scales
    found = []
    for scale in finer:
        x = scale(x)
        found.append(x)
    with in_float32(x):
        return [*found, coarsest(x.float())]


def in_float32(maps: torch.Tensor) -> torch.autocast:
    """Where no autocast holds, on the device of some maps, also of maps that have no values."""
    return torch.autocast("cuda" if maps.is_cuda else "cpu", enabled=False)


def some_points(inside: tuple[slice, ...], step: int, rng: np.random.Generator) -> tuple[slice, ...]:
    """Every so many points of a part of a grid along each axis, from a random one on: for `BoxNetwork.logits_at`."""
    return tuple(slice(part.start + int(rng.integers(step)), part.stop, step) for part in inside)


def padded(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """The image (N, C, ...), its last pixels repeated until every side is a multiple of ``multiple``."""
    return F.pad(image, [p for n in reversed(image.shape[2:]) for p in (0, -n % multiple)], mode="replicate")


def cropped(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The first ``size`` pixels of every side of maps (N, C, ...): what `padded` added is taken off."""
    corner = slice(None), slice(None), *(slice(n) for n in size)
    return maps[corner]


def at_points(maps: torch.Tensor, size: Sequence[int], points: tuple[slice, ...]) -> torch.Tensor:
    """Some points of maps that are `upsampled`; of every second one nothing else is made: in 3D an eighth."""
    doubled = tuple(size) == tuple(2 * n for n in maps.shape[2:])
    if not doubled or any(part.step != 2 for part in points):
        some = slice(None), slice(None), *points
        return upsampled(maps, size)[some].float()
    maps = maps.float()
    for axis, part in enumerate(points, start=2):
        maps = _every_second(maps, axis, part)
    return maps


def _every_second(maps: torch.Tensor, axis: int, points: slice) -> torch.Tensor:
    """`upsampled` to twice the size along an axis, and of that every second point."""
    count = (points.stop - points.start + 1) // 2
    near = torch.arange(count, device=maps.device) + points.start // 2
    beside = (near + 2 * (points.start % 2) - 1).clamp(0, maps.shape[axis] - 1)
    return torch.lerp(maps.index_select(axis, near), maps.index_select(axis, beside), 0.25)


def upsampled(maps: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Maps (N, C, ...) linearly interpolated to ``size``; float32 from lower precisions, which is faster, too."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps.float(), size=tuple(size), mode="bilinear" if maps.ndim == 4 else "trilinear")
