"""How networks are trained, as data: what each shipped model learnt from, and the recipes for own data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from bifseg.errors import InvalidInput
from bifseg.networks import NETWORKS, trainable
from bifseg.training.sources import Mixture


@dataclass(frozen=True)
class Phase:
    """A stretch of training. The rate warms up over 100 steps, then falls along a half cosine of ``cosine`` steps, or
    is halved every ``halving`` steps; ``fresh`` starts from the averaged weights with a new optimiser; ``wider`` draws
    from the wider sources of the training set."""

    steps: int
    rate: float
    mixture: Mixture
    cosine: int = 0
    halving: int = 0
    fresh: bool = False
    wider: bool = False


@dataclass(frozen=True)
class Recipe:
    """Everything a run is a function of, but for its seed and its data."""

    architecture: str
    settings: dict[str, Any]
    size: int  # working grid: smaller side in 2D, largest in 3D
    batch: int
    phases: tuple[Phase, ...]
    optimiser: str = "adamw"  # or sgd, with momentum 0.9
    weight_decay: float = 1e-3
    dice_loss: float = 0.5  # weight of a soft Dice loss beside the cross entropy
    clip: float = 1.0  # largest norm of a gradient; 0: any
    average: float = 0.998  # of the weights that are saved: an exponential moving average; 0: the last ones
    initial: str = "torch"  # weights: PyTorch's own, or "he", for layers without a norm between them (He et al. 2015)
    flips: bool = False  # whether the model looks at every crop flipped, too
    mean_of: tuple[int, ...] = ()  # steps: in the end, the mean of what was saved after each (stochastic averaging)

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)

    @property
    def dimension(self) -> int:
        return self.settings.get("dimension") or NETWORKS[self.architecture].dimensions[0]

    def phase_at(self, step: int) -> tuple[Phase, int]:
        """The phase a step belongs to, and how many steps into it that is."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise InvalidInput(f"The recipe has {self.steps} steps; there is no step {self.steps + step}.")

    def but(self, **changes: Any) -> Recipe:
        return dataclasses.replace(self, **changes)

    def as_dict(self) -> dict:
        """Ready for JSON; what is at its default is left out of the mixtures, and initial weights that are."""
        told = dataclasses.asdict(self)
        if self.initial == "torch":
            del told["initial"]
        for phase in told["phases"]:
            phase["mixture"] = {k: v for k, v in phase["mixture"].items() if v != getattr(Mixture(), k)}
        return told


SCENES, TWINS = Mixture(), Mixture(twins=0.6)
MIXED = Mixture(anatomy=0.35, scans=0.3, twins=0.4, variety=0.4)
RINGS = Mixture(anatomy=0.25, scans=0.25, twins=0.4, variety=0.4, nested=0.3)
NARROWER = dataclasses.replace(RINGS, wide=0.15)
SNUG = dataclasses.replace(RINGS, wide=0.0, snug=0.25)

WIDER = dataclasses.replace(SNUG, anatomy=0.35, scans=0.3)

SHIPPED = {
    "fcn2d": Recipe(
        "fcn", {"width": 16, "head": 256}, size=128, batch=4,
        phases=(
            Phase(8000, 1e-3, SNUG, cosine=8000),
            Phase(5000, 5e-4, WIDER, cosine=5000, fresh=True, wider=True),
        ),
        flips=True, mean_of=(8000, 13_000),
    ),
    "multiscale2d": Recipe(
        "multiscale", {"dimension": 2, "widths": [24, 48, 64, 64, 96]}, size=128, batch=8,
        phases=(
            Phase(3000, 3e-3, SCENES, cosine=3000),
            Phase(1500, 2e-3, TWINS, cosine=1500),
            Phase(2250, 2e-3, MIXED, cosine=5500, fresh=True),
            Phase(750, 1.3e-3, NARROWER, cosine=3250),
            Phase(3000, 1.2e-3, SNUG, cosine=3000),
        ),
        mean_of=(8250, 10_500),
    ),
    "multiscale3d": Recipe(
        "multiscale", {"dimension": 3, "widths": [8, 24, 48, 96]}, size=48, batch=4,
        phases=(
            Phase(2000, 3e-3, SCENES, cosine=3000),
            Phase(1000, 2e-3, Mixture(twins=0.5), cosine=1000),
            Phase(2250, 2.5e-3, MIXED, cosine=5500, fresh=True),
            Phase(3250, 1.6e-3, RINGS, cosine=3250),
        ),
    ),
    "pnet": Recipe(
        "pnet", {"width": 32, "hidden": 64}, size=128, batch=2,
        phases=(Phase(1800, 1e-3, SNUG, cosine=1800),),
    ),
    "pcnet": Recipe(
        "pcnet", {"width": 16, "compressed": 8, "hidden": 32}, size=48, batch=1,
        phases=(Phase(1800, 1e-3, RINGS, cosine=1800),),
    ),
}  # fmt: skip
"""One command reproduces each: ``bifseg train --shipped NAME DATA``; see docs/explanation/training.md."""

COMPARED = {
    "fcn": SHIPPED["pnet"].but(
        architecture="fcn", settings={"width": 12, "head": 256}, phases=(Phase(6000, 1e-3, SNUG, cosine=6000),)
    ),
    "unet": SHIPPED["pnet"].but(
        architecture="unet", settings={"width": 16}, phases=(Phase(4000, 1e-3, SNUG, cosine=4000),)
    ),
    "deepmedic": SHIPPED["pcnet"].but(
        architecture="deepmedic",
        settings={"widths": [16, 16, 20, 20, 20, 20, 24, 24], "joint": 64, "hidden": 64},
        phases=(Phase(1300, 1e-3, RINGS, cosine=1300),),
    ),
    "highres3dnet": SHIPPED["pcnet"].but(
        architecture="highres3dnet", settings={"width": 8, "channels": 40},
        phases=(Phase(550, 1e-3, RINGS, cosine=550),),
    ),
}  # fmt: skip
"""The paper's other networks, narrow, on the same data: as many minutes of one core as P-Net and PC-Net got.

They do not ship; ``benchmarks/networks/README.md`` has the commands that train them, and what they scored.
"""


def own(
    network: str,
    dimension: int,
    recipe: str = "fast",
    *,
    steps: int = 0,
    synthetic: float = 0.0,
    maps: bool = False,
    started: bool = False,
) -> Recipe:
    """A recipe for own data. ``fast``: what learns most per CPU minute; ``paper``: as printed by Wang et al. 2018.

    ``synthetic``: share of the batches that is random scenes (and label maps, with ``maps``); ``steps``: 0 for the
    recipe's own number; ``started``: from a trained model, so at a third of the rate. A network without a recipe among
    ours gets a plain one, with the settings of its entry. ValueError lists what is known.
    """  # fmt: skip
    entry = NETWORKS.get(network)
    if entry is not None and entry.listens:
        raise InvalidInput(f"The network {network!r} hears strokes; train it by --recipe large2d or large3d.")
    if entry is None or dimension not in entry.dimensions:
        raise InvalidInput(f"There is no network {network!r} for {dimension}D; known are {trainable()}.")
    if not 0 <= synthetic <= 1:
        raise InvalidInput(f"The synthetic share is {synthetic}; it must lie between 0 and 1.")
    base = _base(network, dimension)
    made = Mixture(scans=1 - synthetic, anatomy=synthetic / 2 if maps else 0.0, twins=0.4, variety=0.4)
    if recipe == "fast":
        steps = steps or 3000
        rate = base.phases[0].rate / (3 if started else 1)
        return base.but(phases=(Phase(steps, rate, made, cosine=steps),))
    if recipe == "paper":
        mixture = Mixture(**{**dataclasses.asdict(made), "augmented": False})
        settings = base.settings if entry.printed is None else dict(entry.printed)
        return base.but(
            settings=settings, size={2: 128, 3: 80}[dimension], batch=1,
            phases=(Phase(steps or 60_000, 1e-3, mixture, halving=5000),),
            optimiser="sgd", weight_decay=5e-4, dice_loss=0.0, clip=0.0, average=0.0, initial="he",
        )  # fmt: skip
    raise InvalidInput(f"Unknown recipe {recipe!r}; known are fast, paper.")


def _base(network: str, dimension: int) -> Recipe:
    """Our own recipe for a network, the shipped before the compared one; else a plain one."""
    for base in (*SHIPPED.values(), *COMPARED.values()):
        if (base.architecture, base.dimension) == (network, dimension):
            return base
    entry = NETWORKS[network]
    settings = {**entry.settings, **({"dimension": dimension} if len(entry.dimensions) > 1 else {})}
    size, batch = {2: (128, 4), 3: (48, 2)}[dimension]
    return Recipe(network, settings, size, batch, phases=(Phase(3000, 1e-3, SCENES, cosine=3000),))
