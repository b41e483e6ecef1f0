"""Sessions that outlive their process: images, interactions and what came of them, in one folder. No torch here."""

from bifseg.store.errors import BusyError, FullError, KeyUsedError, UnknownError
from bifseg.store.store import Store

__all__ = ["BusyError", "FullError", "KeyUsedError", "Store", "UnknownError"]
