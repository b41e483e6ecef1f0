"""What the commands share: checks made before anything is computed, data sets to learn from, and progress."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bifseg.errors import InvalidInput

if TYPE_CHECKING:
    from bifseg.io.datasets import Dataset


def check_folder(folder: Path) -> None:
    """Refuse a folder in which, or a path at which, nothing can be made."""
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"Cannot write to {folder}: {nearest} is a file.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"Cannot write to {folder}: the folder {nearest} is not writable.")


def check_model(path: Path) -> None:
    """Refuse a path at which no model can be written, or none may: those that ship stay as they are."""
    from bifseg.networks.checkpoint import SHIPPED

    if path.suffix != ".safetensors":
        raise InvalidInput(f"Cannot write {path}: the suffix of a model must be .safetensors.")
    if path.resolve().parent == SHIPPED.resolve():
        raise InvalidInput(f"Cannot write {path}: the models that ship with bifseg stay as they are.")
    if path.is_dir():
        raise IsADirectoryError(f"Cannot write {path}: it is a folder.")
    check_folder(path.parent)


def names_of(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def region_of(text: str) -> tuple[str, tuple[int, ...]]:
    """A class made of several label values, ``NAME=1,3,4``; InvalidInput for another form."""
    match = re.fullmatch(r"([^=]+)=(\d+(?:,\d+)*)", text)
    if not match:
        raise InvalidInput(f"--region is {text!r}; it must be a name and label values: core=1,3,4.")
    return match[1].strip(), tuple(int(value) for value in match[2].split(","))


def open_datasets(paths: Iterable[Path], channel: int, regions: Iterable[str], names: Iterable[str]) -> list[Dataset]:
    """Data sets with the regions among their classes; InvalidInput for one of ``names`` that none of them has.

    Patients who share a scan are made one, which is said on stderr.
    """
    from dataclasses import replace

    from bifseg.io.datasets import one_patient_per_scan, open_dataset

    made, sets = dict(map(region_of, regions)), []
    for path in paths:
        found, said = one_patient_per_scan(open_dataset(path, channel))
        sets.append(found)
        for sentence in said:
            print("bifseg:", sentence, file=sys.stderr)
    if made:
        sets = [replace(one, labels={**one.labels, **made}) for one in sets]
    for name in names:
        if not any(name in one.labels for one in sets):
            known = dict.fromkeys(label for one in sets for label in one.labels)
            raise InvalidInput(f"No data set has a class {name!r}; there is {', '.join(known) or 'none'}.")
    return sets


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


@contextmanager
def progress(stages: int) -> Iterator[Callable[..., None]]:
    """A function to call as each stage begins: a bar on stderr where that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda text, advance=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=stages, completed=-1)
        yield lambda text, advance=1: bar.update(task, description=text, advance=advance)
