"""What one greedy user costs the others: numbers for docs/server.md.

    python -m benchmarks.server.fairness --seconds 30 -o docs/results/server-fairness.json

Four users draw, see their masks and undo, with a pause between; then they do the same beside a fifth, in a process of
its own, who from many connections downloads, exports, uploads, posts zips and long JSON, and draws long strokes, each
again as soon as it is answered or refused. Reported is the 95th percentile of each call alone and beside, and what the
greedy one got.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import tempfile
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path

import httpx

from benchmarks.server.errands import voxels
from benchmarks.server.soak import API, Server, _spread, _timed
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.io.atomic import write_json
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

USERS = 4
BOX = "30:90,30:90,20:40"
JSON = {"Content-Type": "application/json"}
CALLS = ("scribble", "mask", "undo")


def scribble(k: int) -> dict:
    """A stroke in the box, other for each k."""
    points = [[45 + k % 20, 50 + k % 7, 30], [60 + k % 15, 60 - k % 5, 30]]
    return {"scribbles": {"strokes": [{"points": points, "label": 1 + k % 2, "radius": 1}]}}


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=120)


def session_of(http: httpx.Client, image: str) -> str:
    """A session with an object: its id."""
    id = http.post(f"{API}/sessions", json={"image": image}).raise_for_status().json()["id"]
    http.post(f"{API}/sessions/{id}/box", json={"box": BOX}).raise_for_status()
    return id


def draw(url: str, token: str, image: str, seconds: float, pause: float, times: dict[str, list[float]]) -> None:
    """One of the others, for so long; ``times`` gets the seconds of each call."""
    with client(url, token) as http:
        place, k = f"{API}/sessions/{session_of(http, image)}", 0
        until = time.monotonic() + seconds
        calls = {
            "scribble": lambda: http.post(f"{place}/scribble", json=scribble(k)).raise_for_status(),
            "mask": lambda: http.get(f"{place}/mask").raise_for_status(),
            "undo": lambda: http.post(f"{place}/undo").raise_for_status(),
        }
        while time.monotonic() < until:
            for call in CALLS:
                times[call].append(_timed(calls[call]))
                time.sleep(pause)
            k += 1


def greedy(url: str, token: str, image: str, seconds: float, told, kinds: list[str]) -> None:
    """The fifth: all of it at once, from three connections for each kind; ``told`` gets what it was answered."""
    with client(url, token) as http:
        id = session_of(http, image)
        archive = http.get(f"{API}/sessions/{id}/export").content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scan.nii.gz"
        images.write_image(path, voxels(0), Image(voxels(0)))
        upload = path.read_bytes()
    points = [[35 + k % 50, 35 + k // 50 % 50, 30] for k in range(5000)]
    stroke = {"scribbles": {"strokes": [{"points": points, "label": 2, "radius": 10}]}}
    one = b'{"points":[' + b",".join([b"[1,2,3]"] * 10) + b"]}"
    wide = b'{"scribbles": {"strokes": [' + b",".join([one] * 10_000) + b"]}}"  # as much as is taken
    work = {
        "download": lambda http: http.get(f"{API}/images/{image}/voxels", params={"format": "nii.gz"}),
        "labels": lambda http: http.get(f"{API}/sessions/{id}/labels", params={"format": "nii.gz"}),
        "export": lambda http: http.get(f"{API}/sessions/{id}/export"),
        "upload": lambda http: http.post(f"{API}/images?name=scan.nii.gz", content=upload),
        "zip": lambda http: http.post(f"{API}/sessions/import", content=archive),
        "stroke": lambda http: http.post(f"{API}/sessions/{id}/scribble", json=stroke),
        "json": lambda http: http.post(f"{API}/sessions/{id}/scribble", content=wide, headers=JSON),
        "mask": lambda http: http.get(f"{API}/sessions/{id}/mask"),
    }
    answers, until = Counter(), time.monotonic() + seconds

    def again(kind: str) -> None:
        with client(url, token) as http:
            while time.monotonic() < until:
                try:
                    answers[f"{kind} {work[kind](http).status_code}"] += 1
                except httpx.HTTPError as error:
                    answers[f"{kind} {type(error).__name__}"] += 1

    threads = [threading.Thread(target=again, args=(kind,), daemon=True) for kind in kinds or work for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, until - time.monotonic()) + 10)
    told.put(dict(sorted(answers.items())))


def measured(server: Server, tokens: list[str], keys: list[str], options: argparse.Namespace, beside: bool) -> dict:
    """The others' times, alone or beside the greedy one."""
    context, answers = multiprocessing.get_context("spawn"), None
    told = context.Queue()
    if beside:
        process = context.Process(
            target=greedy, args=(server.url, tokens[-1], keys[-1], options.seconds + 10, told, options.kinds)
        )
        process.start()
        time.sleep(5)  # it needs a moment to begin
    times = [defaultdict(list) for _ in range(USERS)]
    threads = [
        threading.Thread(target=draw, args=(server.url, tokens[k], keys[k], options.seconds, options.pause, times[k]))
        for k in range(USERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if beside:
        answers = told.get(timeout=60)
        process.join(10)
    calls = {call: _spread([second for own in times for second in own[call]]) for call in CALLS}
    return {"calls": calls} | ({} if answers is None else {"greedy": answers})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30, help="alone, and again beside")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds that the others think before each call")
    parser.add_argument("--kinds", nargs="+", default=[], help="what the greedy one does, else all of it")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of all workers together")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, (image, _) = Server(Path(folder) / "store", options.workers, options.threads), phantom(11)
        store = Store(server.folder)
        tokens = [Tokens(store).create(f"user{k}") for k in range(USERS + 1)]
        keys = [store.add_image(image, f"user{k}") for k in range(USERS + 1)]
        store.close()
        server.start()
        try:
            alone = measured(server, tokens, keys, options, beside=False)
            beside = measured(server, tokens, keys, options, beside=True)
        finally:
            server.stop()
    ratio = {call: round(beside["calls"][call]["p95"] / alone["calls"][call]["p95"], 2) for call in CALLS}
    told = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(n, 2) for n in os.getloadavg()], "users": USERS, "seconds": options.seconds,
        "pause": options.pause, "workers": options.workers, "threads": options.threads,
        "p95_beside_over_alone": ratio, "alone": alone, "beside": beside,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if options.output:
        write_json(options.output, told)


if __name__ == "__main__":
    main()
