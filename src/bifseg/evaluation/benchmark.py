"""Methods judged on labelled objects by simulated users: one JSON line per step, in a file that survives a kill.

Runs are made in one fixed order and written whole, in that order: so a benchmark that was stopped anywhere and begun
again ends with the file of an undisturbed one, but for what clocks and memory meters said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from bifseg.errors import BifsegError, InvalidInput
from bifseg.evaluation import metrics, simulated_users
from bifseg.evaluation.cost import only_new_garbage
from bifseg.evaluation.methods import METHODS, make, settings_of
from bifseg.evaluation.pool import streamed
from bifseg.evaluation.protocols import PROTOCOLS
from bifseg.evaluation.protocols.steps import Step
from bifseg.evaluation.results import KEY, Results
from bifseg.evaluation.simulated_users import user_of
from bifseg.evaluation.targets import Target
from bifseg.networks.checkpoint import Model, load_model

TOLERANCE = 2.0  # mm, of the surface Dice


@dataclass(frozen=True)
class Run:
    """One user with one method on one object: ``count`` rounds or clicks after the start.

    ``network``: a shipped name or a file for methods that learn, else None. ``server``: see `methods.make`.
    """

    target: Target
    method: str
    network: str | None
    user: str
    seed: int
    protocol: str = "rounds"
    count: int = 5
    server: str = ""

    @property
    def key(self) -> tuple:
        """What tells its rows from others', in the order of `KEY`."""
        case, network = self.target.case, None if self.network is None else _model(self.network).name
        who = self.user if PROTOCOLS[self.protocol].users else self.protocol
        return (
            self.protocol, case.dataset, case.name, self.target.label, self.target.dimension, self.method, network,
            who, self.seed,
        )  # fmt: skip

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides its rows beside the key: settings, weights, plane, versions."""
        model = None if self.network is None else _model(self.network)
        told = [
            settings_of(self.method, model, self.server), model and model.sha256, self.count, self.target.plane,
            self.target.values, metrics.VERSION, simulated_users.VERSION, TOLERANCE,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]

    @property
    def steps(self) -> int:
        """How many rows it makes."""
        boxed = METHODS[self.method].begins_with == "box"
        return self.count + 1 - (PROTOCOLS[self.protocol].box_clicks if boxed else 0)


def judge(run: Run, watch: Callable[[Step], object] | None = None) -> list[dict]:
    """The rows of a run. ``watch`` is called with every step; the method itself sees image, box and scribbles only."""
    model = None if run.network is None else _model(run.network)
    target, spacing = run.target, run.target.image.spacing
    flat = tuple(s for axis, s in enumerate(spacing) if target.plane is None or axis != target.plane[0])
    truth = target.view.crop(target.truth)
    who, fingerprint = dict(zip(KEY, run.key, strict=True)), run.fingerprint
    who["patient"] = target.case.patient
    who["seen"] = model is not None and _learnt_from(model, target.case.dataset)
    method, rows = make(run.method, model, seed=run.seed, server=run.server), []
    try:
        for step in PROTOCOLS[run.protocol].load("steps")(method, target, user_of(run.user), run.seed, run.count):
            mask = target.view.crop(step.mask)
            rows.append(
                who | {
                    "step": step.index,
                    "dice": round(metrics.dice(mask, truth), 5),
                    "nsd": round(metrics.nsd(mask, truth, flat, TOLERANCE), 5),
                    "seconds": round(step.seconds, 4),
                    "user_seconds": round(step.effort.seconds + step.seconds, 4),
                    "strokes": step.effort.strokes,
                    "length": round(step.effort.length, 4),
                    "peak_mib": None if step.peak_mib is None else round(step.peak_mib, 1),
                    "box": str(step.box),
                    "fingerprint": fingerprint,
                }
            )  # fmt: skip
            if watch is not None:
                watch(step)
    finally:
        if close := getattr(method, "close", None):
            close()
    return rows


def plan(
    targets: Iterable[Target],
    methods: Sequence[str],
    networks: Sequence[str],
    users: Sequence[str],
    seeds: Sequence[int],
    protocol: str = "rounds",
    count: int = 5,
    server: str = "",
) -> list[Run]:
    """All runs of a benchmark, in their order: object, seed, user, method, network.

    Networks of the other dimension are passed over, as are methods that learn where none is left. Raises InvalidInput
    for an unknown protocol or user, a protocol of the other dimension, and where nothing is left to run.
    """
    if protocol not in PROTOCOLS:
        raise InvalidInput(f"Unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}.")
    for method in methods:
        if METHODS[method].remote:
            make(method, server=server)  # says now what is missing
    names = [user_of(user).name for user in users]
    runs = []
    for target in targets:
        if PROTOCOLS[protocol].dimension not in (None, target.dimension):
            raise InvalidInput(f"The protocol {protocol} is not for {target.dimension}D objects.")
        for seed in seeds:
            for user in names if PROTOCOLS[protocol].users else names[:1]:
                for method in methods:
                    fitting = [n for n in networks if _model(n, target.dimension).dimension == target.dimension]
                    for network in fitting if METHODS[method].learns else [None]:
                        name = _model(network, target.dimension).name if network == "default" else network
                        runs.append(Run(target, method, name, user, seed, protocol, count, server))
    if not runs:
        raise InvalidInput("Nothing is left to run: no network fits; give one of the objects' dimension.")
    return runs


def benchmark(
    runs: Sequence[Run],
    path: Path,
    *,
    jobs: int = 1,
    backend: str = "loky",
    progress: Callable[[int, int], object] | None = None,
) -> int:
    """Make all ``runs`` that ``path`` does not hold yet; returns how many were made.

    ``jobs``: processes of one thread. ``progress``: called with (runs done, runs in all). A run that fails ends the
    benchmark, with a sentence on which it was; those before it are kept.
    """
    with Results(path) as results:
        by_key = {run.key: run for run in runs}
        done = results.keep({key: (run.fingerprint, run.steps) for key, run in by_key.items()})
        missing = [run for key, run in by_key.items() if key not in done]
        finished = len(runs) - len(missing)
        if progress is not None:
            progress(finished, len(runs))
        unread = [(replace(run, target=run.target.unread()),) for run in missing]
        for rows in streamed(_alone, unread, jobs, backend):
            results.append(rows)
            finished += 1
            if progress is not None:
                progress(finished, len(runs))
    return len(missing)


_open: dict[str, Target] = {}  # of this process: the target of its last run, whose arrays the next one may need


def _alone(run: Run) -> list[dict]:
    """What a worker does: one run with one thread, so that sums have one order, and times mean one core."""
    import torch

    key = repr(run.target)
    if key not in _open:
        _open.clear()
        _open[key] = run.target
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _one_thread(), only_new_garbage():
            return judge(replace(run, target=_open[key]))
    except Exception as error:
        what = f"{run.method} on {run.target.label} of {run.target.case.name}, seed {run.seed}"
        if isinstance(error, (BifsegError, OSError)):
            raise InvalidInput(f"{what}: {error}") from error
        raise RuntimeError(f"{what}: {type(error).__name__}: {error}") from error  # a fault of the method's
    finally:
        torch.set_num_threads(threads)


def _one_thread() -> contextlib.AbstractContextManager:
    try:
        from threadpoolctl import threadpool_limits  # comes with scikit-learn
    except ImportError:
        return contextlib.nullcontext()
    return threadpool_limits(1)


@lru_cache(maxsize=16)
def _model(name: str, dimension: int | None = None) -> Model:
    return load_model(name, dimension if name == "default" else None)


def _learnt_from(model: Model, dataset: str) -> bool:
    """Whether the model card names the data set among what it learnt from."""
    return re.search(rf"(?<!\w){re.escape(dataset)}(?!\w)", str(model.card.get("data", ""))) is not None
