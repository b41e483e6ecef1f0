"""Other programs that use the cores: two processes that multiply matrices when they are told to.

Run as a script it is one of them: it works while the last line on its standard input is "work", and ends with it.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

COUNT = 2
SETTLING = 0.1  # seconds until they are at work


class Busy:
    """Processes that are at work within `working`, and wait else; they end with this process."""

    def __init__(self, count: int = COUNT) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            for _ in range(count)
        ]
        for process in self._processes:
            process.stdout.readline()  # it is ready

    @contextmanager
    def working(self) -> Iterator[None]:
        self._say(b"work\n")
        time.sleep(SETTLING)
        try:
            yield
        finally:
            self._say(b"wait\n")

    def close(self) -> None:
        for process in self._processes:
            process.communicate()

    def _say(self, word: bytes) -> None:
        for process in self._processes:
            process.stdin.write(word)
            process.stdin.flush()


@lru_cache
def busy() -> Busy:
    """The two that a whole run shares; they are closed with it."""
    shared = Busy()
    atexit.register(shared.close)
    return shared


def cases(box: Sequence[tuple[int, int]], networks: dict, seeds: int, grids: dict) -> list:
    """Every box on a free machine and beside two busy processes, taken in turn."""
    from benchmarks.speed import ours
    from benchmarks.speed.timing import Case, Seconds

    made = []
    for dimension, side in box:
        for beside in (0, COUNT):
            free = ours.case("loaded", dimension, side, networks[dimension][0], "fast", seeds, grids.get(dimension))

            def run(repetition: int, free: Case = free, beside: int = beside) -> Seconds:
                if not beside:
                    return free.run(repetition)
                with busy().working():
                    return free.run(repetition)

            made.append(Case("loaded", {**free.facts, "beside": beside}, run))
    return made


def _main() -> None:
    import numpy as np

    a, at_work = np.ones((512, 512), np.float32), threading.Event()

    def hear() -> None:
        for line in sys.stdin:
            (at_work.set if line.strip() == "work" else at_work.clear)()
        os._exit(0)

    threading.Thread(target=hear, daemon=True).start()
    print("ready", flush=True)
    while True:
        at_work.wait()
        _ = a @ a


if __name__ == "__main__":
    _main()
