"""What this machine can do at best: matrix products, memory, and the operations that a network asks of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.timing import BF16, FP32, undisturbed
from bifseg.imaging.image import Image
from bifseg.method.crop import Crop
from bifseg.networks import build
from bifseg.networks.checkpoint import Model
from bifseg.prompts.interaction import Box

PACKAGES = ("bifseg", "torch", "numpy", "scipy", "numba")
DTYPES = {FP32: torch.float32, BF16: torch.bfloat16}
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
QUIET = 0.5  # load average above which something else is at work


def about(threads: int) -> dict:
    """Which machine and software, and how busy it is, ready for JSON."""
    cpu, flags = _cpu()
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"), "cpu": cpu, "instructions": [i for i in INSTRUCTIONS if i in flags],
        "cores": os.cpu_count(), "threads": threads, "system": platform.platform(terse=True),
        "python": platform.python_version(), "versions": {name: _version(name) for name in PACKAGES},
        "load_average_at_start": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def matrix_rate(arithmetic: str, sizes: Sequence[int] = (1024, 1536, 2048), best_of: int = 6) -> float:
    """Operations a second of a product of square matrices: the median over sizes of each one's best."""
    found = []
    for n in sizes:
        a, b = (torch.rand(n, n, dtype=DTYPES[arithmetic]) for _ in range(2))
        out = torch.empty(n, n, dtype=DTYPES[arithmetic])
        found.append(2 * n**3 / _best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), best_of))
    return float(np.median(found))


def memory_bandwidth(mebibytes: int = 256, best_of: int = 6) -> float:
    """Bytes a second, read and written, of a copy far larger than any cache."""
    source = torch.ones(mebibytes * 2**18)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(lambda: target.copy_(source), best_of)


@lru_cache
def operations(model: Model, shape: tuple[int, ...]) -> int:
    """Of the trunk on a grid of this shape, as it is written down: a multiply-add counts as two."""
    with torch.device("meta"), torch.inference_mode():
        network = build(model.architecture, **model.settings).eval()
        image = torch.empty(1, 1, *shape)
        with FlopCounterMode(display=False) as counter:
            network.features(image)
    return counter.get_total_flops()


@lru_cache
def arithmetic_of(model: Model) -> str:
    """What the trunk of a model computes in here: bf16 if any of its operations is given such numbers, else fp32."""
    shape = (16, 16, 1) if model.dimension == 2 else (16, 16, 16)
    image = Image(np.random.default_rng(0).random(shape, dtype=np.float32))
    with _Dtypes() as seen:
        Crop(image, Box((0, 0, 0), shape), model)
    return BF16 if torch.bfloat16 in seen.found else FP32


class _Dtypes(TorchDispatchMode):
    """Notes the number types of all tensors that operations are given."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs: Mapping | None = None):
        self.found |= {a.dtype for a in args if isinstance(a, torch.Tensor)}
        return func(*args, **(kwargs or {}))


def _best(call, best_of: int) -> float:
    with undisturbed():
        call()
        spent = []
        for _ in range(best_of):
            begun = time.perf_counter()
            call()
            spent.append(time.perf_counter() - begun)
    return min(spent)


def _cpu() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    return told.get("model name", platform.machine()), set(told.get("flags", told.get("Features", "")).split())


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
