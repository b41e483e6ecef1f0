"""What a reader's afternoon with one large CT needs in memory: ``python -m benchmarks.server.laptop`` (some minutes).

A scan of 512 x 512 x 700 voxels is uploaded to ``bifseg serve`` with one worker, three objects are segmented in 3D and
corrected, then everything is undone and done again, 50 steps. Told is the most that all of the server's processes held
at any moment, of what they do not share with files (proportional set size, anonymous and shared memory).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.server.errands import API
from benchmarks.server.process import Server
from bifseg.imaging.image import Image
from bifseg.io.atomic import write_json
from bifseg.io.images import write_image

SHAPE = (512, 512, 700)
MOST = 2.5  # GiB, for a laptop of 8 with a browser open
UNDONE = 50


def scan(shape: tuple[int, int, int] = SHAPE) -> tuple[Image, list[tuple[int, int, int]]]:
    """A body with three balls in it, int16 with noise, and the balls' centres."""
    rng = np.random.default_rng(0)
    array = np.empty(shape, np.int16, order="F")
    x, y = np.ogrid[: shape[0], : shape[1]]
    body = ((x / shape[0] - 0.5) ** 2 + (y / shape[1] - 0.5) ** 2 < 0.2).astype(np.int16) * 1000
    centres = [tuple(int(n * share) for n in shape) for share in (0.4, 0.5, 0.6)]
    radius = min(shape) // 12
    for z in range(shape[2]):
        plane = body + rng.integers(-60, 60, shape[:2], dtype=np.int16)
        for a, b, c in centres:
            plane[(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < radius**2] += 300
        array[:, :, z] = plane - 1000
    return Image(array, spacing=(0.8, 0.8, 1.0)), centres


class Watched(threading.Thread):
    """The most MiB that a server held so far, looked at ten times a second."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server, self.peak, self.ended = server, 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.peak = max(self.peak, self.server.memory())

    def so_far(self) -> float:
        self.peak = max(self.peak, self.server.memory())
        return round(self.peak)


def afternoon(url: str, path: Path, centres: list[tuple[int, int, int]], reach: int, watched: Watched) -> list[dict]:
    """Everything that the reader does: for each step the seconds and the peak in MiB until then."""
    told = []
    with httpx.Client(base_url=url + API, timeout=600) as http:

        def step(what: str, *request: str, **options: object) -> dict:
            begun = time.perf_counter()
            answer = http.request(*request, **options).raise_for_status()
            told.append({"step": what, "seconds": round(time.perf_counter() - begun, 3), "peak_mib": watched.so_far()})
            return answer.json()

        with path.open("rb") as file:
            image = step("upload", "POST", "/images", params={"name": path.name}, content=file)
        id = step("session", "POST", "/sessions", json={"image": image.get("key") or image["id"]})["id"]
        at, done = f"/sessions/{id}", 0
        for centre in centres:
            box = ",".join(f"{c - reach}:{c + reach}" for c in centre)
            step("box", "POST", f"{at}/box", json={"box": box})
            for label, away in ((1, 0), (2, reach - 2)):
                points = [[centre[0] - away, *centre[1:]], [centre[0] - away, centre[1] + 3, centre[2]]]
                stroke = {"points": points, "label": label, "radius": 1}
                step("scribble", "POST", f"{at}/scribble", json={"scribbles": {"strokes": [stroke]}})
            done += 3
        for k in range(UNDONE):
            step("undo" if k // done % 2 == 0 else "redo", "POST", f"{at}/{'undo' if k // done % 2 == 0 else 'redo'}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar="N")
    parser.add_argument("-o", "--output", type=Path, help="JSON file for all that was measured")
    options = parser.parse_args()
    shape = tuple(options.shape)
    with tempfile.TemporaryDirectory() as folder:
        image, centres = scan(shape)
        path = Path(folder) / "ct.nii"
        write_image(path, image.array, image)
        del image
        server = Server(Path(folder) / "sessions", workers=1, threads=2)
        server.start()
        watched = Watched(server)
        watched.start()
        try:
            told = afternoon(server.url, path, centres, min(shape) // 10, watched)
        finally:
            watched.ended.set()
            watched.join()
            server.stop()
    peak = watched.peak / 1024
    for what in dict.fromkeys(one["step"] for one in told):
        same = [one for one in told if one["step"] == what]
        middle = float(np.median([one["seconds"] for one in same]))
        print(f"{what:<9} n = {len(same):<3} median {middle:7.3f} s   peak until then {same[-1]['peak_mib']:6.0f} MiB")
    print(f"peak {peak:.2f} GiB, at most {MOST}: {'kept' if peak <= MOST else 'BEYOND'}")
    if options.output:
        about = {"shape": shape, "cores": os.cpu_count(), "machine": platform.machine(), "steps": told}
        write_json(options.output, {"peak_gib": round(peak, 3), "at_most_gib": MOST, **about})


if __name__ == "__main__":
    main()
