"""A disk that is full, whoever notices it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from bifseg.errors import StorageFull

FULL = "The disk of the store is full; delete sessions, or give it more space."


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is the system's word for a full disk."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, StorageFull) or (
            isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        ):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


@contextmanager
def on_disk() -> Iterator[None]:
    """What writes files: StorageFull where the disk is full."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(FULL) from None
        raise
