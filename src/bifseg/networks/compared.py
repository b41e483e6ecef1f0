"""The networks that the paper compares its own with: U-Net in 2D, DeepMedic and HighRes3DNet in 3D; FCN is in `fcn`.

Each is a trunk after its paper, and our `Classifier` (two layers per pixel) where print classifies, so that every one
of them can be adapted to an image. The defaults are the printed widths. What departs from print in all: one input
channel; group normalisation, because batches are small and weights are averaged; no dropout, because runs resume
exactly. Receptive fields are those of the convolutions: a norm tells each pixel the mean and spread of the whole box.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from bifseg.errors import MissingExtra
from bifseg.networks.base import BoxNetwork, Classifier, Part, cropped, padded
from bifseg.networks.layers import convolution, groups


class UNet(BoxNetwork):
    """U-Net (Ronneberger et al. 2015) as MONAI builds it (``BasicUNet``): five scales, two convolutions at each.

    The features are what its last layer would classify. ``width``: at full resolution, doubled at every scale. Departs
    from print: padded instead of valid convolutions; the last up-convolution does not halve its channels; two layers
    classify, not one. Raises ImportError without MONAI.
    """

    dimension = 2

    def __init__(self, width: int = 64, hidden: int = 32) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width, 16 * width, width)
        with contextlib.redirect_stdout(io.StringIO()):  # some versions of MONAI announce the widths
            self.trunk = _monai_networks().BasicUNet(
                spatial_dims=2, features=widths, act=("relu", {"inplace": True}), norm=_monai_norm(width), bias=False
            )
        self.trunk.final_conv = nn.Identity()
        self.channels = width
        self.classifier = Classifier(width, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        maps = self.trunk(padded(image, 16))
        yield maps, maps.shape[2:]


class DeepMedic(BoxNetwork):
    """DeepMedic (Kamnitsas et al. 2017): two pathways of eight 3^3 convolutions, one on a 3x coarser image.

    Receptive fields 17^3 and 51^3. The context pathway's maps are repeated to full resolution and concatenated with
    the other's; the first of the two 1^3 layers after that makes the features, the second and the classification are
    our classifier. ``widths``: of the eight convolutions; ``joint``: of the first 1^3 layer. Departs from print:
    padded instead of valid convolutions, so that whole boxes go through and no voxel is lost; trained on whole boxes,
    not on patches with half their centres in the object; the second 1^3 layer is not normalised.
    """

    dimension = 3
    halves = False

    def __init__(
        self, widths: Sequence[int] = (30, 30, 40, 40, 40, 40, 50, 50), joint: int = 150, hidden: int = 150
    ) -> None:
        super().__init__()
        self.local, self.context = (
            nn.Sequential(*(convolution(3, a, b) for a, b in zip((1, *widths[:-1]), widths, strict=True)))
            for _ in range(2)
        )
        self.joint = convolution(3, 2 * widths[-1], joint, kernel=1)
        self.channels = joint
        self.classifier = Classifier(joint, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        coarse = self.context(F.avg_pool3d(padded(image, 3), 3))
        context = cropped(F.interpolate(coarse, scale_factor=3, mode="nearest"), image.shape[2:])
        yield self.joint(torch.cat([self.local(image), context], dim=1)), image.shape[2:]


class HighRes3DNet(BoxNetwork):
    """HighRes3DNet (Li et al. 2017) as MONAI builds it (``HighResNet``): residual blocks at full resolution.

    Three kinds of three blocks, dilated 1, 2 and 4 times: receptive field 87^3. The features are those of its
    penultimate layer. ``width``: of the first blocks, doubled and doubled again; ``channels``: of the features.
    Departs from print: two layers classify, not one. Raises ImportError without MONAI.
    """

    dimension = 3
    halves = False

    def __init__(self, width: int = 16, channels: int = 80, hidden: int = 32) -> None:
        super().__init__()
        blocks = [
            {"name": f"res_{k + 1}", "n_features": width * 2**k, "kernels": (3, 3), "repeat": 3} for k in range(3)
        ]
        ends = {"name": "conv_1", "n_features": channels, "kernel_size": 1}, {"name": "conv_2", "kernel_size": 1}
        whole = _monai_networks().HighResNet(
            spatial_dims=3,
            out_channels=channels,  # of a layer that we leave out: only its norm must fit
            norm_type=_monai_norm(width, channels),
            layer_params=[{"name": "conv_0", "n_features": width, "kernel_size": 3}, *blocks, *ends],
        )
        self.trunk = whole.blocks[:-1]
        self.channels = channels
        self.classifier = Classifier(channels, hidden)

    def parts(self, image: torch.Tensor) -> Iterator[Part]:
        yield self.trunk(image), image.shape[2:]


def _monai_norm(*widths: int) -> tuple[str, dict]:
    return "group", {"num_groups": groups(*widths)}


def _monai_networks() -> ModuleType:
    try:
        from monai.networks import nets
    except ImportError:
        raise MissingExtra('This network is built by MONAI, which is missing: pip install "bifseg[monai]".') from None
    return nets
