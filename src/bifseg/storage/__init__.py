"""Sessions that outlive their process: images, interactions and what came of them, in one folder. No torch here."""

from bifseg.storage.store import Store

__all__ = ["Store"]
