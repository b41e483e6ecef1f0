"""Worker processes on this machine, or on the Ray or Dask cluster one is connected to: one code path for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import joblib

from bifseg.errors import InvalidInput, MissingExtra

BACKENDS = ("loky", "ray", "dask")


def check_backend(backend: str, workers: int) -> None:
    """Raises InvalidInput for what is not possible; ImportError, saying what to install, for what is not there."""
    if workers < 1 and workers != -1:
        raise InvalidInput(f"workers is {workers}; give 1 or more, or -1 for one per core.")
    if backend not in BACKENDS:
        raise InvalidInput(f"Unknown backend {backend!r}; known are {', '.join(BACKENDS)}.")
    try:
        for module in {"ray": ["ray.util.joblib"], "dask": ["dask.distributed"]}.get(backend, []):
            import_module(module)
    except ImportError:
        raise MissingExtra(
            f"The backend {backend} is not installed; it comes with: pip install 'bifseg[cluster]'."
        ) from None


@contextmanager
def pool(backend: str, workers: int, **options: object) -> Iterator[joblib.Parallel]:
    """Worker processes that stay until the end, and with them what they keep; ``options`` go to `joblib.Parallel`."""
    with ExitStack() as stack:
        if backend == "ray":
            from ray.util.joblib import register_ray

            register_ray()
        elif backend == "dask":
            from dask.distributed import Client

            try:
                Client.current()
            except ValueError:  # there is none: start one on this machine
                count = joblib.cpu_count() if workers == -1 else workers
                stack.enter_context(Client(n_workers=count, threads_per_worker=1, dashboard_address=None))
        with joblib.parallel_config(backend, n_jobs=workers, max_nbytes=None):  # unlike Parallel, it knows dask
            parallel = joblib.Parallel(**options)
        yield stack.enter_context(parallel)


def streamed(work: Callable[..., Any], calls: Sequence[tuple], workers: int, backend: str) -> Iterator[Any]:
    """What ``work`` returns for the arguments of each call, in their order, as soon as it is there.

    Ray's workers get a few calls at a time: joblib cannot stream from them.
    """
    tasks = [joblib.delayed(work)(*call) for call in calls]
    if not tasks:
        return
    if backend != "ray":
        with pool(backend, workers, return_as="generator") as parallel:
            yield from parallel(tasks)
        return
    with pool(backend, workers) as parallel:
        at_once = 4 * max(1, joblib.cpu_count() if workers == -1 else workers)
        for start in range(0, len(tasks), at_once):
            yield from parallel(tasks[start : start + at_once])
