"""What a store can refuse, beside ValueError; each error is one sentence for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

FULL = "The disk of the store is full; delete sessions, or give it more space."


class UnknownError(LookupError):
    """There is nothing of that name for this user."""


class BusyError(RuntimeError):
    """Another process works on the session."""


class KeyUsedError(ValueError):
    """An interaction came with the key of another one."""


class StaleError(RuntimeError):
    """The session is no longer as the request took it to be; ``number``: of its last interaction."""

    def __init__(self, sentence: str, number: int | None = None) -> None:
        super().__init__(sentence)
        self.number = number


class FullError(OSError):
    """The disk, or the share of it that the store may use, is full."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, is the system's word for a full disk."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, FullError) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            return True
        error, seen = error.__cause__ or error.__context__, seen + 1
    return False


@contextmanager
def on_disk() -> Iterator[None]:
    """What writes files: FullError where the disk is full."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise FullError(FULL) from None
        raise
