"""A segment as bytes and back, bit for bit: one safetensors file, whose header says what is no array."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from bifseg.errors import InvalidInput
from bifseg.method.parameters import Parameters
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.session.state import ModelId, Prior, Segment
from bifseg.storage.told import DEEPEST, depth, parts

FORMAT = "bifseg-segment-1"
LARGEST = 1 << 10  # of a working grid, per side
HEADER = 1 << 20  # bytes of what is told of the arrays, and of what is no array
PARTS = 10_000  # of what is no array: a hundred rounds have 2,000


def pack(segment: Segment) -> bytes:
    """All of a segment. Scribbles are kept as the voxels they mark, the mask as bits."""
    marked = np.flatnonzero(segment.scribbles)
    arrays = {
        "scribbled": marked.astype(np.uint32),
        "scribbles": segment.scribbles.ravel()[marked],
        "mask": segment.packed,
        "probability": segment.grid_probability,
        **({} if segment.grid_weights is None else {"weights": segment.grid_weights}),
        **{f"classifier.{name}": array for name, array in segment.classifier.items()},
        **{f"start.{name}": array for name, array in (segment.start or {}).items()},
    }
    prior = segment.prior
    about = {
        "name": segment.name,
        "box": str(segment.box),
        "model": [segment.model.name, segment.model.sha256],
        "parameters": segment.parameters.as_dict(),
        "given": segment.given,
        "rounds": list(segment.rounds),
        "milliseconds": dict(segment.milliseconds),
        "part_of": segment.part_of,
    }
    if prior is not None:
        arrays |= {f"prior.{name}": array for name, array in prior.arrays.items()}
        about["prior"] = [prior.task, prior.version, prior.base]
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(arrays, {FORMAT: json.dumps(about, sort_keys=True)})  # one key: the bytes do not depend on hashing


def unpack(content: bytes) -> Segment:
    """The segment of these bytes; InvalidInput for anything that `pack` cannot have written."""
    try:
        size = header_bytes(content)
        if size > HEADER:
            raise InvalidInput(f"it tells {size} bytes of itself, and at most {HEADER} are read")
        about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][FORMAT])
        if parts(about, PARTS) > PARTS:
            raise InvalidInput(f"it tells more than {PARTS} things of itself")
        arrays = load(content)
        box = Box.parse(about["box"])
        count = int(np.prod(box.shape, dtype=object))
        marked, labels = arrays.pop("scribbled"), arrays.pop("scribbles")
        packed, probability = arrays.pop("mask"), arrays.pop("probability")
        weights = arrays.pop("weights", None)
        grids = [probability] if weights is None else [probability, weights]
        whole = (
            packed.dtype == np.uint8 and packed.shape == (-(-count // 8),)
            and marked.dtype == np.uint32 and labels.dtype == np.uint8 and marked.shape == labels.shape
            and (not len(marked) or marked.max() < count) and np.isin(labels, (FOREGROUND, BACKGROUND)).all()
            and all(grid.dtype == np.float32 and grid.ndim == box.dimension for grid in grids)
            and all(min(grid.shape) > 0 and max(grid.shape) <= LARGEST for grid in grids)
            and all(grid.shape == probability.shape for grid in grids)
            and all(array.dtype == np.float32 and np.isfinite(array).all() for array in (*grids, *arrays.values()))
            and all(name.startswith(("classifier.", "start.", "prior.")) for name in arrays)
            and all(isinstance(record, dict) for record in about["rounds"])
            and depth(about["rounds"]) <= DEEPEST
            and all(isinstance(ms, int | float) for ms in about["milliseconds"].values())
        )  # fmt: skip
        if not whole:
            raise InvalidInput("its parts do not fit together")
        model, sha256 = map(str, about["model"])
        scribbles = np.zeros(count, np.uint8)
        scribbles[marked] = labels
        return Segment(
            str(about["name"]), box, ModelId(model, sha256), Parameters.stored(about["parameters"]),
            _named("classifier.", arrays),
            scribbles.reshape(box.shape), packed, probability, weights, bool(about["given"]),
            tuple(about["rounds"]), dict(about["milliseconds"]),
            str(about.get("part_of", "")), _named("start.", arrays) or None,  # none of the three is in older ones
            _stored_prior(about["prior"], arrays) if "prior" in about else None,
        )  # fmt: skip
    except (
        SafetensorError,
        struct.error,
        RecursionError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise InvalidInput(f"A stored segment is damaged: {str(error).rstrip('.')}.") from None


def header_bytes(content: bytes) -> int:
    """How many bytes of a packed segment tell of its arrays, and of what is no array."""
    return struct.unpack_from("<Q", content)[0]


def pack_prior(prior: Prior) -> bytes:
    """The arrays of what a task learnt."""
    return save({name: np.ascontiguousarray(array) for name, array in prior.arrays.items()})


def unpack_prior(about: Mapping, content: bytes) -> Prior:
    """What a journal says of it, with its `pack_prior`; InvalidInput for what can be none."""
    try:
        arrays = load(content)
        if not all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values()):
            raise InvalidInput("its weights are not finite numbers")
        return _prior(about["task"], about["version"], about["base"], arrays)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"What a task had learnt is damaged: {str(error).rstrip('.')}.") from None


def _stored_prior(about: Sequence, arrays: Mapping[str, np.ndarray]) -> Prior:
    task, version, base = about
    return _prior(task, version, base, _named("prior.", arrays))


def _prior(task: object, version: object, base: object, arrays: Mapping[str, np.ndarray]) -> Prior:
    if not (isinstance(task, str) and len(task) <= 80 and type(version) is int and isinstance(base, str) and arrays):
        raise InvalidInput("it does not say which task learnt it")
    prior = Prior.of(task, version, base, arrays)
    Parameters().but(**prior.tuned)  # refuses what is no parameter
    if prior.shape is not None and (prior.shape.ndim not in (2, 3) or 0 in prior.shape.shape):
        raise InvalidInput(f"a mean shape has two or three axes, and this one has the shape {prior.shape.shape}")
    return prior


def _named(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, without the prefix."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
