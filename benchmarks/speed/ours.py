"""The product itself: a box and a scribble in a session, stage by stage, and what each stage must do at the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.machine import arithmetic_of, operations
from benchmarks.speed.scenes import Scene, scene
from benchmarks.speed.timing import FIRST, REFINEMENT, WHOLE, Case, Seconds, Work, timed
from bifseg.io import images
from bifseg.method.crop import Crop
from bifseg.method.timing import Stopwatch
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model
from bifseg.session.session import Session
from bifseg.session.state import Segment

OTHER = "other"  # what no stage of the session's own clock accounts for
BOXED = "box"  # the working grid is the box's own


@lru_cache
def model_of(name: str, dimension: int, grid: int | None = None) -> Model:
    """A shipped model by name, working on a grid of its own size or of another."""
    model = load_model(name, dimension)
    return model if grid is None else replace(model, size=grid)


@dataclass(eq=False)
class Ours:
    """One repetition is a fresh session (so that features are computed), a box, and the first round of scribbles."""

    scenes: Sequence[Scene]
    model: Model
    preset: str
    strokes: bool = False  # scribbles as a hand draws them, instead of a label map of the scan's shape
    drawn: dict[int, object] = field(default_factory=dict)
    made: dict[str, Segment] = field(default_factory=dict)

    def __call__(self, repetition: int) -> Seconds:
        k = repetition % len(self.scenes)
        found = self.scenes[k]
        session, spent = Session(found.image, self.model, self.preset), {}
        mask, whole = timed(lambda: session.box(found.box))
        spent |= self._stages(FIRST, session, whole)
        if k not in self.drawn:
            self.drawn[k] = found.strokes() if self.strokes else found.corrections(mask)
        _, whole = timed(lambda: session.scribble(self.drawn[k]))
        return spent | self._stages(REFINEMENT, session, whole)

    def _stages(self, moment: str, session: Session, whole: float) -> Seconds:
        segment = self.made[moment] = session.state.objects[session.state.current]
        stages = {(moment, stage): ms / 1e3 for stage, ms in segment.milliseconds.items()}
        return {(moment, WHOLE): whole, **stages, (moment, OTHER): max(0.0, whole - sum(stages.values()))}

    def work(self) -> dict[tuple[str, str], Work]:
        made = {}
        for moment, segment in self.made.items():
            made |= {(moment, stage): work for stage, work in works(moment, segment, self.model).items()}
        return made


def works(moment: str, segment: Segment, model: Model) -> Mapping[str, Work]:
    """The least work of each stage of an interaction, by what came out of it."""
    shape, parameters = segment.grid_probability.shape, segment.parameters
    n, voxels, channels = segment.grid_probability.size, int(np.prod(segment.box.shape)), model.network.channels
    layers = [w.size for w in segment.classifier.values() if w.ndim == 2]
    cuts, edges = len(segment.rounds), parameters.neighbours(len(shape)) // 2
    updates = max(0, cuts - 1)
    passes = updates + (moment == FIRST)
    given = [label for label in (1, 2) if (segment.scribbles == label).any()]
    maps = len(given) * ((updates > 0) + (parameters.evidence > 0))
    made = {
        "cut": Work(0, cuts * n * (4 + 4 * edges + 1), "probability and edges read, labels written, at every cut"),
        "paste": Work(0, n + voxels * 9 / 8, "labels read, mask written, and packed to bits"),
        "classifier": Work(
            passes * n * 2 * sum(layers), passes * n * 4 * channels, "features once for every new probability"
        ),
    }
    if moment == FIRST:
        arithmetic = arithmetic_of(model)
        made["features"] = Work(
            operations(model, shape), n * 4 * (1 + channels), "convolutions; image read, features written", arithmetic
        )
        made["crop"] = Work(0, 2 * voxels + 8 * n, "box read (int16), two grids written (float32)")
        made["graph"] = Work(0, n * (4 + 4 * edges), "image read, edges written (float32)")
    if maps:
        made["geodesic"] = Work(0, maps * n * (4 + 1 + 4), f"image and seeds read, distance written, {maps} maps")
    if updates:
        made["weight map"] = Work(0, updates * n * (4 + 1 + 1 + 8 + 4), "probability, labels, distances; weights")
        rows = n if segment.grid_weights is None else int(np.count_nonzero(segment.grid_weights))
        if parameters.samples:
            rows = min(rows, parameters.samples + int(np.count_nonzero(segment.scribbles)))
        steps = updates * parameters.iterations
        made["network update"] = Work(
            steps * rows * 2 * (3 * sum(layers) - layers[0]),  # forward, by weights, by inputs but for the first layer
            updates * rows * 8 * channels,
            f"forward and backward of {rows} pixels in {steps} steps; their features gathered",
        )
    if "band cut" in segment.milliseconds:
        made["band cut"] = Work(0, 2 * voxels, "scribbles read, mask written")
    if "tidy" in segment.milliseconds:
        made["tidy"] = Work(0, 2 * voxels, "mask and scribbles read")
    return {stage: work for stage, work in made.items() if work.operations or work.bytes}


def case(part: str, dimension: int, side: int, network: str, preset: str, seeds: int, grid: int | None = None) -> Case:
    """A box of ``side`` pixels; ``grid``: another working grid than the network's own."""
    model = model_of(network, dimension, grid)
    ours = Ours([scene(dimension, side, seed) for seed in range(seeds)], model, preset)
    facts = {"dimension": dimension, "side": side, "grid": model.size, "network": model.name, "preset": preset}
    return Case(part, facts, ours, ours.work)


def scan_case(scan: int, side: int, grid: int | None) -> Case:
    """The same box in a scan of another size; scribbles are strokes."""
    ours = Ours([scene(3, side, 0, scan)], model_of("default", 3, grid), "fast", strokes=True)
    return Case("scan", {"dimension": 3, "side": side, "grid": ours.model.size, "scan": scan}, ours)


def printed_case(architecture: str, side: int) -> Case:
    """Features alone of a network of the paper at its printed widths, random weights."""
    torch.manual_seed(0)
    network = build(architecture).eval().requires_grad_(False)
    model = Model(f"{architecture}, as printed", network, architecture, {}, side)
    found = scene(network.dimension, side)

    def run(_: int) -> Seconds:
        clock = Stopwatch()
        Crop(found.image, found.box, model, clock)
        return {(FIRST, "features"): clock["features"] / 1e3}

    def work() -> dict:
        counted = operations(model, (side,) * model.dimension)
        bytes_ = side**model.dimension * 4 * (1 + network.channels)
        return {(FIRST, "features"): Work(counted, bytes_, "convolutions; image, features", arithmetic_of(model))}

    return Case("printed", {"dimension": model.dimension, "side": side, "grid": side, "network": model.name}, run, work)


def open_case(folder: Path, suffix: str, side: int) -> Case:
    """Reading a scan from a file that the system still has in memory."""
    found = scene(3, min(side, 64), 0, side)
    path = folder / f"scan{suffix}"
    images.write_image(path, found.image.array, found.image)
    size = path.stat().st_size

    def run(_: int) -> Seconds:
        return {("open", WHOLE): timed(lambda: images.read_image(path).array.max())[1]}

    facts = {"file": suffix, "scan": side, "file_bytes": size}
    counted = "file read, array written and looked at"
    return Case("open", facts, run, lambda: {("open", WHOLE): Work(0, size + 2 * found.image.array.nbytes, counted)})
