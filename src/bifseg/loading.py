"""Loading modules by the thousand, torch's among them, without looking for garbage in between.

Python looks for garbage whenever enough objects have come into being. While modules are loaded there is none, and every
look takes longer than the one before: a sixth of the time that torch takes to load.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def loading(keep: bool = False) -> Iterator[None]:
    """Load modules within this.

    ``keep``: in a process that is ours, all that there is after it counts as there for good, and is not looked at
    again.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if looked:
            gc.enable()


@cache
def version(package: str) -> str:
    """Of an installed package: looked up once, which takes milliseconds."""
    from importlib import metadata

    return metadata.version(package)
