"""Users of a server under load, one thread each: what they do is planned by a seed, what was acknowledged is noted."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict

import httpx

from benchmarks.server import errands
from benchmarks.server.errands import API
from benchmarks.server.process import Server
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

CLIENTS = 8
BOXES = ("30:90,30:90,20:40", "20:80,40:100,30", "14:80,62:120,24:44", "60:110,20:70,28")  # volumes and planes


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
            time.sleep(0.05 if reply is not None else 0.2)  # it takes the server's processors to ask one that starts


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
