"""Nothing slower by accident: ``python -m benchmarks.speed.check`` (make bench-check), ten ratios in a minute.

Each is the CPU time of something of ours over that of a matrix product or a copy taken beside it, so that neither the
machine nor what else it does matters much; the best of several pairs. Exits with 1 where one is beyond its bound.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.ours import model_of
from benchmarks.speed.scenes import scene
from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.imaging.resampling import resample
from bifseg.io import images
from bifseg.method.classifier import descend
from bifseg.method.crop import Crop
from bifseg.method.parameters import preset
from bifseg.networks.base import Classifier
from bifseg.networks.threads import one_thread
from bifseg.session.session import Session

SECONDS = 5.0  # of each ratio


@dataclass(frozen=True)
class Ratio:
    """``ours`` may take at most ``bound`` times as much CPU time as ``theirs``."""

    name: str
    bound: float
    ours: Callable[[], object]
    theirs: Callable[[], object]

    def measure(self, seconds: float = SECONDS) -> float:
        """The best of ours over the best of theirs, taken in turn; at least three times each."""
        ours, theirs = [], []
        with one_thread():
            self.ours(), self.theirs()
            until = time.perf_counter() + seconds
            while len(ours) < 3 or time.perf_counter() < until:
                ours.append(_spent(self.ours))
                theirs.append(_spent(self.theirs))
        return min(ours) / min(theirs)


def ratios(folder: Path) -> Iterator[Ratio]:
    """The ten, each as soon as it is asked for."""
    a = torch.rand(768, 768)
    block = np.ones(1 << 24, np.float32)

    def product() -> object:
        return a @ a

    def copy() -> object:
        return block.copy()

    for dimension, side, first, then in ((2, 128, *BOUNDS["2D"]), (3, 80, *BOUNDS["3D"])):
        found, model = scene(dimension, side), model_of("default", dimension)
        session = Session(found.image, model, "fast")
        strokes = found.strokes()

        def begin(session: Session = session, found=found, model=model) -> object:
            return Session(found.image, model, "fast").box(found.box)

        def refine(session: Session = session, strokes=strokes) -> object:
            session.undo()
            return session.scribble(strokes)

        session.box(found.box)
        session.scribble(strokes)
        yield Ratio(f"{dimension}D, {side}: first mask / product", first, begin, product)
        yield Ratio(f"{dimension}D, {side}: refinement / product", then, refine, product)
    crop = Crop(found.image, found.box, model)
    energy, rng = crop.energy(preset("fast", 3)), np.random.default_rng(0)
    belief = np.clip(crop.image01 * 0.8 + rng.normal(0.1, 0.1, crop.shape), 0.01, 0.99).astype(np.float32)
    yield Ratio("cut of 48³ / copy", BOUNDS["cut"], lambda: energy.label_update(belief), copy)
    seeds = np.zeros(crop.shape, bool)
    seeds[tuple(n // 2 for n in crop.shape)] = True
    yield Ratio(
        "geodesic distances of 48³ / copy", BOUNDS["geodesic"], lambda: geodesic_distance(crop.image01, seeds), copy
    )
    x, y, w = torch.rand(4096, 32), (torch.rand(4096) > 0.5).float(), torch.full((4096,), 1 / 4096)
    yield Ratio(
        "descent on 4,096 pixels / product", BOUNDS["descent"],
        lambda: descend(Classifier(32, 16), x, y, w, iterations=40, rate=0.1), product,
    )  # fmt: skip
    large = np.asfortranarray(rng.random((160, 160, 160), np.float32))
    yield Ratio("grid of a box of 160³ / copy", BOUNDS["grid"], lambda: resample(large, (48, 48, 48)), copy)
    scan = scene(3, 64, 0, 160)
    for suffix in (".nii", ".nii.gz"):
        path = folder / f"scan{suffix}"
        images.write_image(path, scan.image.array, scan.image)
        yield Ratio(
            f"reading {suffix} of 160³ / copy",
            BOUNDS[suffix],
            lambda path=path: images.read_image(path).array.max(),
            copy,
        )


BOUNDS = {
    "2D": (28.0, 16.0), "3D": (95.0, 65.0), "cut": 1.2, "geodesic": 5.0, "descent": 4.5, "grid": 1.8, ".nii": 1.2,
    ".nii.gz": 6.0,
}  # fmt: skip
"""Two and a half times what was found beside a matrix product, up to five times beside a copy: processors differ."""


def main(seconds: float = SECONDS) -> None:
    beyond = 0
    with tempfile.TemporaryDirectory() as folder:
        for ratio in ratios(Path(folder)):
            found = ratio.measure(seconds)
            beyond += found > ratio.bound
            print(
                f"{found:8.2f}  at most {ratio.bound:g}{'  BEYOND' * (found > ratio.bound)}  {ratio.name}", flush=True
            )
    sys.exit(bool(beyond))


def _spent(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
