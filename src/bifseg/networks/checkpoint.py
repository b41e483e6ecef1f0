"""A trained network in one file: safetensors weights, with how to rebuild and feed the network in its header.

Never pickle: reading a checkpoint cannot run code, and a damaged one is refused before memory is reserved for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bifseg.errors import InvalidInput, MissingFile
from bifseg.io.atomic import write_atomically
from bifseg.networks import build
from bifseg.networks.base import BoxNetwork
from bifseg.networks.rnet import RNet
from bifseg.networks.shipped import DEFAULT, RNET, SHAPE, SHIPPED, shipped, tuned_of

VERSION = "1"


@dataclass(frozen=True, eq=False)
class Model:
    """A network and what it was trained for.

    ``size``: the working grid, smaller side of a 2D crop or largest side of a 3D crop, in pixels; ``tuned``:
    parameters found for this network on training data; ``card``: data, recipe, seed, hardware, results, limits;
    ``flips``: whether it looks at every crop flipped along all its axes, too, and its answers are averaged;
    ``shape``: log-odds float32 of where in a box its objects lie, see `bifseg.method.mean_shape`; None of most.
    ``rnet``: what hears strokes behind a trunk that does not; None where nothing does.
    """

    name: str
    network: BoxNetwork
    architecture: str
    settings: dict
    size: int
    tuned: dict = field(default_factory=dict)
    card: dict = field(default_factory=dict)
    sha256: str = ""
    flips: bool = False
    shape: np.ndarray | None = None
    rnet: RNet | None = None

    @property
    def dimension(self) -> int:
        return self.network.dimension

    def __reduce__(self) -> tuple:
        """To another process, the weights of a shipped model travel by its name."""
        path = SHIPPED / f"{self.name}.safetensors"
        if path.is_file() and _read_shipped(path).network is self.network:
            return _by_name, (self.name, self.size, self.tuned, self.card, self.flips, self.shape)
        return Model, tuple(getattr(self, field.name) for field in fields(self))


def load_model(name: str | os.PathLike = "default", dimension: int | None = None) -> Model:
    """A shipped model by name, or a checkpoint file by path.

    Parameters
    ----------
    name
        ``default`` is the shipped one for ``dimension``.
    dimension
        2 or 3, which the model has to have; None: any.

    Returns
    -------
    Model
        Its network is shared and never changes.

    Raises
    ------
    MissingFile
        For an unknown name, and a file that is not there.
    InvalidInput
        For a file that is damaged, of another kind, or made for the other dimension.
    """
    if name == "default":
        name = DEFAULT[dimension or 2]
    path = Path(name)
    if path.suffix != ".safetensors":
        path = SHIPPED / f"{name}.safetensors"
        if not path.is_file():
            raise MissingFile(
                f"Unknown model {str(name)!r}; known are default, {', '.join(shipped())}, or a .safetensors file."
            )
    if not path.is_file():
        raise MissingFile(f"There is no model file {path}.")
    model = _read_shipped(path) if path.parent == SHIPPED else _read(path)
    if dimension is not None and model.dimension != dimension:
        raise InvalidInput(f"The model {model.name} is for {model.dimension}D boxes, and the box is {dimension}D.")
    return model


def save_model(model: Model, path: str | os.PathLike, *, half: bool = False) -> None:
    """Write a checkpoint atomically: a reader sees the old file or the new one, whole.

    ``half``: weights rounded to float16, in half the space; they are float32 again when read.
    """
    header = {
        "format": "bifseg",
        "version": VERSION,
        "architecture": model.architecture,
        "settings": json.dumps(model.settings),
        "size": str(model.size),
        "tuned": json.dumps(model.tuned),
        "card": json.dumps(model.card),
        "flips": json.dumps(model.flips),
    }
    kind = torch.float16 if half else torch.float32
    tensors = {name: t.detach().to(kind).contiguous().cpu() for name, t in model.network.state_dict().items()}
    if model.shape is not None:
        tensors[SHAPE] = torch.from_numpy(model.shape)
    if model.rnet is not None:
        header["rnet"] = json.dumps(model.rnet.settings)
        own = model.rnet.state_dict().items()
        tensors.update({f"{RNET}{name}": t.detach().to(kind).contiguous().cpu() for name, t in own})
    write_atomically(Path(path), save(tensors, header))


def _by_name(name: str, size: int, tuned: dict, card: dict, flips: bool, shape: np.ndarray | None) -> Model:
    return replace(load_model(name), size=size, tuned=tuned, card=card, flips=flips, shape=shape)


@cache
def _read_shipped(path: Path) -> Model:
    model = _read(path)
    return replace(model, tuned=tuned_of(path.stem, model.tuned))


def _read(path: Path) -> Model:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != "bifseg":
                raise InvalidInput(f"{path} is not a bifseg model: its header does not say format bifseg.")
            if header.get("version") != VERSION:
                raise InvalidInput(f"{path} has version {header.get('version')}; this bifseg reads version {VERSION}.")
            architecture, size = header["architecture"], int(header["size"])
            settings = json.loads(header["settings"])
            with torch.device("meta"):  # no memory is reserved until the shapes agree
                network = build(architecture, **settings)
                rnet = _rnet_behind(network, header["rnet"], path) if "rnet" in header else None
            behind = {} if rnet is None else {f"{RNET}{name}": t for name, t in rnet.state_dict().items()}
            expected = {name: tuple(t.shape) for name, t in (network.state_dict() | behind).items()}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            mean_shape = shapes.pop(SHAPE, None)
            if shapes != expected or (mean_shape and (len(mean_shape) != network.dimension or 0 in mean_shape)):
                raise InvalidInput(f"{path} is damaged: its tensors do not fit the architecture {architecture!r}.")
            weights = {name: file.get_tensor(name).float() for name in expected}
            if rnet is not None:
                rnet.load_state_dict({name.removeprefix(RNET): weights.pop(name) for name in behind}, assign=True)
            network.load_state_dict(weights, assign=True)
            tuned, card = json.loads(header.get("tuned", "{}")), json.loads(header.get("card", "{}"))
            flips = json.loads(header.get("flips", "false")) is True
            shape = None if mean_shape is None else file.get_tensor(SHAPE).float()
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise InvalidInput(f"{path} is damaged or not a safetensors file: {error}.") from None
    networks = [network] if rnet is None else [network, rnet]
    arrays = [t for one in networks for t in one.state_dict().values()] + ([] if shape is None else [shape])
    if not all(array.isfinite().all() for array in arrays):
        raise InvalidInput(f"{path} is damaged: its weights are not finite numbers.")
    if not 8 <= size <= 512:
        raise InvalidInput(f"{path} is damaged: its working size is {size}.")
    for one in networks:
        one.eval().requires_grad_(False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    learnt = None if shape is None else shape.numpy()
    return Model(path.stem, network, architecture, settings, size, tuned, card, digest, flips, learnt, rnet)


def _rnet_behind(network: BoxNetwork, settings: str, path: Path) -> RNet:
    try:
        rnet = RNet(**json.loads(settings))
    except (TypeError, ValueError, RuntimeError) as error:  # JSON's errors are ValueErrors
        raise InvalidInput(f"{path} is damaged: {settings[:80]} are no settings of an R-Net ({error}).") from None
    if (rnet.dimension, rnet.features) != (network.dimension, network.channels):
        raise InvalidInput(f"{path} is damaged: its R-Net is for another network.")
    return rnet
