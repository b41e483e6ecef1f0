"""What a worker process does: interactions on durable sessions, the last few of which it keeps in memory."""

from __future__ import annotations

import atexit
from collections import OrderedDict
from collections.abc import Callable, Generator
from pathlib import Path

import torch

from bifseg.heaps import give_back
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Stroke
from bifseg.session.session import Session
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.training.synthetic.phantom import phantom

LIVE = 8  # sessions that keep their features and adapted classifier in memory; others are brought back from the store


def handler(options: dict) -> Callable[[dict], Generator[dict, None, dict]]:
    """What does the jobs of one worker; ``options``: {"data", "quota", "models", "threads", "warm"}.

    A job is {"session", "interaction", "key", "expected"}; see `DurableSession.apply` for what it yields and returns.
    """
    torch.set_num_threads(options["threads"])
    store = Store(Path(options["data"]), quota=options["quota"], share=options["share"])
    atexit.register(store.close)
    models = {name: Path(path) for name, path in options["models"].items()}
    for dimension in (2, 3):
        load_model("default", dimension)  # now, so that no user waits for it
    if options["warm"]:
        warm_up()
    live: OrderedDict[str, DurableSession] = OrderedDict()

    def work(job: dict) -> Generator[dict, None, dict]:
        id = job["session"]
        session = live.pop(id, None) or DurableSession(store, id, models=models)
        result = yield from session.apply(job["interaction"], job["key"], job.get("expected"))
        live[id] = session  # one whose interaction failed is brought back from the store next time
        if len(live) > LIVE:
            live.popitem(last=False)
            give_back()
        return result

    return work


def warm_up() -> None:
    """One box and two scribbles in 2D and 3D: two seconds after an installation, when loops are fitted, then 0.2."""
    scan, _ = phantom(shape=(32, 32, 16))
    for box in (((8, 24), (8, 24), 8), ((8, 24), (8, 24), (4, 12))):
        session = Session(scan)
        session.box(box)
        session.scribble([Stroke([(12, 12, 8)], 1, radius=1), Stroke([(20, 20, 8)], 2, radius=1)])
