"""Sessions that outlive their process: images, interactions and what came of them, in one folder. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bifseg.storage.store import Store

__all__ = ["Store"]


def __getattr__(name: str) -> object:
    """Load the store when it is first used: a process that only notices a full disk does without, and without NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'bifseg.storage' has no attribute {name!r}")
    from bifseg.storage.store import Store

    return globals().setdefault(name, Store)
