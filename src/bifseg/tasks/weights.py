"""What a version's file holds beside the network that it was learnt with; needs no torch."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from bifseg.errors import DamagedFile
from bifseg.method.parameters import once_taught
from bifseg.networks.shipped import CLASSIFIER, PARAMETER, SHAPE, TRUNK, TUNED, default_file


@lru_cache(maxsize=64)
def learnt_arrays(path: Path, sha256: str, dimension: int) -> Mapping[str, np.ndarray]:
    """The weights of a file's classifier, its mean shape, and what differs from the shipped network: weights of the
    trunk and parameters; named as in a `Prior`.

    The same file has them for all times: ``sha256`` is its own. DamagedFile is raised where it cannot be read.
    """
    try:
        content = path.read_bytes()
        arrays, tuned = load(content), _tuned(content)
    except (SafetensorError, ValueError, KeyError, struct.error) as error:
        raise DamagedFile(path, f"is damaged: {error}.") from error
    shipped = default_file(dimension)
    base = load(shipped.read_bytes())
    known = once_taught({**_tuned(shipped.read_bytes()), **TUNED.get(shipped.stem, {})}, dimension)
    changed = {name: value for name, value in tuned.items() if known.get(name) != value}
    learnt = {PARAMETER + name: np.float32(value)[None] for name, value in changed.items()}
    for name, array in arrays.items():
        if name == SHAPE or name.startswith(CLASSIFIER):
            learnt[name.removeprefix(CLASSIFIER)] = array
        elif name not in base or not np.array_equal(array, base[name]):
            learnt[TRUNK + name] = array
    return learnt


def _tuned(content: bytes) -> dict[str, float]:
    """What `bifseg.networks.checkpoint.save_model` wrote of a model's parameters."""
    (size,) = struct.unpack_from("<Q", content)
    return json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["tuned"])
