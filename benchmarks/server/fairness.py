"""What one greedy user costs the others: numbers for docs/how-to/serve.md.

    python -m benchmarks.server.fairness -o docs/results/server-fairness.json

Four users draw, see their masks and undo, with a pause between; in turns alone, and beside a fifth, in a process of
its own, who from many connections downloads, exports, uploads, posts zips and long JSON, and draws long strokes, each
again as soon as it is answered or refused. Alone and beside come in pairs, one after the other, so that what else the
machine does is in both. Reported is the 95th percentile of each call alone and beside, and what the greedy one got.
With ``--kinds spin`` it only computes: beside that, calls are slower since two programs share the machine.
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

from benchmarks.server.errands import API, voxels
from benchmarks.server.process import Server, give_way, priority
from benchmarks.server.times import spread, timed
from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.io.atomic import write_json
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

USERS = 4
SETTLING = 4.0  # seconds
PATIENCE = 600  # seconds for the greedy one to begin, and to end
BOX = "30:90,30:90,20:40"
JSON = {"Content-Type": "application/json"}
CALLS = ("scribble", "mask", "undo")
SPIN = "spin"  # what the greedy one does only where it is asked to


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


class Reader(threading.Thread):
    """One of the others: draws, looks and undoes, with a pause before each call, while ``going`` is set."""

    def __init__(self, url: str, token: str, image: str, pause: float, going: threading.Event) -> None:
        super().__init__(daemon=True)
        self.url, self.token, self.image, self.pause, self.going = url, token, image, pause, going
        self.times: dict[str, list[float]] = defaultdict(list)

    def run(self) -> None:
        with client(self.url, self.token) as http:
            place, k = f"{API}/sessions/{session_of(http, self.image)}", 0
            calls = {
                "scribble": lambda: http.post(f"{place}/scribble", json=scribble(k)).raise_for_status(),
                "mask": lambda: http.get(f"{place}/mask").raise_for_status(),
                "undo": lambda: http.post(f"{place}/undo").raise_for_status(),
            }
            while True:
                for call in CALLS:
                    time.sleep(self.pause)
                    self.going.wait()
                    self.times[call].append(timed(calls[call]))
                k += 1


def spin(http: httpx.Client) -> httpx.Response:
    """Compute, and ask the server nothing: what the others' calls cost beside that is not the server's doing."""
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    return httpx.Response(200)


def greedy(url: str, token: str, image: str, kinds: list[str], going, ended, told, own: str) -> None:
    """The fifth: all of it at once, from three connections for each kind, while ``going`` is set; when all has
    ``ended``, ``told`` gets what it was answered."""
    os.setsid()  # as on another machine: it takes no time from the others, only the server's
    give_way(os.getpid(), own)
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
    wide = b'{"scribbles": {"strokes": [' + b",".join([one] * 2_000) + b"]}}"  # as much as is taken
    work = {
        "download": lambda http: http.get(f"{API}/images/{image}/voxels", params={"format": "nii.gz"}),
        "labels": lambda http: http.get(f"{API}/sessions/{id}/labels", params={"format": "nii.gz"}),
        "export": lambda http: http.get(f"{API}/sessions/{id}/export"),
        "upload": lambda http: http.post(f"{API}/images?name=scan.nii.gz", content=upload),
        "zip": lambda http: http.post(f"{API}/sessions/import", content=archive),
        "stroke": lambda http: http.post(f"{API}/sessions/{id}/scribble", json=stroke),
        "json": lambda http: http.post(f"{API}/sessions/{id}/scribble", content=wide, headers=JSON),
        "mask": lambda http: http.get(f"{API}/sessions/{id}/mask"),
        SPIN: spin,
    }
    answers: Counter[str] = Counter()
    start = time.process_time()

    def again(kind: str) -> None:
        with client(url, token) as http:
            while not ended.is_set():
                going.wait()
                try:
                    answers[f"{kind} {work[kind](http).status_code}"] += 1
                except httpx.HTTPError as error:
                    answers[f"{kind} {type(error).__name__}"] += 1

    threads = [
        threading.Thread(target=again, args=(kind,), daemon=True)
        for kind in kinds or work.keys() - {SPIN}
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    told.put("ready")
    ended.wait()
    for thread in threads:
        thread.join(10)
    told.put({"seconds of a core": round(time.process_time() - start, 1), **dict(sorted(answers.items()))})


def measured(server: Server, tokens: list[str], keys: list[str], options: argparse.Namespace) -> dict:
    """The others' times, in turns alone and beside the greedy one."""
    context, going = multiprocessing.get_context("spawn"), threading.Event()
    begun, ended, told = context.Event(), context.Event(), context.Queue()
    fifth = (server.url, tokens[-1], keys[-1], options.kinds, begun, ended, told, priority())
    process = context.Process(target=greedy, args=fifth)
    process.start()
    told.get(timeout=PATIENCE)
    readers = [Reader(server.url, tokens[k], keys[k], options.pause, going) for k in range(USERS)]
    pairs: list[dict[str, dict[str, list[float]]]] = []
    for reader in readers:
        reader.start()
    for _ in range(options.pairs):
        pair = {}
        for beside in (False, True):
            (begun.set if beside else begun.clear)()
            going.set()
            time.sleep(SETTLING)  # it needs a moment to begin, and what it asked for to end
            before = [{call: len(reader.times[call]) for call in CALLS} for reader in readers]
            time.sleep(options.seconds)
            since = zip(readers, before, strict=True)
            got = [{call: reader.times[call][n[call] :] for call in CALLS} for reader, n in since]
            pair["beside" if beside else "alone"] = {call: [s for own in got for s in own[call]] for call in CALLS}
        pairs.append(pair)
    going.clear()
    ended.set()
    answers = told.get(timeout=PATIENCE)
    process.join(10)
    whole = {
        how: {call: [second for pair in pairs for second in pair[how][call]] for call in CALLS}
        for how in ("alone", "beside")
    }
    return {
        "p95_beside_over_alone": {call: _ratio(whole, call) for call in CALLS},
        "of_each_pair": [{call: _ratio(pair, call) for call in CALLS} for pair in pairs],
        **{how: {call: spread(times) for call, times in calls.items()} for how, calls in whole.items()},
        "greedy": answers,
    }


def _ratio(times: dict[str, dict[str, list[float]]], call: str) -> float | None:
    if not (times["beside"][call] and times["alone"][call]):  # no call came to its end in the time
        return None
    return round(spread(times["beside"][call])["p95"] / spread(times["alone"][call])["p95"], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=15, help="alone, and again beside, of each pair")
    parser.add_argument("--pairs", type=int, default=4)
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
            told = measured(server, tokens, keys, options)
        finally:
            server.stop()
    told = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(n, 2) for n in os.getloadavg()], "users": USERS, "seconds": options.seconds,
        "pairs": options.pairs, "pause": options.pause, "workers": options.workers, "threads": options.threads,
        "kinds": options.kinds or "all", **told,
    }  # fmt: skip
    print(json.dumps(told, indent=2))
    if options.output:
        write_json(options.output, told)


if __name__ == "__main__":
    main()
