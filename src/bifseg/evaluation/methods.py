"""Every method that can be judged, an entry each; what decides its results, and how one is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from bifseg.errors import InvalidInput
from bifseg.method.parameters import VERSION
from bifseg.networks.shipped import default_sha256

if TYPE_CHECKING:
    import numpy as np

    from bifseg.imaging.image import Image
    from bifseg.method.parameters import Parameters
    from bifseg.networks.checkpoint import Model
    from bifseg.prompts.interaction import Box, InteractiveMethod


@dataclass(frozen=True)
class Method:
    """A method that can be judged: command line, reports and docs take from here what they say of it.

    ``place``: module and class of one without a network, ``module:Class``; None for BIFSeg's family. ``help``: what it
    is, ``source``: who says so, for docs. ``colour``, ``mark``: in figures. ``standard``: whether `bifseg benchmark`
    judges it where no methods are named. ``remote``: whether a server computes, whose address it is given.
    ``scribbled``: one of BIFSeg's family whose user draws no box, but first scribbles.
    """

    title: str
    place: str | None = None
    help: str = ""
    source: str = ""
    colour: str = "#a0522d"
    mark: str = "*"
    refine: str = "auto"
    settings: Callable[[Model], Parameters] | None = None
    standard: bool = True
    remote: bool = False
    scribbled: bool = False

    @property
    def learns(self) -> bool:
        """Whether it is a network's, so that it exists once per network."""
        return self.place is None

    @property
    def kind(self) -> type:
        """The class of one without a network."""
        return resolve_name(self.place or "")

    @property
    def begins_with(self) -> str:
        """``box`` or ``scribbles``, see `bifseg.prompts.interaction.InteractiveMethod`."""
        kind = (FromScribbles if self.scribbled else FromNetwork) if self.learns else self.kind
        return getattr(kind, "begins_with", "box")


def _fast(model: Model, **changes: object) -> Parameters:
    from bifseg.method.parameters import preset

    return preset("fast", model.dimension, model.tuned).but(unsupervised=True, **changes)


def _printed(model: Model) -> Parameters:
    from bifseg.method.parameters import preset

    return preset("paper", model.dimension).but(unsupervised=True)


METHODS: dict[str, Method] = {
    "bifseg": Method(
        "BIFSeg", help="network, cut, fine-tuning to the image (preset `fast`)",
        source="Wang et al., IEEE TMI 2018", colour="#d55e00", mark="o", settings=_fast,
    ),
    "bifseg-scribbles": Method(
        "BIFSeg (no box)", help="the same, begun with first scribbles: they make its box", source="ours",
        colour="#8c2d04", mark="X", settings=_fast, scribbled=True,
    ),
    "bifseg-w": Method(
        "BIFSeg(-w)", help="the same with w(i) = 1", source="its ablation", colour="#e69f00", mark="^",
        settings=partial(_fast, weighted=False),
    ),
    "bifseg-e": Method(
        "BIFSeg(-e)", help="without evidence around the scribbles", source="our ablation", colour="#f4a582", mark="v",
        settings=partial(_fast, evidence=0.0, nearness=0.0, rnet=0.0), standard=False,
    ),
    "crf": Method(
        "+CRF", help="network and one cut, scribbles as hard constraints, no fine-tuning", source="its ablation",
        colour="#0072b2", mark="s", refine="crf",
        settings=partial(_fast, rounds=0, evidence=0.0, nearness=0.0, rnet=0.0),
    ),
    "cut": Method(
        "cut with evidence", help="`bifseg` without adaptation: network, evidence, one cut", source="our ablation",
        colour="#7b3294", mark="P", refine="crf", settings=partial(_fast, rounds=0), standard=False,
    ),
    "network": Method(
        "network", help="the network alone; scribbles change nothing but their voxels", source="its ablation",
        colour="#666666", mark="D", refine="none", settings=_fast,
    ),
    "bifseg-printed": Method(
        "BIFSeg as printed", help="the printed parameters and schedule", source="preset `paper`", colour="#8c3d00",
        mark="o", settings=_printed, standard=False,
    ),
    "grabcut": Method(
        "GrabCut", "bifseg.baselines.grabcut:GrabCut",
        "mixtures of 3 (object) and 5 (rest) Gaussians and a cut, in turn", "Rother et al., SIGGRAPH 2004",
        "#56b4e9", "s",
    ),
    "random_walks": Method(
        "Random Walks", "bifseg.baselines.random_walks:RandomWalks",
        "probability that a random walk ends on a foreground scribble first", "Grady, PAMI 2006", "#009e73", "^",
    ),
    "slicseg": Method(
        "SlicSeg", "bifseg.baselines.slicseg:SlicSeg", "random forest on the scribbled voxels' features, and a cut",
        "Wang et al., MedIA 2016", "#cc79a7", "v",
    ),
    "geos": Method(
        "GeoS", "bifseg.baselines.geos:GeoS", "geodesic distances to the scribbles, geodesic morphology",
        "Criminisi et al., ECCV 2008", "#332288", "D",
    ),
    "growcut": Method(
        "GrowCut", "bifseg.baselines.growcut:GrowCut",
        "cellular automaton that grows from the scribbles, at its fixed point", "Vezhnevets & Konouchine, 2005",
        "#ad9c00", "P",
    ),
    "nninteractive": Method(
        "nnInteractive", "bifseg.baselines.nninteractive:NNInteractive",
        "a remote server, through its public client; `--server http://host:1527`", "Isensee et al., 2025",
        "#000000", "X", standard=False, remote=True,
    ),
}  # fmt: skip
STANDARD = tuple(name for name, method in METHODS.items() if method.standard)
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
    if method.settings:
        model = _needed(model, name)
        kind = FromScribbles if method.scribbled else FromNetwork
        return kind(method.refine, model=model, parameters=method.settings(model), seed=seed)
    if method.remote:
        if not server:
            raise InvalidInput(f"The method {name} needs a server; give its address, http://HOST:1527.")
        return method.kind(server)
    return method.kind(**({"seed": seed} if "seed" in inspect.signature(method.kind).parameters else {}))


def settings_of(name: str, model: Model | None = None, server: str = "") -> dict:
    """What decides a method's results beside its input and seed, ready for JSON."""
    method = METHODS[name]
    if method.settings:
        parameters = method.settings(_needed(model, name))
        parameters = parameters.opened() if method.scribbled else parameters
        other = {"slices_by": default_sha256(2)} if parameters.slices else {}  # the network that is asked about them
        values = parameters.as_dict()
        del values["opening"]  # a box begins the object, or it is in the nearness
        for name, off in (("rnet", 0), ("handicap", 1)):  # rows of before there was one say nothing of it
            if values[name] == off:
                del values[name]
        return {"refine": method.refine, "version": VERSION, **other, **values}
    if method.remote:
        return {"server": server}
    signature = inspect.signature(method.kind).parameters.values()
    return {p.name: p.default for p in signature if p.name != "seed" and p.default is not p.empty}


def _needed(model: Model | None, name: str) -> Model:
    if model is None:
        raise InvalidInput(f"The method {name} needs a network.")
    return model


class FromNetwork:
    """BIFSeg as the paper's tables look at it, on a network's own mask.

    `start` gives the refinement without scribbles (Tables II and V). The first scribbles are drawn on `initial`, the
    network's mask, so that all refinements of one network can be given the same, and refine that (III and VI).
    """

    begins_with = "box"

    def __init__(self, refine: str, **options: Any) -> None:
        self._refine, self._options = refine, options

    def start(self, image: Image, box: Box) -> np.ndarray:
        from bifseg.session.session import Session

        self._session, self._box = Session(image, **self._options), box
        self._initial: np.ndarray | None = None
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


class FromScribbles:
    """BIFSeg for a user who draws no box: first scribbles make it, see `bifseg.prompts.first_scribbles`.

    Where a later one leaves it, it grows, and the object begins anew with all scribbles.
    """

    begins_with = "scribbles"

    def __init__(self, refine: str, **options: Any) -> None:
        self._refine, self._options = refine, options

    def start(self, image: Image, field_of_view: Box) -> np.ndarray:
        import numpy as np

        from bifseg.session.session import Session

        self._session = Session(image, **self._options)
        return np.zeros(image.shape, bool)

    def refine(self, scribbles: np.ndarray) -> np.ndarray:
        from bifseg.prompts.first_scribbles import holding

        session, refine = self._session, self._refine
        if not session.names:
            return session.box(scribbles=scribbles, refine=refine)
        box = session.state.objects[session.names[0]].box
        if (wider := holding(box, scribbles)) != box:
            return session.resize(wider, scribbles=scribbles, refine=refine)
        return session.scribble(scribbles, refine=refine)
