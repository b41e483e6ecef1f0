"""What a network learns from, batch by batch: random scenes, label maps with random looks, labelled scans.

Every batch is a function of (seed, step, rank) and the sources, so that a run can resume anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bifseg.imaging.intensity import normalise
from bifseg.training.instances import MARGIN, Instance
from bifseg.training.synthetic.anatomy import LabelMap, anatomy_sample
from bifseg.training.synthetic.look import augment
from bifseg.training.synthetic.sample import Sample, training_sample

MOST_TIMES = 8  # that a class is drawn for one of a set of 64 classes
CANDIDATES = 24  # instances looked at per one taken: its batch has one shape, and nobody likes to be squeezed


@dataclass(frozen=True)
class Mixture:
    """How often each source is drawn from; what is left over comes from random scenes.

    ``anatomy``, ``scans``: shares. ``twins``, ``variety``, ``nested``, ``wide``: as in
    `synthetic.sample.training_sample`. ``snug``: the largest margin around an object in a scan, in units of its extent,
    where that is less than ten voxels; 0: ten voxels. ``augmented``: whether scans are shown with another look.
    """

    anatomy: float = 0.0
    scans: float = 0.0
    twins: float = 0.0
    variety: float = 0.0
    nested: float = 0.0
    wide: float = 0.4
    snug: float = 0.0
    augmented: bool = True


@dataclass(frozen=True, eq=False)
class Sources:
    """The data of a run: label maps and instances of labelled scans, either of which may be empty."""

    maps: Sequence[LabelMap] = ()
    instances: Sequence[Instance] = ()

    @cached_property
    def classes(self) -> list[list[Instance]]:
        """Instances by data set and class: every class is drawn as often as any other."""
        found: dict[tuple[str, str], list[Instance]] = {}
        for one in self.instances:
            found.setdefault((one.dataset, one.label), []).append(one)
        return list(found.values())

    def batch(
        self, key: Sequence[int], dimension: int, size: int, count: int, mixture: Mixture
    ) -> tuple[np.ndarray, np.ndarray]:
        """Boxes: images (count, 1, ...) float32 normalised as at test time, labels (count, ...) int64."""
        rng = np.random.default_rng(key)
        shape = crop_shape(rng, dimension, size)
        scans = rng.binomial(count, mixture.scans) if mixture.scans else 0
        samples: list[Sample] = []
        if scans:
            shape, samples = self._scans(rng, size, scans, mixture)
        while len(samples) < count:
            if mixture.anatomy and rng.random() < mixture.anatomy / (1 - mixture.scans):
                samples.append(anatomy_sample(rng, self.maps, shape, mixture.wide))
            else:
                samples.append(
                    training_sample(rng, shape, mixture.twins, mixture.variety, mixture.nested, mixture.wide)
                )
        images = np.stack([normalise(image) for image, _ in samples])[:, None]
        return images, np.stack([target for _, target in samples]).astype(np.int64)

    def _scans(
        self, rng: np.random.Generator, size: int, count: int, mixture: Mixture
    ) -> tuple[tuple[int, ...], list[Sample]]:
        """``count`` instances of nearly the same shape, each turned and mirrored at random."""
        kinds = [self.classes[k] for k in rng.integers(len(self.classes), size=CANDIDATES * count)]
        drawn = [kind[rng.integers(len(kind))] for kind in kinds]
        turns = [rng.permutation(one.dimension) for one in drawn]
        shapes = np.array([np.take(one.working_shape(size), turn) for one, turn in zip(drawn, turns, strict=True)])
        shape = tuple(int(n) for n in shapes[0])
        alike = np.argsort(np.abs(np.log(shapes / shapes[0])).max(1), kind="stable")[:count]
        samples: list[Sample] = []
        for k in alike:
            turn = turns[k]
            extent = np.mean([stop - start for start, stop in drawn[k].inner])
            margin = min(MARGIN, round(mixture.snug * extent)) if mixture.snug else MARGIN
            image, target = drawn[k].sample(rng, tuple(shape[a] for a in np.argsort(turn)), margin)
            flip = tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], len(turn)))
            image, target = image.transpose(turn)[flip], target.transpose(turn)[flip]
            samples.append((augment(rng, image) if mixture.augmented else image, target))
        return shape, samples


class EvenSources(Sources):
    """Sources of many sets: a set is drawn by the square root of how many classes it has, not by their number."""

    @cached_property
    def classes(self) -> list[list[Instance]]:
        """As there, a class of a small set several times."""
        single = super().classes
        count = Counter(own[0].dataset for own in single)
        return [own for own in single for _ in range(max(1, round(MOST_TIMES / count[own[0].dataset] ** 0.5)))]


def crop_shape(rng: np.random.Generator, dimension: int, size: int) -> tuple[int, ...]:
    """A random working grid: smaller side ``size`` in 2D, largest side ``size`` in 3D, as the paper resizes crops."""
    if dimension == 2:
        sides = [size, int(size * rng.choice([1.0, 1.0, 1.15, 1.3, 1.6]))]
    else:
        sides = [size, *(int(size * f) for f in rng.choice([0.5, 0.65, 0.8, 1.0], 2))]
    return tuple(int(n) for n in rng.permutation(sides))
