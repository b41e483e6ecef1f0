"""What a store can refuse, beside ValueError; each error is one sentence for the user."""

from __future__ import annotations


class UnknownError(LookupError):
    """There is nothing of that name for this user."""


class BusyError(RuntimeError):
    """Another process works on the session."""


class KeyUsedError(ValueError):
    """An interaction came with the key of another one."""


class FullError(OSError):
    """The disk, or the share of it that the store may use, is full."""
