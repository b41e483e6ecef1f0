"""What a change did to published results: ``python -m benchmarks.published.compare HEAD~1``, a second.

The same objects in the packed rows of a commit and in those that lie in docs/results (rounds and unseen): BIFSeg's Dice
after each step now, minus that of then, in points. Means of structures with their 95 % intervals, as in evidence.md,
and the means of each data set.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np

from benchmarks.published.evidence import FILES, RESULTS
from benchmarks.published.intervals import estimate
from bifseg.evaluation.statistics import Thing
from bifseg.networks.shipped import DEFAULT

Key = tuple[Thing, int]  # an object, and a step


def dice_of(packed: bytes, method: str, dimension: int) -> dict[Key, list[float]]:
    """Of every object that the network has not learnt from, with the default one: its Dice with each seed."""
    found: dict[Key, list[float]] = defaultdict(list)
    for row in map(json.loads, gzip.decompress(packed).splitlines()):
        default = row["network"] in (None, DEFAULT[dimension])
        if (row["method"], row["dimension"], row["seen"]) == (method, dimension, False) and default:
            thing = Thing(row["dataset"], row["patient"], row["case"], row["label"])
            found[thing, row["step"]].append(100 * row["dice"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit", help="whose results are compared with those that lie here")
    parser.add_argument("--method", default="bifseg")
    options = parser.parse_args()
    root = Path(__file__).parents[2]
    for dimension in (2, 3):
        gaps: dict[int, dict[Thing, float]] = defaultdict(dict)
        for name in FILES.values():
            path = (RESULTS / f"{name}.jsonl.gz").relative_to(root)
            show = subprocess.run(
                ["git", "show", f"{options.commit}:{path}"], cwd=root, capture_output=True, check=True
            )
            then = dice_of(show.stdout, options.method, dimension)
            now = dice_of((root / path).read_bytes(), options.method, dimension)
            for thing, step in then.keys() & now.keys():
                gaps[step][thing] = float(np.mean(now[thing, step]) - np.mean(then[thing, step]))
        for step, values in sorted(gaps.items()):
            whole, sets = estimate(values), defaultdict(list)
            for thing, gap in values.items():
                sets[thing.dataset.partition("_")[2]].append(gap)
            each = ", ".join(f"{name} {np.mean(own):+.1f}" for name, own in sorted(sets.items()))
            interval = f"{whole.mean:+.2f} [{whole.low:+.2f}, {whole.high:+.2f}]"
            print(f"{dimension}D, step {step}: {interval} (n = {whole.objects}): {each}")


if __name__ == "__main__":
    main()
