"""How loops are compiled: by Numba, once per installation, without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable) -> Callable:
    """The function as machine code, compiled at its first call and then kept on disk.

    It is kept beside the source, else in the user's cache, else in ``NUMBA_CACHE_DIR``. Where none of them can be
    written, it is compiled anew by every process.
    """
    try:
        return njit(function, cache=True, nogil=True)
    except RuntimeError:  # Numba's word for: nowhere to keep it
        return njit(function, nogil=True)
