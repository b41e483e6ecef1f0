"""A batch of many rows: ``python -m benchmarks.speed.batch``.

Half of the rows are synthetic, half are objects of the development fold (as far as there are). The batch is run
undisturbed, then killed with a third of its rows done and begun again, which must give the same files; and a few of its
rows are segmented by a command each. Printed: rows a minute and core of both.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.models.objects import targets
from benchmarks.speed.machine import about
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.training.synthetic.phantom import phantom

BIFSEG = [sys.executable, "-m", "bifseg"]


def rows_in(folder: Path, count: int) -> list[dict[str, str]]:
    """Scans are written to the folder; the real ones cost nothing but their slice or volume."""
    rows = []
    for k in range(count):
        real = next(found, None) if k % 2 else None
        if real is None:
            image, _ = phantom(seed=k, shape=(96, 96, 24))
            box = "16:80,16:80,12" if k % 4 else "16:80,16:80,4:20"
        else:
            image, box = real.image, str(real.box)
        path = folder / f"scan{k}.nii.gz"
        write_image(path, image.array, Image(image.array, image.spacing))
        rows.append({"image": path.name, "box": box})
    return rows


def batch(folder: Path, output: Path, kill_after: int = 0) -> float:
    start = time.perf_counter()
    process = subprocess.Popen(
        [*BIFSEG, "batch", str(folder / "table.csv"), "-o", str(output)], stdout=subprocess.DEVNULL
    )
    while kill_after and process.poll() is None and len(list(output.glob("rows/*.json"))) < kill_after:
        time.sleep(0.05)
    if kill_after:
        process.kill()
    process.wait()
    return time.perf_counter() - start


def content(folder: Path) -> dict[str, object]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    return {
        name: {**json.loads(data), "seconds": 0} if name.startswith("rows/") else data
        for name, data in files.items()
        if name != ".lock"
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--single", type=int, default=8, help="rows that are segmented by a command each")
    given = parser.parse_args()
    found = targets(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = rows_in(folder, given.rows)
        with (folder / "table.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        seconds = batch(folder, folder / "whole")
        batch(folder, folder / "killed", kill_after=given.rows // 3)
        batch(folder, folder / "killed")
        whole, killed = content(folder / "whole"), content(folder / "killed")
        differ = sorted(name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name))
        start, some = time.perf_counter(), np.linspace(0, given.rows - 1, given.single).astype(int)
        for k in some:
            options = ["--box", rows[k]["box"], "-o", str(folder / "mask.nii.gz")]
            subprocess.run(
                [*BIFSEG, "segment", str(folder / rows[k]["image"]), *options], check=True, stdout=subprocess.DEVNULL
            )
        single = (time.perf_counter() - start) / given.single
    print(f"{given.rows} rows in {seconds:.1f} s: {60 * given.rows / seconds:.0f} rows a minute and core")
    print(f"a command each, {given.single} rows: {60 / single:.0f} rows a minute")
    print(f"killed and begun again, of {len(whole)} files these differ: {', '.join(differ) or 'none'}")
    print(json.dumps(about(1)))
