"""What a version's file holds beside the network that it was learnt with; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from bifseg.errors import DamagedFile
from bifseg.networks.shipped import CLASSIFIER, SHAPE, TRUNK, default_file


@lru_cache(maxsize=64)
def learnt_arrays(path: Path, sha256: str, dimension: int) -> Mapping[str, np.ndarray]:
    """The weights of a file's classifier, its mean shape, and those weights of its trunk that are not the shipped
    network's, named as in a `Prior`.

    The same file has them for all times: ``sha256`` is its own. DamagedFile is raised where it cannot be read.
    """
    try:
        arrays = load(path.read_bytes())
    except (SafetensorError, ValueError) as error:
        raise DamagedFile(path, f"is damaged: {error}.") from error
    base = load(default_file(dimension).read_bytes())
    learnt = {}
    for name, array in arrays.items():
        if name == SHAPE or name.startswith(CLASSIFIER):
            learnt[name.removeprefix(CLASSIFIER)] = array
        elif name not in base or not np.array_equal(array, base[name]):
            learnt[TRUNK + name] = array
    return learnt
