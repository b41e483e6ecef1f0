"""Whether a worker's memory grows with the sessions it has had: numbers for docs/how-to/serve.md.

    python -m benchmarks.server.worker_memory --sessions 100 -o docs/results/server-worker-memory.json

The handler of a worker does the plans of the stress test, six interactions in each of so many sessions, here. After
each session is noted what the process holds alone, and what of it malloc of glibc has in use and has free; so that a
leak, which grows in use, is told from gaps between what is in use.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.server.users import plan
from bifseg.io.atomic import write_json
from bifseg.server.workers.compute import handler
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

STEPS = 6


class _Mallinfo(ctypes.Structure):
    _fields_ = [  # as ctypes has it
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def held() -> dict[str, int]:
    """MiB: ``anonymous`` of the process; of them ``used`` and ``free`` in malloc's heaps."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    anonymous = sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return {"anonymous": anonymous >> 10, "used": (info.uordblks + info.hblkhd) >> 20, "free": info.fordblks >> 20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        data = str(Path(folder) / "store")
        work = handler({"data": data, "quota": None, "share": None, "models": {}, "threads": 1, "warm": False})
        store, rows = Store(Path(data)), [held()]
        key = store.add_image(phantom(11)[0], "user")
        for seed in range(options.sessions):
            id = store.create(key, "user")
            for step, interaction in enumerate(plan(seed, STEPS)):
                for _ in work({"session": id, "interaction": interaction, "key": str(step)}):
                    pass
            rows.append(held())
            print(seed + 1, rows[-1], flush=True)
        store.close()
    if options.output:
        write_json(options.output, {
            "date": datetime.now(timezone.utc).date().isoformat(), "machine": platform.machine(),
            "interactions": STEPS * options.sessions, "cpu_seconds": round(time.process_time() - begun, 1),
            "mib_after_each_session": rows,
        })  # fmt: skip


if __name__ == "__main__":
    main()
