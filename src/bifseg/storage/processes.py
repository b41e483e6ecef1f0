"""Which processes that work on a store are alive: each holds a lock that ends with it, however it ends."""

from __future__ import annotations

import os
import re
import secrets
import threading
from pathlib import Path

from filelock import FileLock, Timeout

NAME = re.compile(r"[0-9a-f-]{1,64}")


class Processes:
    """The processes that work on a store, this one among them; for each a file, and a lock that ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: FileLock | None = None
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()

    def appear(self) -> str:
        """Hold this process's lock from here on: its name."""
        with self._lock:
            if self._own is None:
                self._folder.mkdir(exist_ok=True)
                self._own = self._lock_of(self.name)
                self._own.acquire()
                (self._folder / self.name).touch()  # seen from here on: nobody can take it for a dead one
        return self.name

    def alive(self, name: str) -> bool:
        """Whether a process still runs, as far as one can tell."""
        if not NAME.fullmatch(name):
            return True
        return (self._folder / name).exists() and not self._free(name)

    def sweep(self) -> None:
        """Delete the files of processes that are no more."""
        for path in self._folder.glob("*"):
            if NAME.fullmatch(path.name) and not self.alive(path.name):
                path.unlink(missing_ok=True)
                self._locked(path.name).unlink(missing_ok=True)

    def close(self) -> None:
        if self._own is not None:
            (self._folder / self.name).unlink(missing_ok=True)
            self._own.release(force=True)
            self._locked(self.name).unlink(missing_ok=True)
            self._own = None

    def _locked(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _lock_of(self, name: str) -> FileLock:
        return FileLock(self._locked(name), thread_local=False)

    def _free(self, name: str) -> bool:
        """Whether nobody holds a process's lock; it is taken for a moment to see."""
        try:
            with self._lock_of(name).acquire(blocking=False):
                return True
        except Timeout:
            return False
