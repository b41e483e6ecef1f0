"""Where the networks that ship are, which are the defaults, and names in their files; needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from safetensors import safe_open

SHIPPED = Path(__file__).parent / "weights"
DEFAULT = {2: "fcn2d", 3: "multiscale3d"}
TUNED: dict[str, dict[str, float]] = {"multiscale3d": {"slices": 0.5}}  # found since their files were written
CLASSIFIER = "classifier."  # in a network's file, what the names of its classifier's arrays begin with
SHAPE = "shape"  # there, the name of a mean shape
RNET = "rnet."  # there, what the names of an R-Net's arrays begin with
TRUNK = "trunk."  # what names of a trunk's weights begin with, beside those of a classifier
PARAMETER = "parameter."  # what names of parameters begin with there


def shipped() -> list[str]:
    """Names of the models inside the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def tuned_of(name: str, written: Mapping[str, float]) -> dict[str, float]:
    """The parameters that a shipped network is used with: those written in its file, and those found since."""
    return {**written, **TUNED.get(name, {})}


def default_file(dimension: int) -> Path:
    """The weights of the default for a dimension."""
    return SHIPPED / f"{DEFAULT[dimension]}.safetensors"


def default_sha256(dimension: int) -> str:
    """What `Model.sha256` is of the default for a dimension."""
    return _sha256(default_file(dimension))


@cache
def surroundings(dimension: int) -> float:
    """How far around a box the default for a dimension looks: a share of the box's longest side, 0 for not at all."""
    with safe_open(default_file(dimension), framework="np") as file:
        told = file.metadata()
    return json.loads(told["settings"]).get("context", 0) / int(told["size"])


@cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
