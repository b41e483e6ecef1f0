"""Networks with a trunk that never changes (``features``) and a small per-pixel classifier that adapts to the image.

Tensors are (N, C, x, y) or (N, C, x, y, z). ``features`` maps one channel to C feature channels at full resolution;
``classifier`` maps each pixel's feature vector to two logits (background, foreground), so it works on a
(pixels, C) matrix as well as on a grid: that matrix is all that image-specific fine-tuning needs.

A network is a class (`base.BoxNetwork`) in a file here and one line of `NETWORKS`. Torch is imported when one is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from bifseg.errors import InvalidInput

if TYPE_CHECKING:
    from bifseg.networks.base import BoxNetwork


@dataclass(frozen=True)
class Network:
    """One entry: what it is called, and where its class is (``module:Class``).

    ``dimensions``: 2, 3 or both; a class for both takes ``dimension``. ``settings``: what `bifseg train` builds it with
    where `training.recipes` has no recipe of ours for it. ``printed``: the printed widths; None where none were
    printed. ``listens``: whether strokes are among its input, so that simulated users train it.
    """

    title: str
    place: str
    dimensions: tuple[int, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    printed: Mapping[str, Any] | None = None
    listens: bool = False

    @property
    def kind(self) -> type[BoxNetwork]:
        return resolve_name(self.place)


NETWORKS: dict[str, Network] = {
    "pnet": Network("P-Net", "bifseg.networks.paper:PNet", (2,), printed={"width": 64, "hidden": 128}),
    "pcnet": Network(
        "PC-Net", "bifseg.networks.paper:PCNet", (3,), printed={"width": 64, "compressed": 16, "hidden": 128}
    ),
    "multiscale": Network("multi-scale", "bifseg.networks.multiscale:MultiScaleNet", (2, 3)),
    "fcn": Network("FCN", "bifseg.networks.fcn:FCN", (2,)),
    "listening": Network("listening", "bifseg.networks.listening:ListeningNet", (2, 3), listens=True),
    "unet": Network("U-Net", "bifseg.networks.compared:UNet", (2,), printed={}),
    "deepmedic": Network("DeepMedic", "bifseg.networks.compared:DeepMedic", (3,), printed={}),
    "highres3dnet": Network("HighRes3DNet", "bifseg.networks.compared:HighRes3DNet", (3,), printed={}),
}


def build(architecture: str, **settings: Any) -> BoxNetwork:
    """The network of a name and its settings; ValueError lists the known names."""
    if architecture not in NETWORKS:
        raise InvalidInput(f"Unknown architecture {architecture!r}; known are {', '.join(NETWORKS)}.")
    try:
        return NETWORKS[architecture].kind(**settings)
    except (TypeError, KeyError, ValueError) as error:
        raise InvalidInput(f"The settings {settings} do not fit the architecture {architecture!r}: {error}.") from None


def trainable() -> str:
    """The networks that `bifseg train --network` takes, with their dimensions, as a sentence lists them."""
    return ", ".join(
        f"{name} ({', '.join(f'{d}D' for d in entry.dimensions)})"
        for name, entry in NETWORKS.items()
        if not entry.listens
    )
