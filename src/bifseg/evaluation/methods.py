"""Every method that can be judged, by name; what decides its results, and how one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.method.parameters import Parameters, preset
from bifseg.prompts.interaction import Box, InteractiveMethod

if TYPE_CHECKING:
    from bifseg.networks.checkpoint import Model


@dataclass(frozen=True)
class Method:
    """A method that can be judged. ``place``: module and class of one without a network, None for BIFSeg's family."""

    title: str
    place: str | None = None
    refine: str = "auto"
    settings: Callable[[Model], Parameters] | None = None

    @property
    def learns(self) -> bool:
        """Whether it is a network's, so that it exists once per network."""
        return self.place is None

    @property
    def begins_with(self) -> str:
        """``box`` or ``scribbles``, see `bifseg.prompts.interaction.InteractiveMethod`."""
        return FromNetwork.begins_with if self.learns else getattr(_kind(self), "begins_with", "box")


def _fast(model: Model, **changes: object) -> Parameters:
    return preset("fast", model.dimension, model.tuned).but(unsupervised=True, **changes)


def _printed(model: Model) -> Parameters:
    return preset("paper", model.dimension).but(unsupervised=True)


METHODS: Mapping[str, Method] = {
    "bifseg": Method("BIFSeg", settings=_fast),
    "bifseg-w": Method("BIFSeg(-w)", settings=partial(_fast, weighted=False)),
    "bifseg-e": Method("BIFSeg(-e)", settings=partial(_fast, evidence=0.0)),
    "crf": Method("+CRF", refine="crf", settings=partial(_fast, rounds=0, evidence=0.0)),
    "cut": Method("cut with evidence", refine="crf", settings=partial(_fast, rounds=0)),
    "network": Method("network", refine="none", settings=_fast),
    "bifseg-printed": Method("BIFSeg as printed", settings=_printed),
    "grabcut": Method("GrabCut", "bifseg.baselines.grabcut:GrabCut"),
    "random_walks": Method("Random Walks", "bifseg.baselines.random_walks:RandomWalks"),
    "slicseg": Method("SlicSeg", "bifseg.baselines.slicseg:SlicSeg"),
    "geos": Method("GeoS", "bifseg.baselines.geos:GeoS"),
    "growcut": Method("GrowCut", "bifseg.baselines.growcut:GrowCut"),
    "nninteractive": Method("nnInteractive", "bifseg.baselines.nninteractive:NNInteractive"),
}
STANDARD = tuple(name for name in METHODS if name not in ("bifseg-e", "cut", "bifseg-printed", "nninteractive"))
FAMILY = ("network", "crf", "bifseg-w", "bifseg")  # the paper's ablation, on one network
PARTS = ("network", "crf", "cut", "bifseg-e", "bifseg-w", "bifseg-printed", "bifseg")  # and ours


def check_methods(names: list[str]) -> None:
    """InvalidInput that lists the known methods for an unknown one, and for none at all."""
    for name in names or [""]:
        if name not in METHODS:
            raise InvalidInput(f"Unknown method {name!r}; known are {', '.join(METHODS)}.")


def make(name: str, model: Model | None = None, *, seed: int = 0, server: str = "") -> InteractiveMethod:
    """A method, ready to start.

    ``model``: the network of BIFSeg's family. ``server``: where an nnInteractive server answers; its key, if it wants
    one, is in the environment variable ``NN_INTERACTIVE_API_KEY``. Raises InvalidInput where the one that it needs is
    missing, and where an optional package is.
    """
    method = METHODS[name]
    if method.learns:
        if model is None:
            raise InvalidInput(f"The method {name} needs a network.")
        return FromNetwork(method.refine, model=model, parameters=method.settings(model), seed=seed)
    kind = _kind(method)
    if name == "nninteractive":
        if not server:
            raise InvalidInput("The method nninteractive needs a server; give its address, http://HOST:1527.")
        return kind(server)
    return kind(**({"seed": seed} if "seed" in inspect.signature(kind).parameters else {}))


def settings_of(name: str, model: Model | None = None, server: str = "") -> dict:
    """What decides a method's results beside its input and seed, ready for JSON."""
    method = METHODS[name]
    if method.learns:
        return {"refine": method.refine, **method.settings(model).as_dict()}
    if name == "nninteractive":
        return {"server": server}
    signature = inspect.signature(_kind(method)).parameters.values()
    return {p.name: p.default for p in signature if p.name != "seed" and p.default is not p.empty}


def _kind(method: Method) -> type:
    module, _, name = method.place.partition(":")
    return getattr(import_module(module), name)


class FromNetwork:
    """BIFSeg as the paper's tables look at it, on a network's own mask.

    `start` gives the refinement without scribbles (Tables II and V). The first scribbles are drawn on `initial`, the
    network's mask, so that all refinements of one network can be given the same, and refine that (III and VI).
    """

    begins_with = "box"

    def __init__(self, refine: str, **options: object) -> None:
        self._refine, self._options = refine, options

    def start(self, image: Image, box: Box) -> np.ndarray:
        from bifseg.session.session import Session

        self._session, self._box, self._initial = Session(image, **self._options), box, None
        return self._session.box(box, refine=self._refine)

    @property
    def initial(self) -> np.ndarray:
        """The network's own mask; from here on it is what scribbles refine."""
        if self._initial is None:
            self._session.undo()
            self._initial = self._session.box(self._box, refine="none")
        return self._initial

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        return self._session.scribble(scribbles, refine=self._refine)
