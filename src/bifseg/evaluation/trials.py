"""Settings tried on labelled objects: by one process, or by many on this machine or on a cluster.

The trunk never changes, so a process computes a target's features once for all settings; only the graph of the cut
depends on ``lam``, ``sigma`` and ``connectivity``.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import torch

from bifseg.errors import InvalidInput
from bifseg.evaluation.loop import Scores, TuningTarget, evaluate
from bifseg.evaluation.pool import check_backend, pool
from bifseg.method.crop import Crop
from bifseg.method.parameters import Parameters
from bifseg.networks.checkpoint import Model, load_model

CROPS_KEPT = 128  # per process, some 10 MB each in 2D and 20 MB in 3D; those of further targets are computed again


@dataclass(frozen=True)
class Trial:
    """One setting on all targets. ``scores``: in the targets' order. ``objective``: weighted mean of `steps`."""

    parameters: Parameters
    scores: tuple[Scores, ...]
    steps: tuple[float, ...]  # macro Dice after the box and after each round of scribbles
    objective: float

    def as_dict(self) -> dict:
        """Ready for JSON; without the scores of the single objects."""
        steps = {f"round {k}" if k else "box": round(value, 5) for k, value in enumerate(self.steps)}
        return {"objective": round(self.objective, 5), **steps, "parameters": self.parameters.as_dict()}


class Trials:
    """Settings tried on the same targets with the same simulated user; none is evaluated twice.

    ``model``: a `Model`, a shipped name or a file. ``rounds``: of scribbles. ``weights``: of the steps in the
    objective, the box first, then each round; all the same when None. ``workers``: processes of one thread, -1 for
    one per core. ``backend``: loky (this machine), ray or dask (the cluster one is connected to, otherwise this
    machine). ``progress``: called with every new `Trial`. The result depends on neither workers nor backend.

    Raises InvalidInput where there are no targets, for a target of the other dimension, weights that do not fit, and an
    unknown backend; ImportError, saying what to install, for a backend that is not there.

    >>> with Trials("default", targets, workers=2) as trials:                     # doctest: +SKIP
    ...     for trial in trials([Parameters(lam=1.0), Parameters(lam=3.0)]):
    ...         print(trial.objective)
    """

    def __init__(
        self,
        model: Model | str | os.PathLike,
        targets: Iterable[TuningTarget],
        *,
        rounds: int = 2,
        weights: Sequence[float] | None = None,
        seed: int = 0,
        workers: int = 1,
        backend: str = "loky",
        progress: Callable[[Trial], None] | None = None,
    ) -> None:
        self._targets = [target.boxed() for target in targets]  # of a lazy iterable, no whole scan stays in memory
        if not self._targets:
            raise InvalidInput("There are no targets; give one labelled object or more.")
        self.model = model if isinstance(model, Model) else load_model(model, self._targets[0].box.dimension)
        for target in self._targets:
            if target.box.dimension != self.model.dimension:
                raise InvalidInput(
                    f"The model {self.model.name} is for {self.model.dimension}D boxes; a target of the group "
                    f"{target.group!r} has a {target.box.dimension}D box."
                )
        if rounds < 0:
            raise InvalidInput(f"rounds is {rounds}; it must be 0 or more.")
        self.weights = (1.0,) * (rounds + 1) if weights is None else tuple(weights)
        if len(self.weights) != rounds + 1 or min(self.weights) < 0 or not sum(self.weights) > 0:
            raise InvalidInput(
                f"The weights are {self.weights}; with {rounds} rounds of scribbles the objective needs {rounds + 1}, "
                "0 or more, the box's first, not all 0."
            )
        check_backend(backend, workers)
        sizes = Counter(self.groups)
        self._shares = np.array([1 / (len(sizes) * sizes[group]) for group in self.groups])  # of the objective
        self._rounds, self._seed, self._workers, self._backend = rounds, seed, workers, backend
        self._progress, self._key = progress, uuid.uuid4().hex
        self._tried: dict[Parameters, Trial] = {}

    def __enter__(self) -> Trials:
        self._pool = pool(self._backend, self._workers)
        self._parallel = self._pool.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool.__exit__(*exception)
        _crops.clear()

    def __call__(self, settings: Iterable[Parameters]) -> list[Trial]:
        """The trials of some settings, in their order; those tried before cost nothing."""
        settings = list(settings)
        new = [parameters for parameters in dict.fromkeys(settings) if parameters not in self._tried]
        if new:
            columns = self._parallel(
                joblib.delayed(_scores)(self._key, k, self.model, target, new, self._rounds, self._seed)
                for k, target in enumerate(self._targets)
            )
            for parameters, scores in zip(new, zip(*columns, strict=True), strict=True):
                self._tried[parameters] = trial = self._trial(parameters, scores)
                if self._progress:
                    self._progress(trial)
        return [self._tried[parameters] for parameters in settings]

    def gain(self, new: Trial, old: Trial) -> tuple[float, float]:
        """By how much one trial's objective exceeds another's, and the standard error of that.

        Of the differences on the single objects, which weigh what they weigh in the objective; infinite for a single
        object. Objects count as independent, so several of one patient make the error look smaller than it is.
        """
        pairs = zip(new.scores, old.scores, strict=True)
        differences = [np.average(np.subtract(a.steps, b.steps), weights=self.weights) for a, b in pairs]
        gain, rest = self._shares @ differences, 1 - self._shares @ self._shares  # rest: where all are alike, 1 - 1/n
        square = self._shares**2 @ (differences - gain) ** 2
        return float(gain), float(np.sqrt(square / rest)) if len(differences) > 1 else np.inf

    @property
    def tried(self) -> tuple[Trial, ...]:
        return tuple(self._tried.values())

    @property
    def groups(self) -> list[str]:
        """The group of every target, in their order."""
        return [target.group for target in self._targets]

    def _trial(self, parameters: Parameters, scores: tuple[Scores, ...]) -> Trial:
        steps = self._shares @ [score.steps for score in scores]
        return Trial(parameters, scores, tuple(steps.tolist()), float(np.average(steps, weights=self.weights)))


_crops: dict[tuple[str, int], Crop] = {}  # of this process and one search: kept where they were computed, never sent


def _scores(
    key: str, index: int, model: Model, target: TuningTarget, settings: list[Parameters], rounds: int, seed: int
) -> list[Scores]:
    """What a worker does: all settings on one target, with one thread, so that sums have one order everywhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if _crops and next(iter(_crops))[0] != key:  # a worker may serve another search next
            _crops.clear()
        crop = _crops.get((key, index)) or Crop(target.image, target.box, model)
        if len(_crops) < CROPS_KEPT:  # the first ones stay: dropping the oldest would drop each before it is needed
            _crops[key, index] = crop
        return [evaluate(model, crop, target, parameters, rounds=rounds, seed=seed) for parameters in settings]
    finally:
        torch.set_num_threads(threads)
