"""The numbers of the method, by the paper's symbols, and the two presets: ``paper`` and ``fast``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import comb
from numbers import Integral, Real
from typing import Any

import numpy as np

from bifseg.errors import InvalidInput

VERSION = 2  # of the method: another number where the same parameters no longer give the same masks
REFINEMENTS = ("none", "crf", "auto")
RULES = ("fill_holes", "drop_islands")  # of what is left of a mask once it is cut
SWITCHES = {"0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}
CONNECTIVITY: dict[float, int] = {4: 1, 6: 1, 18: 2, 8: 3, 26: 3}  # by the number of neighbours in 2D or 3D
KINDS: dict[type, tuple[tuple[type, ...], str]] = {  # of a parameter, by its default: what its values may be
    bool: ((Integral, np.bool_), "0 or 1"),
    int: ((Integral,), "a whole number"),
    float: ((Real,), "a number"),
}


@dataclass(frozen=True)
class Parameters:
    """Everything that decides how a probability becomes a mask and how the classifier adapts (immutable).

    The paper's ablations are values, not classes: "+CRF" is ``rounds=0``, "BIFSeg(-w)" is ``weighted=False``,
    unsupervised fine-tuning is refining without scribbles.
    """

    lam: float = 3.0  # weight of the pairwise term, Eq. 1
    sigma: float = 0.1  # intensity scale of the pairwise term, Eq. 2; the crop's intensities span [0, 1]
    connectivity: int = 3  # neighbours share a face (1), also an edge (2), also a corner (3; as 2 in a plane)
    t0: float = 0.2  # U_p = {t0 < p < t1}
    t1: float = 0.7
    epsilon: float = 0.2  # geodesic reach of a scribble, U_s
    omega: float = 5.0  # weight of a scribbled pixel, Eq. 13
    unsure: float = 0.0  # weight on U_p and U_s; the paper's 0 drops these pixels
    weighted: bool = True  # False: w(i) = 1, the paper's BIFSeg(-w)
    balanced: bool = False  # give both classes the same total weight in the loss
    share: float = 0.0  # of the loss that scribbles have at least, however few their pixels are
    evidence: float = 0.0  # log-odds that a scribble adds around it to what labels are cut from; the paper has none
    reach: float = 0.1  # geodesic distance over which they fall to a third
    nearness: float = 0.0  # log-odds for the label whose scribbles are geodesically nearer; the paper has none
    handicap: float = 1.0  # how many times as far as they are the object's scribbles count, for that
    opening: float = 0.0  # nearness that is added where scribbles, not a box, began the object; the paper has none
    persistence: float = 0.0  # log-odds by which a mask stays where new scribbles say nothing; the paper has none
    appearance: float = 0.0  # log-odds of grey levels, times how far they can be trusted; the paper has none
    rnet: float = 0.0  # share of R-Net's correction, where the model has one; the paper has none
    slices: float = 0.0  # share of a 2D network's log-odds in a stack of thick slices; the paper has none
    blend: float = 1.0  # of the adapted classifier's logit in what labels are cut from; the rest is the trained one's
    never_empty: bool = False  # a label update that finds nothing gives way to p > 0.5: a box holds an object
    rounds: int = 4  # of (label update, network update); a last label update follows
    iterations: int = 20  # gradient steps per network update
    rate: float = 1e-2  # learning rate
    momentum: float = 0.0
    samples: int = 0  # pixels per network update beside the scribbled ones, half of each class, drawn once; 0: all
    unsupervised: bool = True  # whether a box without scribbles is followed by fine-tuning or by one cut
    full_resolution: bool = False  # a last cut on the scan's own voxels, in a band around the grid's border
    band_lam: float = 1.0  # lam there, a cell of the grid being the unit of length
    band_sigma: float = 0.05  # sigma there
    fill_holes: float = 0.0  # holes are filled up to this share of the mask, where nobody painted background in them
    drop_islands: float = 0.0  # pieces below this share of the largest go, where nobody painted foreground on them

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            types, description = KINDS[kind]
            if not isinstance(value, types) or (kind is bool and value not in (0, 1)):
                raise InvalidInput(f"{field.name} is {value!r}; it must be {description}.")
        positive = {
            "sigma": self.sigma, "rate": self.rate, "omega": self.omega, "reach": self.reach,
            "handicap": self.handicap, "band_sigma": self.band_sigma,
        }  # fmt: skip
        natural = {
            "lam": self.lam, "epsilon": self.epsilon, "unsure": self.unsure, "momentum": self.momentum,
            "evidence": self.evidence, "nearness": self.nearness, "opening": self.opening,
            "persistence": self.persistence, "appearance": self.appearance, "band_lam": self.band_lam,
            "rounds": self.rounds, "iterations": self.iterations, "samples": self.samples,
        }  # fmt: skip
        for name, value in positive.items():
            if not 0 < value < float("inf"):
                raise InvalidInput(f"{name} is {value}; it must be above 0.")
        for name, value in natural.items():
            if not 0 <= value < float("inf"):
                raise InvalidInput(f"{name} is {value}; it must be 0 or more.")
        if not 0 <= self.share < 1:
            raise InvalidInput(f"share is {self.share}; it must be 0 or more and below 1.")
        for name in ("rnet", "slices", "blend", "fill_holes", "drop_islands"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InvalidInput(f"{name} is {value}; it must lie between 0 and 1.")
        if not 0 <= self.t0 <= self.t1 <= 1:
            raise InvalidInput(f"t0 = {self.t0} and t1 = {self.t1}; it must hold 0 <= t0 <= t1 <= 1.")
        if self.connectivity not in (1, 2, 3):
            raise InvalidInput(f"connectivity is {self.connectivity}; it must be 1 (faces), 2 (edges) or 3 (corners).")

    @classmethod
    def stored(cls, values: Mapping[str, float]) -> Parameters:
        """The parameters of an `as_dict`, also of version 0.1.0.dev, which counted ``neighbours``.

        Parameters
        ----------
        values
            By name; those that are missing have the paper's.

        Returns
        -------
        Parameters
            InvalidInput is raised for what are none.
        """
        if not isinstance(values, Mapping):
            raise InvalidInput(f"Parameters are names and values; {str(values)[:40]} is none.")
        values = dict(values)
        if (neighbours := values.pop("neighbours", None)) is not None:
            values["connectivity"] = CONNECTIVITY.get(neighbours, neighbours)
        return cls().but(**values)

    def but(self, **changes: Any) -> Parameters:
        """A copy with other values.

        Parameters
        ----------
        **changes
            By name; InvalidInput is raised for an unknown one.

        Returns
        -------
        Parameters
            This one stays as it is.

        Examples
        --------
        >>> Parameters().but(lam=1.0).lam
        1.0
        """
        known = {f.name for f in fields(self)}
        if unknown := set(changes) - known:
            raise InvalidInput(f"Unknown parameter {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}.")
        return replace(self, **changes)

    def opened(self) -> Parameters:
        """Those of an object that scribbles began, in place of a box.

        Returns
        -------
        Parameters
            Where there is an ``opening``, it is in ``nearness``, and the ``handicap`` is `OPENED`.
        """
        nearness = self.nearness + self.opening
        return replace(self, nearness=nearness, handicap=OPENED, opening=0.0) if self.opening else self

    def neighbours(self, dimension: int) -> int:
        """How many voxels a voxel is connected to.

        Parameters
        ----------
        dimension
            2 or 3.

        Returns
        -------
        int
            4 or 8 in 2D; 6, 18 or 26 in 3D.
        """
        return sum(comb(dimension, moved) * 2**moved for moved in range(1, min(self.connectivity, dimension) + 1))

    def as_dict(self) -> dict[str, float]:
        """All values by name, ready for JSON.

        Returns
        -------
        dict
            What `stored` takes.
        """
        return asdict(self)


OPENED = 2.0  # handicap where scribbles began an object: a loop around it lies on few planes, and far from the others
PAPER = {
    2: Parameters(),
    3: Parameters(lam=10.0, t1=0.6),
}
"""The settings printed by Wang et al. 2018 for fetal MRI (2D) and brain tumours (3D)."""

_FAST = Parameters(
    sigma=0.15, epsilon=0.05, unsure=0.3, balanced=True, share=0.3, rounds=1, iterations=40, rate=0.2, momentum=0.9,
    evidence=4.0, persistence=0.5, appearance=1.0, never_empty=True, unsupervised=False, full_resolution=True,
)  # fmt: skip
FAST = {
    2: _FAST.but(lam=3.0, samples=4096, blend=0.5, evidence=2.0, opening=2.0),
    3: _FAST.but(
        lam=0.6, connectivity=1, samples=8192, blend=0.75, unsupervised=True, nearness=2.0, opening=3.0,
        fill_holes=0.005, drop_islands=0.1,
    ),
}  # fmt: skip
"""What we found to work on networks other than the paper's; see docs/explanation/method.md for the measurements."""

PRESETS = {"paper": PAPER, "fast": FAST}
TAUGHT: dict[int, dict[str, float]] = {2: {}, 3: {"blend": 0.25}}  # by dimension: one image teaches little more


def preset(name: str, dimension: int, tuned: Mapping[str, float] | None = None) -> Parameters:
    """The parameters of a preset.

    Parameters
    ----------
    name
        ``paper`` or ``fast``.
    dimension
        2 or 3.
    tuned
        Values found for a network, by name; in ``fast`` they take precedence.

    Returns
    -------
    Parameters
        InvalidInput is raised for an unknown name.
    """
    if name not in PRESETS:
        raise InvalidInput(f"Unknown preset {name!r}; known are {', '.join(PRESETS)}.")
    parameters = PRESETS[name][dimension]
    return parameters.but(**tuned) if tuned and name == "fast" else parameters


def once_taught(tuned: Mapping[str, float], dimension: int) -> dict[str, float]:
    """What is tuned for a network, once finished objects taught it.

    Parameters
    ----------
    tuned
        As in `preset`, for the network as it ships.
    dimension
        2 or 3.

    Returns
    -------
    dict
        As in `preset`.
    """
    return {**tuned, **TAUGHT[dimension]}


def shares_of(switches: Mapping[str, float | bool | None]) -> dict[str, float]:
    """What the rules for holes and islands are to be.

    Parameters
    ----------
    switches
        By the names of `RULES`: a share; True, which is that of the preset ``fast`` in 3D; False, none; None: it stays.

    Returns
    -------
    dict
        Shares by name, without those that stay. InvalidInput is raised for what is none, and where all stay.

    Examples
    --------
    >>> shares_of({"fill_holes": True, "drop_islands": None})
    {'fill_holes': 0.005}
    """
    shares = {name: float(switch) for name, switch in switches.items() if switch is not None}
    if not shares:
        raise InvalidInput(f"Nothing is said to change; give {' or '.join(RULES)}.")
    for name, switch in switches.items():
        if switch is True:
            shares[name] = getattr(FAST[3], name)
    Parameters().but(**shares)
    return shares


def check_refinement(refine: str) -> None:
    """Refuse a refinement that there is not.

    Parameters
    ----------
    refine
        InvalidInput lists those that there are.
    """
    if refine not in REFINEMENTS:
        raise InvalidInput(f"Unknown refinement {refine!r}; known are {', '.join(REFINEMENTS)}.")


def chosen(
    parameters: Parameters | str | Mapping, dimension: int, tuned: Mapping[str, float] | None = None
) -> Parameters:
    """The parameters that were asked for.

    Parameters
    ----------
    parameters
        Themselves; a preset by its name; or a preset but for some values.
    dimension
        2 or 3.
    tuned
        As in `preset`.

    Returns
    -------
    Parameters
        InvalidInput is raised for an unknown preset or parameter.

    Examples
    --------
    >>> chosen({"preset": "fast", "fill_holes": 0}, 3).fill_holes
    0
    """
    if isinstance(parameters, Parameters):
        return parameters
    if isinstance(parameters, str):
        return preset(parameters, dimension, tuned)
    changes = dict(parameters)
    return preset(changes.pop("preset", "fast"), dimension, tuned).but(**changes)


def parsed(assignments: Iterable[str]) -> dict[str, float]:
    """Parameters that were written as text.

    Parameters
    ----------
    assignments
        Each of the form ``fill_holes=0``.

    Returns
    -------
    dict
        Values by name, of each parameter's kind. InvalidInput is raised for another form or an unknown name.

    Examples
    --------
    >>> parsed(["fill_holes=0.01", "full_resolution=no"])
    {'fill_holes': 0.01, 'full_resolution': False}
    """
    defaults, values = Parameters().as_dict(), {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise InvalidInput(f"{assignment!r} is not of the form NAME=VALUE, as in fill_holes=0.")
        if name not in defaults:
            raise InvalidInput(f"Unknown parameter {name}; known are {', '.join(sorted(defaults))}.")
        kind = type(defaults[name])
        try:
            values[name] = SWITCHES[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError):
            raise InvalidInput(f"{name} is {text!r}; it must be {KINDS[kind][1]}.") from None
    return values
