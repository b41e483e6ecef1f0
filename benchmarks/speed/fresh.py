"""What only a fresh process can tell: its peak memory, and the wait for its first mask.

Run as a script it is that process: ``python fresh.py memory|cold SCAN BOX THREADS GRID SINCE``; it prints JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def ask(what: str, scan: Path, box: object, threads: int, grid: int | None, compiled: Path | None = None) -> dict:
    """Start a process and return what it tells. ``compiled``: where it looks for code that numba compiled before."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if compiled is not None:
        environment["NUMBA_CACHE_DIR"] = str(compiled)
    command = [sys.executable, __file__, what, str(scan), str(box), str(threads), str(grid or 0), repr(time.time())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The process for {what} failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout)


def imports(most: int = 12) -> list[dict]:
    """Milliseconds that ``bifseg segment`` waits for packages, by package: itself alone, without what it imports."""
    program = "import bifseg.cli.segment, bifseg.session.session, bifseg.io.images"
    command = [sys.executable, "-X", "importtime", "-c", program]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
    spent: dict[str, float] = {}
    for line in lines:
        own, _, name = line.removeprefix("import time:").split("|") if line.count("|") == 2 else ("", "", "")
        if own.strip().isdecimal():
            package = name.strip().partition(".")[0]
            spent[package] = spent.get(package, 0.0) + int(own) / 1e3
    rows = sorted(spent.items(), key=lambda pair: -pair[1])
    rest = sum(ms for _, ms in rows[most:])
    return [{"package": name, "milliseconds": round(ms, 1)} for name, ms in [*rows[:most], ("others", rest)]]


def cold(scan: str, box: str, grid: int, since: float) -> dict:
    """Seconds from the start of the process until it has imported, read the scan, and made the first mask."""
    import bifseg

    session = bifseg.Session  # loads what it needs, torch among it
    imported = time.time() - since
    session = session(bifseg.read_image(scan), _model(grid, box), "fast")
    opened = time.time() - since
    session.box(bifseg.Box.parse(box))
    return {"imported": imported, "opened": opened, "first mask": time.time() - since}


def memory(scan: str, box: str, grid: int) -> dict:
    """MiB by which the peak of a box and three scribbles exceeds what the process held with the scan opened."""
    import numpy as np

    import bifseg
    from bifseg.evaluation.cost import measured

    session = bifseg.Session(bifseg.read_image(scan), _model(grid, box), "fast")
    where = bifseg.Box.parse(box)
    middle = tuple((a + b - 1) // 2 for a, b in zip(where.start, where.stop, strict=True))

    def interactions() -> None:
        session.box(where)
        for k in range(3):
            edge = np.array(middle)
            edge[k % 2] = where.start[k % 2] + k
            session.scribble([bifseg.Stroke([middle], 1, radius=2), bifseg.Stroke([tuple(edge)], 2)])

    _, seconds, peak = measured(interactions)
    return {"peak_mib": peak, "seconds": seconds}


def _model(grid: int, box: str) -> object:
    """The default network; on another grid where one is asked for."""
    if not grid:
        return "default"
    from dataclasses import replace

    from bifseg import Box, load_model

    return replace(load_model("default", Box.parse(box).dimension), size=grid)


def _main(what: str, scan: str, box: str, threads: str, grid: str, since: str) -> None:
    if what == "memory":
        import torch

        torch.set_num_threads(int(threads))
    told = cold(scan, box, int(grid), float(since)) if what == "cold" else memory(scan, box, int(grid))
    print(json.dumps(told))


if __name__ == "__main__":
    _main(*sys.argv[1:])
