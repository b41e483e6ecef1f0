"""Arrays in NumPy's files, read by one thread at a time.

NumPy parses a file's header with `ast.parse`. In older releases of Python (3.11.7 is one) that fails now and then where
two threads do it at once, with a SystemError ("AST constructor recursion depth mismatch", CPython issue 106905): of a
server's answers to several users one would be lost.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np

ONE_READER = threading.Lock()  # whoever reads headers holds it


def mapped_array(path: Path) -> np.ndarray:
    """The array of an .npy file, its values left on the disk until they are used; ValueError where it is none."""
    with ONE_READER:
        return np.load(path, mmap_mode="r", allow_pickle=False)


def array_of(content: bytes) -> np.ndarray:
    """The array of an .npy file's bytes; ValueError where they are none."""
    with ONE_READER:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
