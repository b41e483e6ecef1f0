"""Does a shipped network fit what it was trained on? ``python -m benchmarks.models.fit DATA --model multiscale3d``.

Dice on the labelled scans it learnt from, per data set: from the box alone, on the working grid, without augmentation.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from bifseg.evaluation.metrics import dice
from bifseg.imaging.intensity import normalise
from bifseg.networks.checkpoint import load_model
from bifseg.training.training_set import TrainingSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the data sets that the shipped networks learn from")
    parser.add_argument("--model", default="multiscale3d")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    data, _ = TrainingSet.permissive(arguments.data, model.dimension)
    scores = defaultdict(list)
    for k, one in enumerate(data.sources.instances):
        image, target = one.sample(np.random.default_rng(k), one.working_shape(model.size))
        with torch.inference_mode():
            mask = model.network(torch.from_numpy(normalise(image))[None, None]).argmax(1)[0].numpy()
        scores[one.dataset].append(100 * dice(mask, target))
    for name, found in scores.items():
        print(f"{name:<28} {len(found):4d} objects, Dice {np.mean(found):.1f} ± {np.std(found):.1f} %")


if __name__ == "__main__":
    main()
