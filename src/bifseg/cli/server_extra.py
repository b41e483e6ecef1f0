"""What the commands say that need the server's packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bifseg.errors import InvalidInput


@contextmanager
def needing_server() -> Iterator[None]:
    """Import what serves inside: InvalidInput where one of its packages is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bifseg"):
            raise
        raise InvalidInput(
            f'A server needs {error.name}, which is not installed: pip install "bifseg[server]"'
        ) from None
