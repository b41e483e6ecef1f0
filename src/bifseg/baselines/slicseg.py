"""SlicSeg (Wang et al., Medical Image Analysis 34, 2016): a random forest learns from the scribbles, a cut smooths."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bifseg.baselines.scribbled import Scribbled
from bifseg.errors import MissingExtra
from bifseg.method.energy import Energy
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

SCALES = (1.0, 2.0, 4.0)  # of the features, in pixels of the working grid; their window is 9 pixels wide
SURE = 0.02  # how close to 0 and 1 a forest's vote counts: a few hundred scribbled pixels cannot tell more
DRAW = 5000  # scribbled pixels of one label that are learnt from, at most


class SlicSeg(Scribbled):
    """A forest on local features of the scribbled pixels gives a probability, and the exact cut of Eq. 1 a mask.

    ``trees`` and ``depth`` of the forest; ``lam`` (2D, 3D) and ``sigma`` of the pairwise term. Needs scikit-learn:
    ``pip install "bifseg[evaluation]"``.

    Departs from the original: (1) instead of growing the forest online, it is fitted anew to all scribbles, which is
    what an online forest approximates; both labels weigh the same, however long their strokes, as in the same authors'
    dynamically balanced forest (MICCAI 2016). (2) Grey levels, gradients per axis and their size, differences of
    Gaussians, and local deviations stand in for grey levels, histograms of gradients, Haar wavelets and co-occurrence
    textures; position is no feature, here as there. (3) In 3D, features, forest and cut are volumetric at once; there,
    slice follows slice. (4) Only parts of the mask that hold a foreground scribble are kept, in its favour: the forest
    knows no places, so without it whatever looks alike is foreground too.
    """

    def __init__(
        self, trees: int = 15, depth: int = 10, lam: tuple[float, float] = (3.0, 3.0), sigma: float = 0.1, seed: int = 0
    ) -> None:
        try:
            import sklearn  # noqa: F401
        except ImportError:
            raise MissingExtra('SlicSeg needs scikit-learn: pip install "bifseg[evaluation]".') from None
        self.trees, self.depth, self.lam, self.sigma, self.seed = trees, depth, lam, sigma, seed

    def _begin(self, grid: Grid) -> None:
        self._features = local_features(grid.image01)
        dimension = grid.image01.ndim
        self._energy = Energy(
            grid.image01, lam=self.lam[dimension - 2], sigma=self.sigma, neighbours=8 if dimension == 2 else 6
        )

    def _segment(self, grid: Grid, scribbles: np.ndarray) -> np.ndarray:
        from sklearn.ensemble import RandomForestClassifier

        flat, rng = scribbles.ravel(), np.random.default_rng(self.seed)
        pixels = [np.flatnonzero(flat == label) for label in (FOREGROUND, BACKGROUND)]
        learnt = np.concatenate([rng.choice(k, DRAW, replace=False) if len(k) > DRAW else k for k in pixels])
        forest = RandomForestClassifier(
            self.trees, max_depth=self.depth, class_weight="balanced", random_state=self.seed, n_jobs=1
        )
        forest.fit(self._features[learnt], flat[learnt] == FOREGROUND)
        probability = np.clip(forest.predict_proba(self._features)[:, 1], SURE, 1 - SURE).reshape(grid.shape)
        return with_foreground_scribble(self._energy.label_update(probability, scribbles), scribbles)


def local_features(image01: np.ndarray) -> np.ndarray:
    """What a pixel and its surroundings look like: float32 (pixels, features), in C order of the image."""
    image = np.asarray(image01, np.float32)
    features, before = [image], image
    for scale in SCALES:
        smooth = ndimage.gaussian_filter(image, scale, mode="nearest")
        squares = ndimage.gaussian_filter(image**2, scale, mode="nearest")
        gradients = [
            ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis=axis, mode="nearest") for axis in range(image.ndim)
        ]
        features += [
            smooth,
            before - smooth,
            np.sqrt(np.maximum(squares - smooth**2, 0)),
            *gradients,
            np.sqrt(sum(g**2 for g in gradients)),
        ]
        before = smooth
    return np.stack([f.ravel() for f in features], axis=1)


def with_foreground_scribble(mask: np.ndarray, scribbles: np.ndarray) -> np.ndarray:
    """The connected parts of a mask that hold a foreground scribble: bool."""
    numbered, count = ndimage.label(mask)
    keep = np.zeros(count + 1, bool)
    keep[np.unique(numbered[scribbles == FOREGROUND])] = True
    keep[0] = False
    return keep[numbered]
