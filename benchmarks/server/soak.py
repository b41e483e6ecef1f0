"""What a server does under load, and what it loses when it is killed: numbers for docs/server.md.

    python -m benchmarks.server.soak load --seconds 600 -o docs/results/server-load.json
    python -m benchmarks.server.soak kill --kills 100 -o docs/results/server-kill.json

Both start ``bifseg serve`` as a user would, and speak to it over HTTP from eight threads, one user each. ``load`` gives
the time of every kind of call, beside the same calls in process, and the memory of all the server's processes.
``kill`` sends SIGKILL to the whole server at random moments and starts it again; then it checks that every interaction
that was acknowledged is there, and that every mask equals, bit for bit, that of a session that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path

import httpx
import numpy as np

from bifseg.io.atomic import write_json
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.training.synthetic.phantom import phantom

CLIENTS = 8
API = "/api/v1"
BOXES = ("30:90,30:90,20:40", "20:80,40:100,30", "14:80,62:120,24:44", "60:110,20:70,28")  # volumes and planes


class Server:
    """``bifseg serve`` in a process group of its own."""

    def __init__(self, folder: Path, workers: int, threads: int) -> None:
        self.folder, self.workers, self.threads = folder, workers, threads
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url, self.process = f"http://127.0.0.1:{self.port}", None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("bifseg")), "serve", "--data", str(self.folder)]
        command += ["--port", str(self.port)]
        command += ["--workers", str(self.workers), "--threads", str(self.threads)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError("The server did not start.")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def memory(self) -> float:
        """MiB that the server's processes hold alone, or share among themselves only once counted."""
        total = 0
        for pid in _tree(self.process.pid):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total / 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            found += _tree(int(child))
    return found


def plan(seed: int, steps: int) -> list[dict]:
    """What one user does: the same for the same seed. Boxes, strokes, wrong turns taken back, other objects."""
    rng, done, position = random.Random(seed), [], 0  # the first object is never undone: what would follow needs it
    box = BOXES[seed % len(BOXES)]
    for k in range(steps):
        ranges = [[int(n) for n in part.split(":")] for part in box.split(",")]
        ranges = [r if len(r) == 2 else [r[0], r[0] + 1] for r in ranges]
        kind = "box" if k == 0 else rng.choice(["scribble"] * 5 + ["undo"] * (position > 1) + ["redo", "refine"])
        position += -1 if kind == "undo" else kind != "redo"
        if kind == "box":
            done.append({"kind": "box", "box": box})
        elif kind == "scribble":
            start = [rng.randrange(a + (b - a) // 8, b - (b - a) // 8) if b - a > 1 else a for a, b in ranges]
            points = [
                [min(b - 2, max(a + 1, s + rng.randrange(-6, 7))) for s, (a, b) in zip(start, ranges, strict=True)]
            ]
            points[0] = [a if b - a == 1 else p for p, (a, b) in zip(points[0], ranges, strict=True)]
            points.append([p if b - a == 1 else s for p, s, (a, b) in zip(points[0], start, ranges, strict=True)])
            stroke = {"points": points, "label": rng.choice([1, 2]), "radius": 1.0}
            done.append({"kind": "scribble", "scribbles": {"strokes": [stroke]}})
        else:
            done.append({"kind": kind})
    return done


class User(threading.Thread):
    """One client: works through plans, each in a session of its own, and notes what was acknowledged."""

    def __init__(self, server: Server, key: str, token: str, number: int, stop: threading.Event, steps: int) -> None:
        super().__init__(daemon=True)
        self.server, self.key, self.number, self.stopped, self.steps = server, key, number, stop, steps
        self.http = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=120,
            limits=httpx.Limits(max_keepalive_connections=0),
        )  # fmt: skip
        self.times: dict[str, list[float]] = defaultdict(list)
        self.sessions: list[tuple[str, int, int]] = []  # id, seed, interactions that were acknowledged
        self.errors: list[str] = []
        self.retries = self.crossed = 0

    def run(self) -> None:
        round_ = 0
        while not self.stopped.is_set():
            self._session(1000 * self.number + round_)
            round_ += 1

    def _session(self, seed: int) -> None:
        made = self._call("POST", "create", f"{API}/sessions", json={"image": self.key, "title": f"{seed}"})
        if made is None:
            return
        id = made.json()["id"]
        acknowledged, self.sessions = 0, [*self.sessions, (id, seed, 0)]
        for step, interaction in enumerate(plan(seed, self.steps)):
            body = {name: value for name, value in interaction.items() if name != "kind"}
            reply = self._call(
                "POST", interaction["kind"], f"{API}/sessions/{id}/{interaction['kind']}",
                headers={"Idempotency-Key": f"{seed}-{step}"}, json=body or None,
            )  # fmt: skip
            if reply is None:
                return
            acknowledged = step + 1
            self.sessions[-1] = id, seed, acknowledged
            if reply.json()["objects"] and step % 3 == 2:
                shown = self._call("GET", "mask", f"{API}/sessions/{id}/mask")
                if shown is not None and shown.status_code == 200:
                    self.crossed += int(shown.headers["X-Number"]) != reply.json()["number"]

    def _call(self, method: str, what: str, path: str, **options: object) -> httpx.Response | None:
        """A reply; the same is asked again while the server is away. None for a refusal, or when told to stop."""
        while True:
            start = time.perf_counter()
            try:
                reply = self.http.request(method, path, **options)
            except httpx.HTTPError:
                reply = None
            if reply is not None and reply.status_code not in (409, 429, 502, 503):
                if reply.status_code >= 400:
                    self.errors.append(f"{what}: {reply.status_code} {reply.text[:200]}")
                    return None
                self.times[what].append(time.perf_counter() - start)
                return reply
            if self.stopped.is_set():
                return None
            self.retries += 1
            time.sleep(0.05)


def users_of(server: Server, stop: threading.Event, steps: int) -> list[User]:
    """Eight users, each with a token and the same scan."""
    image, _ = phantom(11)
    store = Store(server.folder)
    tokens = [Tokens(store).create(f"user{k}") for k in range(CLIENTS)]
    keys = [store.add_image(image, f"user{k}") for k in range(CLIENTS)]
    store.close()
    return [User(server, keys[k], tokens[k], k, stop, steps) for k in range(CLIENTS)]


def undisturbed(folder: Path, seeds: set[tuple[int, int]], steps: int, threads: int) -> dict[int, tuple[list, list]]:
    """Of each plan's steps those that change something, and a checksum of the labels after every one: by sessions in
    this process that nobody disturbs."""
    import torch

    torch.set_num_threads(threads)
    image, _ = phantom(11)
    store = Store(folder)
    key, told = store.add_image(image, "reference"), {}
    for seed, count in sorted(seeds):
        session, done, sums = DurableSession(store, store.create(key, "reference")), [], []
        for step, interaction in enumerate(plan(seed, steps)[:count]):
            for _ in session.apply(interaction, str(step)):
                pass
            sums.append(zlib.crc32(store.state(session.id).labels(image.shape).tobytes()))
        done += [int(entry.key) for entry in store.entries(session.id)]
        told[seed] = done, sums
    store.close()
    return told


def load(options: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        server, stop = Server(Path(folder) / "store", options.workers, options.threads), threading.Event()
        users = users_of(server, stop, options.steps)
        server.start()
        start, memory = time.monotonic(), []
        for user in users:
            user.start()
        while (passed := time.monotonic() - start) < options.seconds:
            time.sleep(min(10, max(0.1, options.seconds - passed)))
            memory.append([round(time.monotonic() - start), round(server.memory(), 1)])
        health = [_timed(lambda: httpx.get(f"{server.url}/healthz")) for _ in range(50)]
        stop.set()
        for user in users:
            user.join()
        server.stop()
        alone = in_process(Path(folder) / "alone", options.steps, options.threads // options.workers)
    times = defaultdict(list)
    for user in users:
        for what, seconds in user.times.items():
            times[what] += seconds
    return {
        "calls": {what: _spread(seconds) for what, seconds in sorted(times.items())} | {"healthz": _spread(health)},
        "in_process": {what: _spread(seconds) for what, seconds in sorted(alone.items())},
        "errors": [error for user in users for error in user.errors], "crossed": sum(user.crossed for user in users),
        "retries": sum(user.retries for user in users), "memory_mib": memory,
        "interactions": sum(count for user in users for *_, count in user.sessions),
    }  # fmt: skip


def in_process(folder: Path, steps: int, threads: int) -> dict[str, list[float]]:
    """The same interactions on durable sessions in this process, one after the other."""
    import torch

    torch.set_num_threads(max(1, threads))
    image, _ = phantom(11)
    store, times = Store(folder), defaultdict(list)
    key = store.add_image(image, "alone")
    for seed in range(2 * CLIENTS):
        session = DurableSession(store, store.create(key, "alone"))
        for interaction in plan(1000 * (seed % CLIENTS) + seed // CLIENTS, steps):
            times[interaction["kind"]].append(_timed(lambda i=interaction, s=session: list(s.apply(i))))
    store.close()
    return times


def kill(options: argparse.Namespace) -> dict:
    rng, kills = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as folder:
        server, stop = Server(Path(folder) / "store", options.workers, options.threads), threading.Event()
        users = users_of(server, stop, options.steps)
        server.start()
        for user in users:
            user.start()
        for _ in range(options.kills):
            time.sleep(rng.uniform(0.2, 2.0))
            server.kill()
            kills.append(sum(count for user in users for *_, count in user.sessions))
            server.start()
        stop.set()
        for user in users:
            user.join()
        server.stop()
        problems, compared = check(users, Path(folder), options)
    return {
        "kills": len(kills), "sessions": sum(len(user.sessions) for user in users),
        "acknowledged": sum(count for user in users for *_, count in user.sessions), "masks_compared": compared,
        "retries": sum(user.retries for user in users), "problems": problems,
        "errors": [error for user in users for error in user.errors],
    }  # fmt: skip


def check(users: list[User], folder: Path, options: argparse.Namespace) -> tuple[list[str], int]:
    """What was lost or came out otherwise, and how many masks were compared."""
    store, problems, compared = Store(folder / "store"), [], 0
    done = {}
    for user in users:
        for id, seed, acknowledged in user.sessions:
            entries = store.entries(id)
            keys = [int(entry.key.split("-")[1]) for entry in entries]
            reached = max(keys[-1] + 1 if keys else 0, acknowledged)
            done[seed] = id, reached, keys
    threads = options.threads // options.workers
    wanted = undisturbed(
        folder / "alone", {(seed, reached) for seed, (_, reached, _) in done.items()}, options.steps, threads
    )
    shape = phantom(11)[0].shape
    for seed, (id, reached, keys) in done.items():
        if not reached:
            continue
        if keys != wanted[seed][0]:
            problems.append(f"session {seed}: its steps {keys} are not those of an undisturbed one, {wanted[seed][0]}")
        found = zlib.crc32(store.state(id).labels(shape).tobytes())
        compared += 1
        if found != wanted[seed][1][reached - 1]:
            problems.append(f"session {seed}: its masks after step {reached} are not those of an undisturbed session")
    store.close()
    return problems, compared


def _timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _spread(seconds: list[float]) -> dict:
    p50, p95 = np.percentile(seconds, (50, 95))
    return {"n": len(seconds), "p50": round(float(p50), 4), "p95": round(float(p95), 4), "max": round(max(seconds), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("mode", choices=("load", "kill"))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--steps", type=int, default=12, help="interactions of a session")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of all workers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    told = {"load": load, "kill": kill}[options.mode](options)
    about = {
        "mode": options.mode, "date": datetime.now(timezone.utc).date().isoformat(), "clients": CLIENTS,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores", "python": platform.python_version(),
        "workers": options.workers, "threads": options.threads, "steps": options.steps,
    }  # fmt: skip
    told = about | told
    print(json.dumps(told, indent=2))
    if options.output:
        write_json(options.output, told)


if __name__ == "__main__":
    main()
