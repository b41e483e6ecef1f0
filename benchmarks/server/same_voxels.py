"""Damaged files of every format that are taken all the same: their voxels must not depend on what lay in memory.

    python -m benchmarks.server.same_voxels --files 2000 [--seed 0]

The same files, made as for fuzz_files.py, are read by two processes in which glibc's malloc fills what it hands out,
and what it takes back, with bytes of its own (MALLOC_PERTURB_), others in each of the two. Of a reader that returns
memory which it never wrote, the two have different voxels. The exit code is 1 where that is so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

FILLINGS = ("85", "170")  # of which the one has the bits that the other has not
VOXELS, BYTES = 1 << 22, 1 << 25


def make(files: int, seed: int, folder: Path) -> None:
    """The files, each under its number: what DICOM has for a UID is another one each time."""
    from benchmarks.server.damaged_files import made, whole

    seeds = whole()
    names, contents = list(seeds), list(seeds.values())
    for number in range(files):
        name, content = made(names, contents, seed, number)
        (folder / f"{number:06d}-{name}").write_bytes(content)


def digests(folder: Path) -> list[str | None]:
    """What each file holds, None of one that is refused; before them, what lies in memory that nobody wrote."""
    from bifseg.errors import BifsegError
    from bifseg.server.uploads.scan import geometry_of, image_from_upload

    found: list[str | None] = [hashlib.sha256(np.empty(100_000, np.uint8)).hexdigest()]
    for path in sorted(folder.iterdir()):
        try:
            image, headers = image_from_upload(path, VOXELS, BYTES)
        except (BifsegError, MemoryError):
            found.append(None)
        else:
            digest = hashlib.sha256(np.ascontiguousarray(image.voxels).tobytes() + (headers or b""))
            digest.update(json.dumps(geometry_of(image), sort_keys=True).encode())
            found.append(digest.hexdigest())
    return found


def compared(files: int, seed: int) -> dict:
    """How many files there were, how many were taken, and which of them differ."""
    both = []
    with tempfile.TemporaryDirectory() as folder:
        make(files, seed, Path(folder))
        for filling in FILLINGS:
            command = [sys.executable, "-m", "benchmarks.server.same_voxels", "--folder", folder]
            environment = {**os.environ, "MALLOC_PERTURB_": filling}
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
            )
            both.append(json.loads(done.stdout.splitlines()[-1]))
        names = sorted(path.name for path in Path(folder).iterdir())
    (canary, *first), (other, *second) = both
    return {
        "seed": seed, "files": files, "filled": canary != other, "taken": sum(one is not None for one in first),
        "differ": [name for name, one, two in zip(names, first, second, strict=True) if one != two],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="say what each file in it holds")
    options = parser.parse_args()
    if options.folder is not None:
        print(json.dumps(digests(options.folder)))
        return
    found = compared(options.files, options.seed)
    print(json.dumps(found))
    sys.exit(bool(found["differ"]) or not found["filled"])


if __name__ == "__main__":
    main()
