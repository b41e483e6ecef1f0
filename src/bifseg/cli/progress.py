"""How far a command has got, for who watches it in a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
