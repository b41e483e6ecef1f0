"""Loops that travel with the package as LLVM's bitcode, turned into machine code for the CPU at hand.

``loops.zip`` holds one function for every signature, which knows neither Python nor Numba; `codegen.loops` writes it.
What LLVM makes of it for a kind of CPU is kept as an object file. Where bitcode cannot be used (a system on which that
was never tried, an older LLVM, a source that has changed since), Numba compiles the loop.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np

LOOPS = Path(__file__).with_name("loops.zip")
ABOUT = "about.json"  # the version of LLVM that wrote the bitcode, and the sources it is of
PASSED = {"int64": ctypes.c_int64, "float32": ctypes.c_float, "float64": ctypes.c_double}
GIVEN: dict[str, Any] = {"int64": (int, np.integer), "float32": np.float32, "float64": float}
TRIED = {("linux", "x86_64")}  # systems and CPUs; on others a symbol that LLVM misses would end the process
DIGEST = hashlib.sha256().digest_size
UNUSABLE = ImportError, AttributeError, TypeError, OSError, RuntimeError  # what another LLVM than ours may raise


class Kind(NamedTuple):
    """Of an argument: its number type, and of an array how many axes it has and whether it must lie in C order."""

    number: str
    axes: int
    packed: bool

    def fits(self, argument: Any) -> bool:
        if not isinstance(argument, np.ndarray):
            return not self.axes and isinstance(argument, GIVEN[self.number])
        flags, dtype = argument.flags, argument.dtype
        same = dtype.name == self.number and dtype.isnative and argument.ndim == self.axes
        return same and flags.aligned and (flags.c_contiguous or not self.packed)


class Signature(NamedTuple):
    """What a loop takes, and whether it returns an integer or nothing."""

    kinds: tuple[Kind, ...]
    returns: bool

    @classmethod
    def parsed(cls, text: str) -> Signature:
        """From Numba's notation.

        >>> Signature.parsed("int64(float32[:,::1], float64)").kinds[0]
        Kind(number='float32', axes=2, packed=True)
        """
        returned, _, taken = text.partition("(")
        found = re.findall(r"(\w+)(?:\[([^\]]*)\])?", taken)
        kinds = [
            Kind("bool" if name == "boolean" else name, axes.count(",") + bool(axes), "1" in axes)
            for name, axes in found
        ]
        return cls(tuple(kinds), returned != "void")

    def fits(self, arguments: tuple) -> bool:
        return len(arguments) == len(self.kinds) and all(map(Kind.fits, self.kinds, arguments))


class Target(NamedTuple):
    """LLVM, set up for this CPU."""

    llvm: Any  # the module
    machine: Any
    engine: Any
    name: str  # of LLVM, the CPU and its features


def load(function: Callable, number: int, signature: Signature) -> Callable | None:
    """A loop as machine code for one of its signatures, by its number; None where it cannot be had.

    What is returned takes the arguments that fit, and returns an integer or None. Not to be called by two threads at
    once.
    """
    if not _in_step(function.__module__) or (target := _target()) is None:
        return None
    name = symbol(function, number)
    with ZipFile(LOOPS) as file:
        bitcode = file.read(f"{name}.bc")
    try:
        target.engine.add_object_file(target.llvm.ObjectFileRef.from_data(_kept(name, bitcode, target)))
        target.engine.finalize_object()
        address = target.engine.get_function_address(name)
    except UNUSABLE:
        return None
    return _callable(address, signature, target) if address else None


def is_tried() -> bool:
    """Whether bitcode was ever loaded on a system and CPU like this one's."""
    return (sys.platform, platform.machine()) in TRIED


def is_usable() -> bool:
    """Whether the LLVM that is installed can use what travels with the package."""
    return _target() is not None


def symbol(function: Callable, number: int) -> str:
    """What the machine code of a function is called, for one of its signatures."""
    return f"{function.__module__}.{function.__name__}.{number}"


def source(module: str) -> str:
    """A checksum of a module's source, whatever its line endings."""
    text = Path(str(sys.modules[module].__file__)).read_bytes()
    return hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()


def folder() -> Path | None:
    """Where machine code is kept: ``NUMBA_CACHE_DIR``, or beside this module, or in the user's cache; None: nowhere."""
    import platformdirs

    chosen = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(chosen)] if chosen else [LOOPS.with_name("__pycache__"), platformdirs.user_cache_path("bifseg")]
    for place in places:
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    return None


@cache
def _about() -> dict[str, Any]:
    try:
        with ZipFile(LOOPS) as file:
            return json.loads(file.read(ABOUT))
    except (OSError, BadZipFile, KeyError, ValueError):
        return {"llvm": [], "sources": {}}


@cache
def _in_step(module: str) -> bool:
    """Whether the bitcode is of the source as it is: who works on a loop sees the change at once."""
    return _about()["sources"].get(module) == source(module)


@cache
def _target() -> Target | None:
    """None on a machine of another kind than `TRIED`, where there is no LLVM, and where it is older than that which
    wrote the bitcode: it could not read it."""
    if not is_tried():
        return None
    try:
        import llvmlite
        import llvmlite.binding as llvm

        if list(llvm.llvm_version_info) < _about()["llvm"]:
            return None
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        for name, function in (("memset", ctypes.memset), ("memmove", ctypes.memmove), ("memcpy", ctypes.memmove)):
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
        native, cpu = llvm.Target.from_triple(llvm.get_process_triple()), llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten()
        machine = native.create_target_machine(
            cpu=cpu, features=features, opt=3, jit=True, codemodel="jitdefault",
            reloc="static" if native.name.startswith("x86") else "default",
        )  # fmt: skip
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    except UNUSABLE:
        return None
    return Target(llvm, machine, engine, f"{llvmlite.__version__} {cpu} {features}")


def _kept(name: str, bitcode: bytes, target: Target) -> bytes:
    """The object file of bitcode, made where none is kept yet; a damaged one is made again."""
    of = hashlib.sha256(bitcode + target.name.encode()).hexdigest()[:16]
    place = folder()
    if place is None:
        return _made(bitcode, target)
    path = place / f"{name}-{of}.o"
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
            return content[DIGEST:]
    code = _made(bitcode, target)
    with suppress(OSError), tempfile.TemporaryDirectory(dir=place) as beside:  # whole, or not at all
        whole = Path(beside, path.name)
        whole.write_bytes(hashlib.sha256(code).digest() + code)
        whole.replace(path)
    return code


def _made(bitcode: bytes, target: Target) -> bytes:
    llvm, machine = target.llvm, target.machine
    module = llvm.parse_bitcode(bitcode)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def _callable(address: int, signature: Signature, target: Target) -> Callable:
    """Machine code that takes arguments as Numba's functions do: where to put result and error, then of each array its
    owner twice (none), size, item size, address, shape and strides. It lives as long as the ``target``."""
    types: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for kind in signature.kinds:
        array = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * (2 * kind.axes)
        types += array if kind.axes else [PASSED[kind.number]]
    code = ctypes.CFUNCTYPE(ctypes.c_int32, *types)(address)

    def run(*arguments: Any) -> int | None:
        result, error = ctypes.c_int64(), ctypes.c_void_p()
        passed: list[Any] = [ctypes.addressof(result), ctypes.addressof(error)]
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                a, at = argument, argument.__array_interface__["data"][0]
                passed += (None, None, a.size, a.itemsize, at, *a.shape, *a.strides)
            else:
                passed.append(argument.item() if isinstance(argument, np.generic) else argument)
        if code(*passed):
            raise RuntimeError(f"A compiled loop failed on {target.name}.")
        return result.value if signature.returns else None

    return run
