"""Where a system has nothing that only POSIX has, as Windows, everything is imported and computes all the same."""

import os
import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent / "support" / "without_posix"

IMPORTS = """
import importlib, pkgutil, sys
assert sys.modules["fcntl"] is None
import bifseg
names = [found.name for found in pkgutil.walk_packages(bifseg.__path__, "bifseg.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""

WORK = """
import asyncio, sys
from pathlib import Path
from bifseg.evaluation.results import Results
from bifseg.server.workers.pool import Pool
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

folder = Path(sys.argv[1])
scan, _ = phantom(shape=(32, 32, 16))
store, other = Store(folder / "store"), Store(folder / "store")
key = store.add_image(scan, "ann", None)
session = store.create(key, "ann")
name = store.processes.appear()
assert other.processes.alive(name)
store.close()
assert not other.processes.alive(name)
other.close()
with Results(folder / "results.jsonl") as results:
    results.append([])


async def said():
    pool = Pool("pool_factory:handler", {})
    await pool.start()
    try:
        return await pool.run("ann", "s", {"do": "echo", "say": "hello"})
    finally:
        await pool.close()

print(asyncio.run(said())["said"])
"""


def run(program: str, *arguments: str) -> str:
    paths = [str(SUPPORT), str(SUPPORT.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_module_is_imported_without_what_only_posix_has():
    assert int(run(IMPORTS)) > 150


def test_stores_results_and_workers_work_without_what_only_posix_has(tmp_path):
    assert run(WORK, str(tmp_path)).splitlines()[-1] == "hello"
