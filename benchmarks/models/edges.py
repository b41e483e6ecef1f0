"""How well outlines follow the truth: ``python -m benchmarks.models.edges 3 --vary band_lam=0.8``.

A simulated user works on each object as in `bifseg.evaluation.loop`; after the box, one and three rounds of scribbles:
Dice, surface Dice at 1 voxel and at 2 mm, all in %, and roughness, the area of the mask's surface (the length of its
contour) over that of the truth's. Means over objects, each data set's, then all; a line for each variation of one
parameter, or of some at once, and under it its paired difference to the base with its 95 % interval (bootstrap over
patients).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.models.objects import FOLDS, Target, spread
from benchmarks.models.variants import variants
from bifseg.evaluation.metrics import dice, nsd, surface_area
from bifseg.evaluation.simulated_users import simulated_scribbles
from bifseg.evaluation.statistics import bootstrap
from bifseg.method.crop import Crop
from bifseg.method.parameters import Parameters, parsed, preset
from bifseg.networks.checkpoint import Model, load_model
from bifseg.prompts.interaction import Box
from bifseg.session.refine import adapt, begin

AFTER = (0, 1, 3)  # rounds of scribbles
MEASURES = ("Dice", "1 vox", "2 mm", "rough")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dimension", type=int, choices=(2, 3))
    parser.add_argument("--fold", choices=tuple(FOLDS), default="develop", help="report: what nothing was chosen on")
    parser.add_argument("--model", default="default")
    parser.add_argument("--base", nargs="*", default=[], metavar="NAME=VALUE", help="changes to the preset fast")
    parser.add_argument("--vary", nargs="*", default=[], metavar="NAME=A,B,...", help="one at a time; A=1+B=2: at once")
    parser.add_argument("--size", type=int, default=0, help="working grid; 0: the model's")
    parser.add_argument("--limit", type=int, default=60, help="objects, spread over the fold")
    parser.add_argument("--only", default="", help="data sets whose names hold this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    found = spread(arguments.dimension, [arguments.fold], arguments.limit, arguments.only)
    model = load_model(arguments.model, arguments.dimension)
    model = dataclasses.replace(model, size=arguments.size or model.size)
    base = preset("fast", arguments.dimension, model.tuned)
    compared = variants(base.but(**parsed(arguments.base)), arguments.vary, arguments.dimension)

    print(f"{len(found)} objects, model {model.name} {model.sha256[:8]}, size {model.size}, base {compared['base']}")
    scores: dict[str, list[np.ndarray]] = {name: [] for name in compared}
    for target in found:
        crop = Crop(target.image, target.box, model)
        for name, parameters in compared.items():
            scores[name].append(np.array(list(judged(model, crop, target, parameters))))
    titles = ["after the box", *(f"{k} round{'s' * (k > 1)}" for k in AFTER[1:])]
    print(" " * 42 + "".join(f"{title:>32s}" for title in titles))
    print(" " * 42 + "".join(f"{head:>8s}" for _ in AFTER for head in MEASURES))
    groups, patients = [t.dataset for t in found], [(t.dataset, t.patient) for t in found]
    for group in [*dict.fromkeys(groups), ""]:
        chosen = [k for k, own in enumerate(groups) if group in ("", own)]
        reference = np.array(scores["base"])[chosen]
        for name in compared:
            rows = np.array(scores[name])[chosen]
            heading = f"{group[10:28] or 'all':18s}{name[:23]:24s}"
            print(heading + "".join(f"{v:8.2f}" for v in rows.mean(axis=0).ravel()))
            if name != "base" and not group:
                gaps = (rows - reference).reshape(len(rows), -1)
                for title, gap in zip([f"{m}, {t}" for t in titles for m in MEASURES], gaps.T, strict=True):
                    low, high = bootstrap(gap, [patients[k] for k in chosen])
                    print(f"{'':18s}  minus base, {title:24s}{gap.mean():+8.2f} [{low:+.2f}, {high:+.2f}]")


def judged(model: Model, crop: Crop, target: Target, parameters: Parameters) -> Iterator[tuple[float, ...]]:
    """The measures of one object's mask after each of so many rounds."""
    plane = target.box.plane
    truth = target.truth[target.box.slices]
    spacing = [s for axis, s in enumerate(target.image.spacing) if axis != plane]
    flat = truth if plane is None else truth.squeeze(plane)
    area = surface_area(flat, spacing)
    for k, mask in enumerate(masks(model, crop, truth, parameters)):
        if k in AFTER:
            mask = mask if plane is None else mask.squeeze(plane)
            near = [100 * nsd(mask, flat, *how) for how in (([1.0] * flat.ndim, 1.0), (spacing, 2.0))]
            yield 100 * dice(mask, flat), *near, surface_area(mask, spacing) / area


def masks(model: Model, crop: Crop, truth: np.ndarray, parameters: Parameters) -> Iterator[np.ndarray]:
    """What a user sees in the box: after the box, and after every round of scribbles on what was there before."""
    segment, free = begin("target", crop, model, parameters), np.zeros(truth.shape, bool)
    for _ in range(max(AFTER) + 1):
        rounds = adapt(segment, crop, model, refine="auto", locked=free)
        try:
            while True:
                next(rounds)
        except StopIteration as end:
            segment = end.value
        yield segment.mask
        new = simulated_scribbles(segment.mask, truth, Box((0, 0, 0), truth.shape))
        segment = dataclasses.replace(segment, scribbles=np.where(new > 0, new, segment.scribbles))


if __name__ == "__main__":
    main()
