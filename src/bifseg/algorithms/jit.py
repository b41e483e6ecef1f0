"""How loops become machine code: from what travels with the package, else by Numba; without the interpreter's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any

import numpy as np

from bifseg.algorithms import machine_code
from bifseg.algorithms.machine_code import Signature

_lock = threading.RLock()


class Loop:
    """A function on arrays and numbers that runs as machine code; another such function may call it, too.

    Its signatures are translated for LLVM before anybody needs them (``python -m codegen.loops``), and loaded in
    milliseconds. For other arguments, and once its source has changed, Numba compiles it at its first call, which takes
    seconds, and keeps it on disk: beside the source, else in the user's cache or ``NUMBA_CACHE_DIR``.
    """

    def __init__(self, function: Callable, signatures: tuple[str, ...] = ()) -> None:
        update_wrapper(self, function)
        self.function = function
        self.signatures = signatures
        self.runs: dict[tuple, Callable] = {}  # by kinds of arguments

    def __call__(self, *arguments: Any) -> Any:
        kinds = tuple([_kind(argument) for argument in arguments])
        run = self.runs.get(kinds)
        if run is None:
            with _lock:
                run = self.runs[kinds] = self._loaded(arguments) or self.dispatcher
        return run(*arguments)

    def _loaded(self, arguments: tuple) -> Callable | None:
        for number, text in enumerate(self.signatures):
            signature = Signature.parsed(text)
            if signature.fits(arguments):
                return machine_code.load(self.function, number, signature)
        return None

    @cached_property
    def dispatcher(self) -> Any:
        """The function as Numba compiles it. Where it can be kept nowhere, every process compiles it anew."""
        from numba import njit  # it takes half a second, and is hardly ever needed

        try:
            return njit(self.function, cache=True, nogil=True)
        except RuntimeError:  # Numba's word for: nowhere to keep it
            return njit(self.function, nogil=True)

    @property
    def _numba_type_(self) -> Any:
        """What Numba takes it for in a function that calls it."""
        return self.dispatcher._numba_type_


def compiled(*signatures: str) -> Callable[[Callable], Loop]:
    """Make a function a `Loop`, translated beforehand for signatures in Numba's notation; without any, for those that
    call it."""
    return lambda function: Loop(function, signatures)


def _kind(argument: Any) -> Any:
    """What machine code depends on."""
    if isinstance(argument, np.ndarray):
        flags = argument.flags
        return argument.dtype, argument.ndim, flags.c_contiguous, flags.aligned
    return type(argument)
