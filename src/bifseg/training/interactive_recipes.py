"""How trunks are trained beside simulated users, as data: those that hear strokes, and those that adapt to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bifseg.networks import NETWORKS
from bifseg.training.render import Shares


@dataclass(frozen=True)
class InteractiveRecipe:
    """Everything a run is a function of, but for seed, data and clock.

    ``size``, ``batch``: of boxes; ``under_way``: batches at once; ``rounds``: shares of the boxes that are seen once,
    twice and so on, with more strokes every time; ``average``: decay of the weights that are kept; ``flips``: whether
    the model looks at every box flipped, too; ``adapts``: whether the classifier is fine-tuned to strokes before it
    answers; ``of_start``: share of the weights that the run began with in those that are written; ``rnet``: settings
    of an R-Net, which then is all that learns, behind the trunk of the model that the run begins with.
    """

    architecture: str
    settings: dict[str, Any]
    size: int
    batch: int
    under_way: int = 16
    rounds: tuple[float, ...] = (0, 1 / 3, 1 / 3, 1 / 3)
    rate: float = 1.5e-3
    warm_up: int = 200  # steps
    weight_decay: float = 3e-3
    average: float = 0.999
    shares: Shares = field(default_factory=Shares)
    flips: bool = False
    adapts: bool = False
    of_start: float = 0.0
    rnet: dict[str, Any] | None = None

    @property
    def dimension(self) -> int:
        return self.settings.get("dimension") or NETWORKS[self.architecture].dimensions[0]

    @property
    def listens(self) -> bool:
        return "context" in self.settings

    @property
    def scribbled(self) -> bool:
        """Whether users draw on its boxes."""
        return self.listens or self.adapts or self.rnet is not None


RECIPES = {
    "fcn2d": InteractiveRecipe(
        "fcn", {"width": 16, "head": 256, "context": 24}, size=112, batch=4, under_way=6, rate=1e-3, average=0.998
    ),
    "multiscale3d": InteractiveRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2], "context": 0}, size=48, batch=4,
        under_way=5, rounds=(0.25, 0.3, 0.25, 0.2), rate=1e-3,
    ),
    "halved3d": InteractiveRecipe(
        "listening",
        {"dimension": 3, "widths": [24, 64, 112, 112], "blocks": [1, 2, 1], "context": 8, "finest": 2},
        size=48, batch=4, under_way=5, rounds=(0.35, 0.3, 0.2, 0.15), rate=7e-4,
    ),
    "boxes2d": InteractiveRecipe(
        "fcn", {"width": 16, "head": 256}, size=128, batch=8, under_way=2, rounds=(1,), rate=5e-4, flips=True
    ),
    "boxes3d": InteractiveRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2]}, size=48, batch=4, under_way=2,
        rounds=(1,), rate=1e-3,
    ),
    "adapted2d": InteractiveRecipe(
        "fcn", {"width": 16, "head": 256}, size=128, batch=4, under_way=6, rounds=(0.3, 0.3, 0.25, 0.15), rate=3e-4,
        flips=True, adapts=True, of_start=0.65,
    ),
    "adapted3d": InteractiveRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2]}, size=48, batch=4, under_way=6,
        rounds=(0.3, 0.3, 0.25, 0.15), rate=5e-4, adapts=True,
        of_start=0.5,
    ),
    "rnet2d": InteractiveRecipe(
        "fcn", {"width": 16, "head": 256}, size=128, batch=4, under_way=6, rounds=(0.15, 0.25, 0.25, 0.2, 0.15),
        rate=1e-3, flips=True, rnet={"widths": [16, 32, 64, 128, 128], "blocks": [1, 1, 2, 1]},
    ),
    "rnet3d": InteractiveRecipe(
        "multiscale", {"dimension": 3, "widths": [8, 32, 96, 160], "blocks": [0, 1, 2]}, size=48, batch=4, under_way=6,
        rounds=(0.15, 0.25, 0.25, 0.2, 0.15), rate=1e-3,
        rnet={"widths": [24, 48, 96, 96], "blocks": [1, 2, 1], "finest": 2},
    ),
    "large2d": InteractiveRecipe(
        "listening", {"dimension": 2, "widths": [16, 32, 64, 128, 192, 192], "blocks": [1, 1, 2, 2, 1], "context": 24},
        size=112, batch=48, rate=2e-3,
    ),
    "large3d": InteractiveRecipe(
        "listening", {"dimension": 3, "widths": [16, 32, 64, 112, 160], "blocks": [1, 1, 1, 1], "context": 8},
        size=56, batch=16,
    ),
}  # fmt: skip
"""For a core of a CPU, from weights that do not listen; boxes, adapted: trunks that ship, which do not; rnet:
what hears strokes behind these; large: for a GPU."""
