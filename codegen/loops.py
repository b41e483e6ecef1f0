"""Write src/bifseg/algorithms/loops.zip: ``python -m codegen.loops``, after a module with compiled loops has changed.

Numba translates every loop for each of its signatures; LLVM simplifies that as far as no CPU matters, and leaves out
what knows Python. The same sources and versions give the same file.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from bifseg.algorithms.jit import Loop
from bifseg.algorithms.machine_code import ABOUT, LOOPS, source, symbol

MODULES = (
    "algorithms.linear_interpolation",
    "algorithms.maxflow",
    "algorithms.geodesic",
    "method.band_cut",
    "method.islands",
)
PLAIN = {"NUMBA_OPT": "0", "NUMBA_LOOP_VECTORIZE": "0", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
INTRINSICS = {"sqrt": "llvm.sqrt.f64", "sqrtf": "llvm.sqrt.f32"}  # in the place of functions of C's library


def modules() -> dict[str, list[Loop]]:
    """The modules that have loops, by name, and their loops."""
    found = {}
    for name in MODULES:
        module = import_module(f"bifseg.{name}")
        found[module.__name__] = [
            one for one in vars(module).values() if isinstance(one, Loop) and one.__module__ == module.__name__
        ]
    return found


def bitcode(loop: Loop) -> Iterator[tuple[str, bytes]]:
    """The bitcode of each of a loop's signatures, and the symbol that it is called by."""
    for number, text in enumerate(loop.signatures):
        loop.dispatcher.compile(text)
        result = loop.dispatcher.overloads[loop.dispatcher.signatures[-1]]
        name = symbol(loop.function, number)
        yield name, _simplified(result.library.get_llvm_str(), result.fndesc.llvm_func_name, name)


def _simplified(text: str, mangled: str, name: str) -> bytes:
    import llvmlite.binding as llvm

    text = text.replace(f'@"{mangled}"', f'@"{name}"').replace(f"@{mangled}(", f'@"{name}"(')
    for function, intrinsic in INTRINSICS.items():
        text = text.replace(f"@{function}(", f"@{intrinsic}(")
    module = llvm.parse_assembly(text)
    module.name = name
    for one in (*module.functions, *module.global_variables):
        if not one.is_declaration and one.name != name:
            one.linkage = "internal"
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = options.loop_unrolling = False
    options.inlining_threshold = 1 << 20
    builder = llvm.create_pass_builder(machine, options)
    passes = builder.getModulePassManager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, builder)
    return module.as_bitcode()


def write(path: Path = LOOPS) -> None:
    """Translate everything, and write it as one file."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({**PLAIN, "NUMBA_CACHE_DIR": folder})
        import llvmlite.binding as llvm
        from numba import njit

        found = modules()
        for loops in found.values():
            for loop in loops:
                loop.__dict__["dispatcher"] = njit(loop.function, **OPTIONS)
        files = dict(pair for loops in found.values() for loop in loops for pair in bitcode(loop))
        about = {"llvm": llvm.llvm_version_info, "sources": {name: source(name) for name in found}}
    with ZipFile(path, "w", ZIP_DEFLATED) as file:
        for name, content in {
            ABOUT: json.dumps(about, indent=1),
            **{f"{name}.bc": code for name, code in files.items()},
        }.items():
            file.writestr(ZipInfo(name), content, ZIP_DEFLATED)


if __name__ == "__main__":
    write()
