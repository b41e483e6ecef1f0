"""The methods that the paper compares with, on the boxes and scribbles that ours gets, taken in turn with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.speed.ours import model_of
from benchmarks.speed.scenes import Scene, scene
from benchmarks.speed.timing import FIRST, REFINEMENT, WHOLE, Case, Seconds, timed
from bifseg.evaluation.methods import METHODS, FromNetwork, make
from bifseg.prompts.interaction import InteractiveMethod

PEERS = ("grabcut", "random_walks", "growcut", "geos", "slicseg")
OURS = "bifseg"
FAIR = {2: 128, 3: 80}  # the grid that the peers work on, and the side of the box


@dataclass(eq=False)
class Peer:
    """One repetition is a fresh method, its first mask, and a refinement."""

    make: Callable[[], InteractiveMethod]
    scenes: list[Scene]
    drawn: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, repetition: int) -> Seconds:
        k = repetition % len(self.scenes)
        found, method = self.scenes[k], self.make()
        if getattr(method, "begins_with", "box") == "box":
            mask, first = timed(lambda: method.start(found.image, found.box))
        else:
            view, opening = found.opening()
            _, begun = timed(lambda: method.start(found.image, view))
            mask, first = timed(lambda: method.refine(opening))
            first += begun
        if k not in self.drawn:
            self.drawn[k] = found.corrections(mask)
        _, refined = timed(lambda: method.refine(self.drawn[k]))
        return {(FIRST, WHOLE): first, (REFINEMENT, WHOLE): refined}


def cases(dimension: int, side: int, names: tuple[str, ...], seeds: int) -> list[Case]:
    """Ours on its own grid and on that of the others, then the others."""
    scenes = [scene(dimension, side, seed) for seed in range(seeds)]
    own, fair = model_of("default", dimension).size, FAIR[dimension]
    made = [
        Case("peers", _facts(dimension, side, OURS, grid), Peer(_ours(dimension, grid), scenes))
        for grid in dict.fromkeys((own, fair))
    ]
    for name in names:
        made.append(Case("peers", _facts(dimension, side, name, fair), Peer(lambda name=name: make(name), scenes)))
    return made


def _ours(dimension: int, grid: int) -> Callable[[], FromNetwork]:
    model = model_of("default", dimension, grid)
    return lambda: FromNetwork("auto", model=model, parameters="fast")


def _facts(dimension: int, side: int, name: str, grid: int) -> dict:
    return {"dimension": dimension, "side": side, "grid": grid, "method": name, "title": METHODS[name].title}
