"""What a server does under load, and what it loses when it is killed: numbers for docs/how-to/serve.md.

    python -m benchmarks.server.stress load --seconds 600 -o docs/results/server-load.json
    python -m benchmarks.server.stress kill --kills 1000 --every 50 --log kills.jsonl -o docs/results/server-kill.json

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
import json
import os
import platform
import random
import tempfile
import threading
import time
import zlib
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path

import httpx

from benchmarks.server import errands
from benchmarks.server.process import Server
from benchmarks.server.times import spread, timed
from benchmarks.server.users import CLIENTS, User, plan, users_of
from bifseg.errors import NotFound
from bifseg.io.atomic import write_json
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.storage.transfer import verify
from bifseg.training.synthetic.phantom import phantom

Sums = dict[int, tuple[list[int], list[int]]]  # by seed of a plan: see `undisturbed`


def undisturbed(folder: Path, seeds: set[int], steps: int, threads: int) -> Sums:
    """Of each plan's steps those that change something, and a checksum of the labels after every one: by sessions in
    this process that nobody disturbs."""
    import torch

    torch.set_num_threads(threads)
    image, _ = phantom(11)
    store = Store(folder)
    key, told = store.add_image(image, "reference"), {}
    for seed in sorted(seeds):
        session, done, sums = DurableSession(store, store.create(key, "reference")), [], []
        for step, interaction in enumerate(plan(seed, steps)):
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
            memory.append([round(time.monotonic() - start), server.memories()])
            _note(options.log, {
                "seconds": memory[-1][0], "memory_mib": memory[-1][1],
                "calls": sum(map(len, (times for user in users for times in list(user.times.values())))),
                "errors": sum(len(user.errors) for user in users), "crossed": sum(user.crossed for user in users),
            })  # fmt: skip
        health = [timed(lambda: httpx.get(f"{server.url}/healthz")) for _ in range(50)]
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
        "calls": {what: spread(seconds) for what, seconds in sorted(times.items())} | {"healthz": spread(health)},
        "in_process": {what: spread(seconds) for what, seconds in sorted(alone.items())},
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
            times[interaction["kind"]].append(timed(lambda i=interaction, s=session: list(s.apply(i))))
    store.close()
    return times


KINDS = ("group",) * 5 + ("worker",) * 3 + ("upload", "import", "delete")  # what is killed, or in the middle of what


def kill(options: argparse.Namespace) -> dict:
    rng, start, total = random.Random(options.seed), time.monotonic(), defaultdict(int)
    problems, refused, kinds, done, memory = [], [], defaultdict(int), defaultdict(int), []
    wanted: Sums = {}  # users begin with the same plans after every check
    while (killed := sum(kinds.values())) < options.kills:
        told = _killing(rng, min(options.every, options.kills - killed), options, wanted)
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


def _killing(rng: random.Random, kills: int, options: argparse.Namespace, wanted: Sums) -> dict:
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
            memory.append(server.memory())
            kind = _strike(server, users, rng)
            kinds[kind] += 1
            if kind != "worker" and server.process.poll() is not None:
                server.start()
        stop.set()
        for user in users:
            user.join()
        server.stop()
        problems, compared, unanswered = check(users, Path(folder), options, wanted)
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
        return kind if server.kill_one("workers", rng) else _whole(server, "group")
    if kind == "group":
        return _whole(server, kind)
    until = time.monotonic() + 20
    while not any(user.doing == kind for user in users):
        if time.monotonic() > until:
            return _whole(server, "group")
        time.sleep(0.002)
    time.sleep(rng.uniform(0, 0.3 if kind != "delete" else 0.02))
    if kind == "upload" and rng.random() < 0.4 and server.kill_one("readers", rng):
        return "reader"
    return _whole(server, kind)


def _whole(server: Server, kind: str) -> str:
    server.kill()
    return kind


def check(
    users: list[User], folder: Path, options: argparse.Namespace, wanted: Sums | None = None
) -> tuple[list[str], int, int]:
    """What was lost, is half there or came out otherwise; how many masks were compared; how many sessions there are of
    which nobody was told, since the answer was lost. ``wanted``: what is known of undisturbed sessions; grows."""
    wanted = {} if wanted is None else wanted
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
    new = {seed for _, seed, reached, _ in done if reached} - wanted.keys()
    wanted |= undisturbed(folder / "alone", new, options.steps, threads) if new else {}
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
