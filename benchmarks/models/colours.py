"""What colours are worth: ``python -m benchmarks.models.colours``; PolypRGB, the fold "develop".

The same user and rounds as in `benchmarks.models.edges`, several boxes on each object: Dice in % after the box, one and
three rounds, of a network that sees the luminance, one colour, or all three (the mean of its log-odds, which is what we
ship), with edges between luminances, of that colour, or between colours.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.models.edges import AFTER, judged
from benchmarks.models.objects import DATA, Target
from bifseg.evaluation.simulated_users import simulated_box
from bifseg.evaluation.targets import half
from bifseg.imaging.image import Image
from bifseg.io.datasets import open_dataset
from bifseg.method.crop import Crop, Features
from bifseg.method.parameters import preset
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box

MARGIN = 10


class OneView(Crop):
    """A crop in colours whose trunk sees their luminance."""

    def __init__(self, image: Image, box: Box, model: Model) -> None:
        self._grey = Crop(image.with_array(image.array), box, model)
        super().__init__(image, box, model)

    def features(self, scribbles: np.ndarray | None = None, mask: np.ndarray | None = None) -> Features:
        return self._grey.features(scribbles, mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", type=int, default=6, help="on each object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("default", 2)
    parameters, scores = preset("fast", 2, model.tuned), {}
    for target in _targets(arguments.boxes):
        for name, crop in _seen(target, model):
            scores.setdefault(name, []).append([row[0] for row in judged(model, crop, target, parameters)])
    print(f"model {model.name} {model.sha256[:8]}, {len(scores['luminance'])} boxes; Dice after rounds {AFTER}")
    for name, rows in scores.items():
        gap = np.mean(rows, axis=0) - np.mean(scores["luminance"], axis=0)
        print(f"{name:42s}" + "".join(f"{d:7.1f} ({g:+.1f})" for d, g in zip(np.mean(rows, axis=0), gap, strict=True)))


def _targets(boxes: int) -> Iterator[Target]:
    sets = [open_dataset(DATA / "Dataset123_PolypRGB", channel) for channel in range(3)]
    for red, green, blue in zip(*(one.cases for one in sets), strict=True):
        if half(red.patient) != "develop":
            continue
        colours = np.stack([case.image.array for case in (red, green, blue)], axis=-1).astype(np.uint8)
        truth = red.labels > 0
        image = Image(colours, red.image.spacing, planar=red.image.planar)
        for seed in range(boxes):
            box = simulated_box(truth, np.random.default_rng(seed), MARGIN, plane=(2, 0))
            yield Target("PolypRGB", red.name, red.patient, "polyp", 2, image, truth, box)


def _seen(target: Target, model: Model) -> Iterator[tuple[str, Crop]]:
    image, box = target.image, target.box
    yield "luminance", Crop(image.with_array(image.array), box, model)
    for k, name in enumerate(("red", "green", "blue")):
        yield name, Crop(image.with_array(image.colours[..., k]), box, model)
    yield "luminance, edges between colours", OneView(image, box, model)
    yield "all three, edges between colours", Crop(image, box, model)


if __name__ == "__main__":
    main()
