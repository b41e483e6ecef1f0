"""A 3D network and a 2D network that looks at the slices of the box, along all three axes; both are believed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from bifseg.errors import InvalidInput
from bifseg.networks import Design, build
from bifseg.networks.base import BoxNetwork, Classifier, Part, trunk_state

FLIPS = ((), (2, 3), (2,), (3,))  # along which axes of (N, C, x, y)
SHORTEST = 0.5  # of ``size``, pixels along the shorter side of a slice, if they can be had with
LONGEST = 2  # times ``size`` pixels along the longer one: bounds the cost of a strip


class WithSlices(BoxNetwork):
    """The mean of the log-odds of a 3D network and of a 2D one, which answers for each slice as if it were a picture.

    Boxes in planes are what a 2D network can learn most from: it has seen a hundred times as many. Across its slices
    it knows nothing, but the slices along the other two axes do. The features are those of the 3D trunk and the 2D
    network's log-odds along x, y and z, so that the classifier may learn from strokes which of them to believe.

    Parameters
    ----------
    volume, plane
        The 3D and the 2D network; neither listens.
    size
        Pixels along the longest side of the box as the 2D network sees its slices; more where a slice is a strip.
    step
        It sees every so many-th slice of the working grid; in between its answers are interpolated.
    flips
        As it is seen, and flipped along both sides (2), or along each (4): the answers are averaged.
    """

    dimension = 3

    def __init__(self, volume: Design, plane: Design, size: int, step: int = 1, flips: int = 1) -> None:
        super().__init__()
        self.volume, self.plane = (build(architecture, **settings) for architecture, settings in (volume, plane))
        if (self.volume.dimension, self.plane.dimension) != (3, 2) or self.volume.listens or self.plane.listens:
            raise InvalidInput("Slices join a 3D network with a 2D one, and neither of them listens.")
        if not (16 <= size <= 512 and step >= 1 and flips in (1, 2, 4)):
            raise InvalidInput(
                "Slices are seen with 16 to 512 pixels, every first or more of them, in 1, 2 or 4 ways; given are "
                f"{size}, {step}, {flips}."
            )
        self.size, self.step, self.flips = size, step, FLIPS[:flips]
        self.halves = self.volume.halves and self.plane.halves
        self.channels = self.volume.channels + 3
        self.classifier = believing_both(self.volume.classifier)
        del self.volume.classifier  # that of the plane stays: its log-odds are features here

    @classmethod
    def of(cls, volume: tuple[Design, BoxNetwork], plane: tuple[Design, BoxNetwork], **settings: int) -> WithSlices:
        """With the weights of networks that were trained apart."""
        both = cls(volume[0], plane[0], **settings)
        both.volume.load_state_dict(trunk_state(volume[1]))
        both.plane.load_state_dict(plane[1].state_dict())
        both.classifier = believing_both(volume[1].classifier)
        return both

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        yield from self.volume.parts(image)
        yield torch.cat([self._log_odds(one) for one in image.split(1)]), image.shape[2:]

    def _log_odds(self, image: torch.Tensor) -> torch.Tensor:
        """Of the slices along x, y and z: (1, 1, ...) -> (1, 3, ...)."""
        shape = image.shape[2:]
        maps = []
        for axis in range(3):
            sides = [n for a, n in enumerate(shape) if a != axis]
            scale = max(self.size / max(shape), self.size * min(SHORTEST / min(sides), LONGEST / max(sides)))
            count = max(1, shape[axis] // self.step)
            seen = [count if a == axis else max(16, round(n * scale)) for a, n in enumerate(shape)]
            slices = F.interpolate(image, size=seen, mode="trilinear").movedim(2 + axis, 0)[:, 0]  # (count, 1, ., .)
            odds = torch.zeros_like(slices[:, 0])
            for axes in self.flips:
                logits = self.plane(slices.flip(axes).contiguous(memory_format=torch.channels_last))
                odds += (logits[:, 1:] - logits[:, :1]).flip(axes)[:, 0] / len(self.flips)
            odds = odds.movedim(0, axis)[None, None]
            maps.append(F.interpolate(odds, size=tuple(shape), mode="trilinear"))
        return torch.cat(maps, dim=1)


def believing_both(volume: Classifier) -> Classifier:
    """On the features of `WithSlices`: a classifier whose log-odds are the mean of the volume's and of all slices'."""
    first, last = volume.linear
    both = Classifier(first.in_features + 3, first.out_features + 6)
    entering, leaving = both.linear
    with torch.no_grad():
        for parameter in both.parameters():
            parameter.zero_()
        entering.weight[: first.out_features, : first.in_features] = first.weight
        entering.bias[: first.out_features] = first.bias
        leaving.weight[:, : first.out_features] = last.weight / 4
        leaving.bias.copy_(last.bias / 4)
        for k, sign in enumerate([1, -1] * 3):  # log-odds pass a rectified layer as their positive and negative parts
            row = first.out_features + k
            entering.weight[row, first.in_features + k // 2] = sign
            leaving.weight[:, row] = torch.tensor([-sign / 8, sign / 8])
    return both
