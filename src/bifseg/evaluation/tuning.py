"""Parameters that suit one network: a search on labelled training objects with simulated users.

Coordinate search: one parameter at a time along its grid, the others held at the best found so far. It ends where no
single change helps, which need not be the best of all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bifseg.errors import InvalidInput
from bifseg.evaluation.loop import Scores, TuningTarget, evaluate
from bifseg.evaluation.pool import BACKENDS
from bifseg.evaluation.trials import Trial, Trials
from bifseg.method.parameters import Parameters, preset
from bifseg.networks.checkpoint import Model, save_model

__all__ = [
    "BACKENDS",
    "SPACE",
    "Scores",
    "SearchResult",
    "Trial",
    "Trials",
    "TuningTarget",
    "checked_space",
    "evaluate",
    "save_tuned",
    "search",
]  # fmt: skip

SPACE: dict[int, dict[str, tuple]] = {
    2: {
        "lam": (0.5, 1.0, 2.0, 3.0, 5.0, 8.0), "sigma": (0.05, 0.1, 0.15, 0.25), "rate": (0.05, 0.1, 0.2, 0.4),
        "iterations": (10, 20, 40), "share": (0.0, 0.2, 0.3, 0.5), "unsure": (0.0, 0.1, 0.3, 1.0),
        "blend": (0.5, 0.75, 1.0), "evidence": (0.0, 2.0, 4.0), "reach": (0.05, 0.1, 0.2),
        "epsilon": (0.02, 0.05, 0.1, 0.2), "t0": (0.1, 0.2, 0.3), "t1": (0.7, 0.8, 0.9), "omega": (2.0, 5.0, 10.0),
        "momentum": (0.0, 0.5, 0.9), "rounds": (1, 2), "balanced": (False, True),
    },
}  # fmt: skip
SPACE[3] = SPACE[2] | {"lam": (0.3, 0.6, 1.0, 2.0, 4.0, 10.0), "blend": (0.25, 0.5, 0.75, 1.0)}
"""The values that a search tries unless told otherwise, for 2D and 3D networks; the most telling parameters first."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found. ``before`` and ``after``: the objective at its start and at its best, 0 to 1.

    ``confirmed_before`` and ``confirmed_after``: the same on the objects held out; None where there were none.
    """

    best: Parameters
    before: float
    after: float
    trials: tuple[Trial, ...]  # every setting that was evaluated, in the order of evaluation; the start is the first
    objects: int
    groups: tuple[str, ...]
    confirmed_before: float | None = None
    confirmed_after: float | None = None
    confirmed_objects: int = 0

    @property
    def start(self) -> Parameters:
        return self.trials[0].parameters

    @property
    def chosen(self) -> Parameters:
        """The best; but the start where the best did not win on the objects held out."""
        before, after = self.confirmed_before, self.confirmed_after
        lost = before is not None and after is not None and not after > before
        return self.start if lost else self.best

    def summary(self) -> dict:
        """What a model card should say, ready for JSON. ``adopted``: whether anything but the start was chosen."""
        about = {
            "data": list(self.groups), "objects": self.objects, "settings": len(self.trials),
            "scribble_rounds": len(self.trials[0].steps) - 1,
            "objective_before": round(self.before, 5), "objective_after": round(self.after, 5),
        }  # fmt: skip
        if self.confirmed_before is not None and self.confirmed_after is not None:
            about |= {
                "confirmed_objects": self.confirmed_objects,
                "confirmed_before": round(self.confirmed_before, 5), "confirmed_after": round(self.confirmed_after, 5),
            }  # fmt: skip
        return {**about, "adopted": self.chosen != self.start}

    def as_dict(self) -> dict:
        """The whole search, ready for JSON."""
        parameters = {name: getattr(self, name).as_dict() for name in ("start", "best", "chosen")}
        return {**self.summary(), **parameters, "trials": [trial.as_dict() for trial in self.trials]}


def search(
    model: Model | str | os.PathLike,
    targets: Iterable[TuningTarget],
    space: Mapping[str, Sequence] | None = None,
    *,
    start: Parameters | None = None,
    confirm: Iterable[TuningTarget] | None = None,
    sweeps: int = 2,
    tolerance: float = 0.002,
    sure: float = 2.0,
    **options: Any,
) -> SearchResult:
    """Coordinate search for the parameters of highest objective, from ``start`` (default: the network's ``fast``).

    The objective is the mean of the macro Dice (groups count the same) after the box and after each round of
    scribbles. ``space``: the values to try per parameter, in the order of trying; default `SPACE`. Ends after
    ``sweeps`` passes through the space, or when one changed nothing. Values that do not fit the best so far (t0 above
    t1) are passed over. ``options``: rounds, weights, seed, workers, backend and progress, as in `Trials`.

    A value replaces the best so far only if it wins by more than ``tolerance``, less being noise of the seed, and by
    more than ``sure`` standard errors of its gain (`Trials.gain`): else a search on a few dozen objects fits their
    noise, and loses on others. Nothing is sure on one object.

    ``confirm``: objects held out, of other patients, on which start and best are compared once, in the end. Of some
    fifty values, one is 2 standard errors better by chance: so give some, and use `SearchResult.chosen`.

    Raises InvalidInput for an unknown parameter, a value out of range or no values at all, and as `Trials` does.
    """
    with Trials(model, targets, **options) as trials:
        model, dimension = trials.model, trials.model.dimension
        start = preset("fast", dimension, model.tuned) if start is None else start
        space = checked_space(SPACE[dimension] if space is None else space, start)
        held = None if confirm is None else Trials(model, confirm, **{**options, "progress": None})
        [first] = [best] = trials([start])
        for _ in range(sweeps):
            before = best
            for name, values in space.items():
                line = [(trial, *trials.gain(trial, best)) for trial in trials(_varied(best.parameters, name, values))]
                winners = [trial for trial, gain, error in line if gain > max(tolerance, sure * error)]
                best = max([best, *winners], key=lambda trial: trial.objective)
            if best is before:
                break
        groups = tuple(dict.fromkeys(trials.groups))
        result = SearchResult(
            best.parameters, first.objective, best.objective, trials.tried, len(trials.groups), groups
        )
    if held is None:
        return result
    with held:
        then, now = (trial.objective for trial in held([result.start, result.best]))
    return replace(result, confirmed_before=then, confirmed_after=now, confirmed_objects=len(held.groups))


def save_tuned(model: Model, result: SearchResult, path: str | os.PathLike) -> None:
    """Write the model with what was chosen, as far as it differs from the preset: ``fast`` then means that.

    The model card gets an entry ``tuning``: data, number of objects and settings, the objective before and after.
    """
    standard = preset("fast", model.dimension).as_dict()
    tuned = {name: value for name, value in result.chosen.as_dict().items() if value != standard[name]}
    save_model(replace(model, tuned=tuned, card={**model.card, "tuning": result.summary()}), path)


def checked_space(space: Mapping[str, Sequence], start: Parameters) -> dict[str, list]:
    """The space with NumPy's numbers as Python's, which a checkpoint can hold.

    Raises InvalidInput for an unknown parameter, no values at all, and a value that ``start`` cannot take.
    """
    plain = {name: [getattr(value, "item", lambda v=value: v)() for value in space[name]] for name in space}
    for name, values in plain.items():
        if not values:
            raise InvalidInput(f"The space has no values for {name}; give one or more, or leave it out.")
        for value in values:
            start.but(**{name: value})
    return plain


def _varied(parameters: Parameters, name: str, values: Sequence) -> Iterator[Parameters]:
    for value in values:
        try:
            yield parameters.but(**{name: value})
        except InvalidInput:  # t0 and t1 bound each other, and the other one may have moved
            continue
