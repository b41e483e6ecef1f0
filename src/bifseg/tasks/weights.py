"""What a version's file holds beside the network that it was learnt with; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from bifseg.errors import DamagedFile
from bifseg.method.parameters import once_taught
from bifseg.networks.shipped import CLASSIFIER, PARAMETER, SHAPE, TRUNK, default_file, tuned_of


@lru_cache(maxsize=64)
def learnt_arrays(path: Path, sha256: str, dimension: int) -> Mapping[str, np.ndarray]:
    """The weights of a file's classifier, its mean shape, and what differs from the shipped network: weights of the
    trunk and parameters; named as in a `Prior`.

    The same file has them for all times: ``sha256`` is its own. DamagedFile is raised where it cannot be read.
    """
    try:
        arrays, tuned = _read(path)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(path, f"is damaged: {error}.") from error
    shipped = default_file(dimension)
    base, written = _read(shipped)
    known = once_taught(tuned_of(shipped.stem, written), dimension)
    changed = {name: value for name, value in tuned.items() if known.get(name) != value}
    learnt = {PARAMETER + name: np.float32(value)[None] for name, value in changed.items()}
    for name, array in arrays.items():
        if name == SHAPE or name.startswith(CLASSIFIER):
            learnt[name.removeprefix(CLASSIFIER)] = array
        elif name not in base or not np.array_equal(array, base[name]):
            learnt[TRUNK + name] = array
    return learnt


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The arrays and the parameters of a network's file."""
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["tuned"])  # noqa: SIM118
