"""The processes or machines that a command's work is spread over."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bifseg.errors import InvalidInput


@contextmanager
def connected(backend: str, workers: int, address: str) -> Iterator[None]:
    """The backend is there and, where an address is given, connected to its cluster."""
    from bifseg.evaluation.pool import check_backend

    try:
        check_backend(backend, workers)
    except ImportError as error:
        raise InvalidInput(str(error)) from None
    if not address:
        yield
        return
    if backend == "loky":
        raise InvalidInput(f"--cluster is {address}, and loky works on this machine only; give --backend ray or dask.")
    try:
        close = _connect(backend, address)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).strip().rstrip(".")
        raise InvalidInput(f"Cannot connect to the {backend} cluster {address}: {reason}.") from None
    try:
        yield
    finally:
        close()


def _connect(backend: str, address: str) -> Callable[[], object]:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():  # where nobody listens, dask tries for half a minute, and ray for minutes
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    if backend == "ray":
        import ray

        ray.init(address=address, logging_level=logging.ERROR)
        return ray.shutdown
    from dask.distributed import Client

    return Client(address).close
