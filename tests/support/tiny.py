"""Recipes and objects small enough to train on in a second."""

import numpy as np

from bifseg.training.instances import Instance
from bifseg.training.recipes import Phase, Recipe
from bifseg.training.sources import Mixture, Sources
from bifseg.training.synthetic.sample import training_sample

SCENES = Mixture()
TINY = Recipe(
    "multiscale", {"dimension": 2, "widths": [4, 8, 8]}, size=24, batch=2,
    phases=(Phase(5, 3e-3, SCENES, cosine=5), Phase(7, 3e-3, Mixture(twins=0.5), cosine=7, fresh=True)),
)  # fmt: skip
SMALL = {"settings": TINY.settings, "size": 24, "batch": 2}  # what makes a shipped recipe as small


def instances(labels: str, count: int = 4, patient: str = "p") -> list[Instance]:
    made = []
    for k in range(count):
        image, truth = training_sample(np.random.default_rng(k), (30, 34))
        where = np.nonzero(truth)
        inner = tuple((int(w.min()), int(w.max()) + 1) for w in where)
        label = labels[k % len(labels)]
        made.append(Instance("set", f"case {k}", f"{patient}{k}", label, 2, image, truth, inner, (1.0, 1.0)))
    return made


class Alike(Sources):
    """Every process draws the same batch."""

    def batch(self, key, *rest):
        return super().batch(key[:2], *rest)
