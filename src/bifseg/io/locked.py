"""One process at a time, for what several may write to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bifseg.errors import InvalidInput


@contextmanager
def locked(path: Path, sentence: str, seconds: float = 0) -> Iterator[None]:
    """Hold a lock, a file, until the end of the block or of this process, however it ends.

    Its folder is made where there is none. Raises InvalidInput, with this sentence, where another still holds it after
    so many seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise InvalidInput(sentence) from None
    try:
        yield
    finally:
        lock.release()
