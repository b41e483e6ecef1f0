"""A large CT, from ``bifseg app FOLDER`` to its first slice: ``python -m benchmarks.page.series``, a minute.

A synthetic series of 400 files of 512 x 512 pixels (benchmarks/speed/reading.py), in the disk's cache; a Chromium with
an empty window takes the address as soon as it is printed, with an empty cache. Every run is a new program on a new
data folder. The page has to be built. Prints medians and ranges as JSON, and how busy the machine was.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import Browser

from benchmarks.page.browser import Desk, browsing, serving
from benchmarks.page.opening import FIRST_SLICE, seen
from benchmarks.speed.reading import write_series


def opened(browser: Browser, folder: Path, data: Path) -> dict[str, float]:
    """Seconds until the address is printed, from there until the slice is drawn, and in all."""
    os.sync()  # the series, and what the last run kept
    desk = Desk(browser, "about:blank", before=FIRST_SLICE)
    desk.page.wait_for_timeout(1000)  # a window takes a core while it is built
    began = time.time()  # the browser tells the time of day, too
    with serving(data, folder) as link:
        printed = time.time()
        desk.page.goto(link)
        seen(desk)
        drawn = desk.page.evaluate("(performance.timeOrigin + window.seen) / 1000")
        desk.close()
    return {"address_s": printed - began, "slice_s": drawn - printed, "all_s": drawn - began}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=400)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("-n", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as place, browsing() as browser:
        folder = Path(place, "series")
        write_series(folder, options.slices, options.size)
        rows = [opened(browser, folder, Path(place, f"data{k}")) for k in range(options.n)]
    told = {
        key: {"median": round(float(np.median([row[key] for row in rows])), 2),
              "range": [round(end([row[key] for row in rows]), 2) for end in (min, max)]}
        for key in rows[0]
    }  # fmt: skip
    shape = [options.size, options.size, options.slices]
    print(json.dumps({"shape": shape, "n": options.n, "load": round(load, 1), **told}, indent=2))


if __name__ == "__main__":
    main()
