"""What the last cut does to outlines, to be seen: ``python -m benchmarks.models.outlines -o docs/pictures``, a minute.

Four objects of scans that networks may learn from, and did (fold "learnt"): so this shows outlines, not how good a
network is. Each after one round of a simulated user's scribbles, in three planes where it is large: the annotator's
outline, and the mask's without and with the cut on the scan's own voxels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.models.edges import masks
from benchmarks.models.objects import Target, targets
from bifseg.evaluation.metrics import dice
from bifseg.method.crop import Crop
from bifseg.method.parameters import preset
from bifseg.networks.checkpoint import load_model

SHOWN = {
    "Dataset105_SarcomaCT/STS_041/GTV": "Tumour of a limb, CT",
    "Dataset143_ThoraxAbdomenCT/CCTH_A01/liver": "Liver, CT",
    "Dataset143_ThoraxAbdomenCT/CCTH_A01/urinary_bladder": "Urinary bladder, CT",
    "Dataset118_SpinalCord/SCT_errsm30_T1w/spinal_cord": "Spinal cord, MR",
}
ROUND = 1
PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}
TRUTH, MASK = "#2fd04f", "#ff4fd8"


def shown() -> Iterator[tuple[str, Target]]:
    """The objects, in the order of the rows."""
    found = {f"{t.dataset}/{t.case}/{t.label}": t for t in targets(3, fold="learnt")}
    for key, title in SHOWN.items():
        yield title, found[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model("default", 3)
    parameters = preset("fast", 3, model.tuned)
    figure = Figure((14, 2.9 * len(SHOWN)), facecolor="black")
    FigureCanvasAgg(figure)
    for row, (title, target) in zip(figure.subplots(len(SHOWN), 6), shown(), strict=True):
        crop, truth = Crop(target.image, target.box, model), target.truth[target.box.slices]
        pair = []
        for full_resolution in (False, True):
            after = masks(model, crop, truth, parameters.but(full_resolution=full_resolution))
            pair.append(next(islice(after, ROUND, None)))
        scores = " and ".join(f"{100 * dice(mask, truth):.0f}" for mask in pair)
        for k, (axis, plane) in enumerate(PLANES.items()):
            index = int(np.argmax(truth.sum(axis=tuple(a for a in range(3) if a != axis))))
            for panel, mask, how in zip(row[2 * k : 2 * k + 2], pair, ("enlarged", "with the last cut"), strict=True):
                draw(panel, target, truth, mask, axis, index)
                panel.set_title(f"{plane}, {how}", color="#aaaaaa", fontsize=8)
        row[0].text(0, 1.2, f"{title}: Dice {scores}", color="white", transform=row[0].transAxes)
    figure.subplots_adjust(0.01, 0.01, 0.99, 0.95, 0.03, 0.35)
    figure.savefig(options.output / "outlines.png", dpi=90, facecolor="black")


def draw(panel: Axes, target: Target, truth: np.ndarray, mask: np.ndarray, axis: int, index: int) -> None:
    """A slice of the box, and two outlines on it."""
    image = target.image.array[target.box.slices]
    low, high = np.percentile(image, (1, 99))
    wide, tall = (side for a, side in enumerate(target.image.spacing) if a != axis)
    shade = {"cmap": "gray", "vmin": low, "vmax": high, "interpolation": "nearest", "origin": "lower"}
    panel.imshow(np.take(image, index, axis).T, aspect=tall / wide, **shade)
    for inside, colour in ((truth, TRUTH), (mask, MASK)):
        plane = np.pad(np.take(inside, index, axis).T.astype(float), 1)
        if plane.any():
            across, up = (np.arange(-1, count - 1) for count in plane.shape[::-1])
            panel.contour(across, up, plane, [0.5], colors=colour, linewidths=1.2)
    panel.axis("off")


if __name__ == "__main__":
    main()
