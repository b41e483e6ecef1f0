"""A sheet of what the networks learn from: ``python -m benchmarks.models.samples DATA -o docs/pictures/samples.png``.

One row per source; in 3D the slice that shows most of the target. The outline is the target, the frame is the box.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from bifseg.training.sources import Mixture
from bifseg.training.training_set import TrainingSet

COLUMNS = 9
ROWS = {
    "random scenes": Mixture(),
    "twins, variety": Mixture(twins=1.0, variety=1.0),
    "rings, nested": Mixture(nested=1.0),
    "label maps,\nrandom looks": Mixture(anatomy=1.0),
    "labelled scans,\naugmented": Mixture(scans=1.0),
    "labelled scans": Mixture(scans=1.0, augmented=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets that the shipped networks learn from")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=4)
    arguments = parser.parse_args()
    figure, axes = plt.subplots(2 * len(ROWS), COLUMNS, figsize=(1.5 * COLUMNS, 2.9 * len(ROWS)), facecolor="white")
    for d, dimension in enumerate((2, 3)):
        data, _ = TrainingSet.permissive(arguments.data, dimension)
        for r, (name, mixture) in enumerate(ROWS.items()):
            row = axes[d * len(ROWS) + r]
            for k, axis in enumerate(row):
                key = (arguments.seed, r, k)
                images, labels = data.sources.batch(key, dimension, 128 if dimension == 2 else 48, 1, mixture)
                image, label = images[0, 0], labels[0]
                if dimension == 3:
                    z = int(np.argmax(label.sum((0, 1))))
                    image, label = image[:, :, z], label[:, :, z]
                axis.imshow(image.T, cmap="gray", interpolation="bilinear")
                axis.contour(label.T, [0.5], colors="#ffb000", linewidths=1.2)
                axis.set(xticks=[], yticks=[])
            row[0].set_ylabel(f"{dimension}D\n{name}", fontsize=9, rotation=0, ha="right", va="center")
    figure.tight_layout(pad=0.4)
    figure.savefig(arguments.output, dpi=64, bbox_inches="tight")


if __name__ == "__main__":
    main()
