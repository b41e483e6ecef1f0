"""What a server does under load, and what it loses when it is killed: numbers for docs/how-to/serve.md.

    python -m benchmarks.server.soak load --seconds 600 -o docs/results/server-load.json
    python -m benchmarks.server.soak kill --kills 1000 --every 50 --log kills.jsonl -o docs/results/server-kill.json

Both start ``bifseg serve`` as a user would, and speak to it over HTTP from eight threads, one user each. ``load`` gives
the time of every kind of call, beside the same calls in process, and the memory of all the server's processes.
``kill`` sends SIGKILL at random moments to the whole server, which is started again, or to one worker, or to a process
that reads an upload, while the users also upload, import and delete (errands.py). After every ``--every`` kills it
checks that all that was acknowledged is there, that nothing is half there, that every file of the store is what its
name says, and that every mask equals, bit for bit, that of a session that nobody disturbed; then it begins with an
empty store.
"""

from __future__ import annotations

import argparse
import contextlib
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

from benchmarks.server import errands
from bifseg.errors import NotFound
from bifseg.io.atomic import write_json
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.storage.transfer import verify
from bifseg.training.synthetic.phantom import phantom

CLIENTS = 8
STARTING = 900  # seconds; a machine that is busy with other work, at the lowest priority, takes minutes
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
        until = time.monotonic() + STARTING
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:  # also one whose workers were too slow to start
                self.process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                )
                give_way(self.process.pid, priority())
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise RuntimeError("The server did not start.")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_one(self, kind: str, rng: random.Random) -> bool:
        """Kill one of the server's processes: a "worker", or the "reader" of an upload; False where there is none."""
        module = {"worker": "bifseg.server.workers.main", "reader": "bifseg.server.uploads.reader"}[kind]
        found = [pid for pid in _tree(self.process.pid) if module in _command(pid)]
        if not found:
            return False
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(rng.choice(found), signal.SIGKILL)
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()

    def memory(self) -> float:
        """MiB that the server's processes hold alone, or share among themselves only once counted."""
        total = 0
        for pid in _tree(self.process.pid):
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
        return total / 1024


def priority() -> str:
    """That of this session, where Linux groups by sessions; else empty."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/autogroup").read_text("utf-8").rpartition(" ")[2].strip()  # empty if it groups nothing
    return ""


def give_way(pid: int, own: str) -> None:
    """A new session has a priority of its own: it gets this one."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(own, "utf-8")


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            for child in children.read_text(encoding="utf-8").split():
                found += _tree(int(child))
    return found


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""


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
        self.errands: errands.Errands | None = None
        self.doing: str | None = None  # what it waits for
        self.pause = 0.0

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
        if self.errands and not self.errands.run(seed, id, acknowledged):
            self.sessions.pop()

    def _call(self, method: str, what: str, path: str, gone: bool = False, **options: object) -> httpx.Response | None:
        """A reply; the same is asked again while the server, or a process of it, is away. None for a refusal, or when
        told to stop. ``gone``: where it was asked again, that there is nothing any more is no refusal."""
        again = False
        self.stopped.wait(self.pause)
        while True:
            start, self.doing = time.perf_counter(), what
            try:
                reply = self.http.request(method, path, **options)
            except httpx.HTTPError:
                reply = None
            self.doing = None
            away = reply is None or reply.status_code in (409, 429, 502, 503) or _killed(reply)
            if gone and again and not away and reply.status_code == 404:
                return reply
            again = True
            if not away:
                if reply.status_code >= 400:
                    self.errors.append(f"{what}: {reply.status_code} {reply.text[:200]}")
                    return None
                self.times[what].append(time.perf_counter() - start)
                return reply
            if self.stopped.is_set():
                return None
            self.retries += 1
            time.sleep(0.05)


def _killed(reply: httpx.Response) -> bool:
    """Whether it is refused since a process was killed: it is true, and to be asked again."""
    return reply.status_code >= 400 and any(words in reply.text for words in ("process ended", "it took more than"))


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
            user.pause = options.pause
            user.start()
        while (passed := time.monotonic() - start) < options.seconds:
            time.sleep(min(options.sample, max(0.1, options.seconds - passed)))
            memory.append([round(time.monotonic() - start), round(server.memory(), 1)])
            _note(options.log, {
                "seconds": memory[-1][0], "memory_mib": memory[-1][1],
                "calls": sum(map(len, (times for user in users for times in list(user.times.values())))),
                "errors": sum(len(user.errors) for user in users), "crossed": sum(user.crossed for user in users),
            })  # fmt: skip
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


KINDS = ("group",) * 5 + ("worker",) * 3 + ("upload", "import", "delete")  # what is killed, or in the middle of what


def kill(options: argparse.Namespace) -> dict:
    rng, start, total = random.Random(options.seed), time.monotonic(), defaultdict(int)
    problems, refused, kinds, done, memory = [], [], defaultdict(int), defaultdict(int), []
    while (killed := sum(kinds.values())) < options.kills:
        told = _killing(rng, min(options.every, options.kills - killed), options)
        problems, refused, memory = problems + told["problems"], refused + told["errors"], memory + told["memory_mib"]
        for sums, name in ((kinds, "by_kind"), (done, "errands")):
            for kind, count in told[name].items():
                sums[kind] += count
        for name in ("sessions", "copies", "acknowledged", "masks_compared", "retries", "unanswered"):
            total[name] += told[name]
        hours = round((time.monotonic() - start) / 3600, 3)
        _note(options.log, {"kills": sum(kinds.values()), "hours": hours, **told})
    return {
        "kills": sum(kinds.values()), "hours": round((time.monotonic() - start) / 3600, 3), "by_kind": dict(kinds),
        **total, "errands": dict(done), "problems": problems, "errors": refused,
        "memory_mib": {"highest": max(memory), "lowest": min(memory)},
    }  # fmt: skip


def _killing(rng: random.Random, kills: int, options: argparse.Namespace) -> dict:
    """So many kills of one server on one store, and what came of them."""
    kinds, memory = defaultdict(int), []
    with tempfile.TemporaryDirectory() as folder:
        server, stop = Server(Path(folder) / "store", options.workers, options.threads), threading.Event()
        users = users_of(server, stop, options.steps)
        server.start()
        for user in users:
            user.errands = errands.Errands(f"user{user.number}", user._call)
            user.start()
        for _ in range(kills):
            time.sleep(rng.uniform(0.2, 2.0))
            memory.append(round(server.memory(), 1))
            kind = _strike(server, users, rng)
            kinds[kind] += 1
            if kind != "worker" and server.process.poll() is not None:
                server.start()
        stop.set()
        for user in users:
            user.join()
        server.stop()
        problems, compared, unanswered = check(users, Path(folder), options)
    return {
        "by_kind": dict(kinds), "sessions": sum(len(user.sessions) for user in users),
        "copies": sum(len(user.errands.copies) for user in users), "unanswered": unanswered,
        "errands": {what: sum(user.errands.done[what] for user in users) for what in users[0].errands.done},
        "acknowledged": sum(count for user in users for *_, count in user.sessions), "masks_compared": compared,
        "retries": sum(user.retries for user in users), "problems": problems,
        "errors": [error for user in users for error in user.errors], "memory_mib": memory,
    }  # fmt: skip


def _strike(server: Server, users: list[User], rng: random.Random) -> str:
    """Kill something: what it was, or what it was in the middle of."""
    kind = rng.choice(KINDS)
    if kind == "worker":
        return kind if server.kill_one(kind, rng) else _whole(server, "group")
    if kind == "group":
        return _whole(server, kind)
    until = time.monotonic() + 20
    while not any(user.doing == kind for user in users):
        if time.monotonic() > until:
            return _whole(server, "group")
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3 if kind != "delete" else 0.02))
    if kind == "upload" and rng.random() < 0.4 and server.kill_one("reader", rng):
        return "reader"
    return _whole(server, kind)


def _whole(server: Server, kind: str) -> str:
    server.kill()
    return kind


def check(users: list[User], folder: Path, options: argparse.Namespace) -> tuple[list[str], int, int]:
    """What was lost, is half there or came out otherwise; how many masks were compared; how many sessions there are of
    which nobody was told, since the answer was lost."""
    store, compared = Store(folder / "store"), 0
    problems = [f"verify: {problem}" for problem in verify(store)]
    done, unanswered = [], 0  # id, seed, steps that it has at least, its steps
    for user in users:
        known = [*user.sessions, *(user.errands.copies if user.errands else [])]
        if user.errands:
            problems += errands.check(user.errands, store)
            told = {id for id, *_ in known} | user.errands.forgotten
            for row in store.sessions(f"user{user.number}"):
                if row.id not in told:
                    unanswered += 1
                    if store.entries(row.id):  # a copy: only whole, or not there
                        known.append((row.id, int(row.title), user.errands.exported.get(int(row.title), 0)))
        for id, seed, acknowledged in known:
            try:
                store.session(id)
            except NotFound as error:
                problems.append(f"session {seed}: {error}")
                continue
            keys = [entry.key and int(entry.key.split("-")[1]) for entry in store.entries(id)]  # a copy has none
            done.append((id, seed, max(keys[-1] + 1 if keys and keys[-1] is not None else 0, acknowledged), keys))
    threads = options.threads // options.workers
    plans: dict[int, int] = {}
    for _, seed, reached, _ in done:
        plans[seed] = max(reached, plans.get(seed, 0))
    wanted = undisturbed(folder / "alone", set(plans.items()), options.steps, threads)
    shape = phantom(11)[0].shape
    for id, seed, reached, keys in done:
        if not reached:
            continue
        steps = [step for step in wanted[seed][0] if step < reached]
        if keys not in (steps, [None] * len(steps)):
            problems.append(f"session {seed}: its steps {keys} are not those of an undisturbed one, {steps}")
        found = zlib.crc32(store.state(id).labels(shape).tobytes())
        compared += 1
        if found != wanted[seed][1][reached - 1]:
            problems.append(f"session {seed}: its masks after step {reached} are not those of an undisturbed session")
    store.close()
    return problems, compared, unanswered


def _note(log: Path | None, line: dict) -> None:
    """Write what was reached so far, so that a run that is ended still has it."""
    if log is not None:
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")


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
    parser.add_argument("--pause", type=float, default=0, help="load: seconds that a user waits before each call")
    parser.add_argument("--sample", type=float, default=10, help="load: seconds between two looks at the memory")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=int, default=100, help="kills, after which all is checked and the store is new")
    parser.add_argument("--log", type=Path, help="kill: a line of JSON after every so many; load: at every look")
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
        "workers": options.workers, "threads": options.threads, "steps": options.steps, "pause": options.pause,
    }  # fmt: skip
    told = about | told
    print(json.dumps(told, indent=2))
    if options.output:
        write_json(options.output, told)


if __name__ == "__main__":
    main()
