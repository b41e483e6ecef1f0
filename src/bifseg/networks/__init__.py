"""Networks with a trunk that never changes (``features``) and a small per-pixel classifier that adapts to the image.

Tensors are (N, C, x, y) or (N, C, x, y, z). ``features`` maps one channel to C feature channels at full resolution;
``classifier`` maps each pixel's feature vector to two logits (background, foreground), so it works on a
(pixels, C) matrix as well as on a grid: that matrix is all that image-specific fine-tuning needs.
"""

from __future__ import annotations

from bifseg.errors import InvalidInput
from bifseg.networks.base import BoxNetwork, Classifier
from bifseg.networks.compared import DeepMedic, HighRes3DNet, UNet
from bifseg.networks.fcn import FCN
from bifseg.networks.listening import ListeningNet
from bifseg.networks.multiscale import MultiScaleNet
from bifseg.networks.paper import PCNet, PNet

ARCHITECTURES: dict[str, type[BoxNetwork]] = {
    "pnet": PNet,
    "pcnet": PCNet,
    "multiscale": MultiScaleNet,
    "fcn": FCN,
    "listening": ListeningNet,
    "unet": UNet,
    "deepmedic": DeepMedic,
    "highres3dnet": HighRes3DNet,
}


def build(architecture: str, **settings) -> BoxNetwork:
    """The network of a name and its settings; InvalidInput lists the known names."""
    if architecture not in ARCHITECTURES:
        raise InvalidInput(f"Unknown architecture {architecture!r}; known are {', '.join(ARCHITECTURES)}.")
    try:
        return ARCHITECTURES[architecture](**settings)
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInput(f"The settings {settings} do not fit the architecture {architecture!r}: {error}.") from None


__all__ = [
    "ARCHITECTURES",
    "FCN",
    "BoxNetwork",
    "Classifier",
    "DeepMedic",
    "HighRes3DNet",
    "ListeningNet",
    "MultiScaleNet",
    "PCNet",
    "PNet",
    "UNet",
    "build",
]
