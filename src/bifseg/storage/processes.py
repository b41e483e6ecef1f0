"""Which processes that work on a store are alive: each holds a lock that ends with it, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # where there are no such locks, a claim ends when its time does
    fcntl = None  # type: ignore[assignment]  # a module or None is what there is no type for

NAME = re.compile(r"[0-9a-f-]{1,64}")


class Processes:
    """The processes that work on a store, this one among them; a file for each, whose lock the system gives back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: BinaryIO | None = None
        self.name = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()

    def appear(self) -> str:
        """Hold this process's lock from here on: its name."""
        with self._lock:
            if self._own is None:
                self._folder.mkdir(exist_ok=True)
                draft = self._folder / f".{self.name}"  # no name of a process: nobody can take it for a dead one
                self._own = draft.open("xb")
                if fcntl is not None:
                    fcntl.flock(self._own, fcntl.LOCK_EX)
                draft.rename(self._folder / self.name)
        return self.name

    def alive(self, name: str) -> bool:
        """Whether a process still runs, as far as one can tell."""
        if fcntl is None or not NAME.fullmatch(name):
            return True
        try:
            with (self._folder / name).open("rb") as file:
                return not self._free(file)
        except FileNotFoundError:
            return False

    def sweep(self) -> None:
        """Delete the files of processes that are no more."""
        for path in self._folder.glob("*"):
            if not self.alive(path.name):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()
            (self._folder / self.name).unlink(missing_ok=True)
            self._own = None

    @staticmethod
    def _free(file: BinaryIO) -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        return False
