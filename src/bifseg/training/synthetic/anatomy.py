"""Label maps of real anatomy shown with random looks: shapes and neighbours are true, contrast is anything.

After SynthSeg (Billot et al., MedIA 86, 2023), with one structure as the target in its box. Needs labels only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput, MissingFile
from bifseg.imaging.resampling import resample
from bifseg.io.images import read_image
from bifseg.training.synthetic.look import Look, acquire, cast_shadows
from bifseg.training.synthetic.sample import Sample, wide_margin
from bifseg.training.synthetic.scene import Field

SMALLEST = {2: 60, 3: 400}  # pixels, voxels
FEW = 24  # labels that a window shows apart; the smaller ones join the background


@dataclass(frozen=True, eq=False)
class LabelMap:
    """``labels``: uint8 (x, y, z), 0 nothing, 1 ... K the structures; ``kin``: (K + 1,) int, structures with the same
    number are a left and a right one."""

    labels: np.ndarray
    kin: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        return np.bincount(self.labels.ravel(), minlength=len(self.kin))

    @cached_property
    def places(self) -> list[tuple[slice, ...]]:
        return ndimage.find_objects(self.labels)

    @classmethod
    def of(cls, array: np.ndarray, names: dict[str, int]) -> LabelMap:
        """From a map with any integer values; paired structures are told by their names."""
        values, labels = np.unique(array, return_inverse=True)
        if values[0] != 0:
            raise InvalidInput("The label map has no background: no voxel of it is 0.")
        called = {value: name for name, value in names.items()}
        stems = [_stem(called.get(int(value), str(value))) for value in values]
        kin = np.array([stems.index(stem) for stem in stems])
        where = ndimage.find_objects((array != 0).astype(np.uint8))[0]
        return cls(labels.reshape(array.shape).astype(np.uint8)[where], kin)


def _stem(name: str) -> str:
    words = name.lower().replace("-", "_").split("_")
    return "_".join(word for word in words if word not in ("l", "r", "lt", "rt", "left", "right"))


def read_label_maps(dataset: Path, most: int | None = None) -> Iterator[LabelMap]:
    """Every map of ``labelsTr`` of an nnU-Net folder; FileNotFoundError where there is none.

    ``most``: leave out those of more values, and take the first voxel for background, so that a map may fill its grid.
    """
    paths = sorted((dataset / "labelsTr").glob("*.nii.gz"))
    if not paths:
        raise MissingFile(f"There are no label maps labelsTr/*.nii.gz in {dataset}.")
    description = dataset / "dataset.json"
    names = json.loads(description.read_text(encoding="utf-8"))["labels"] if description.is_file() else {}
    for path in paths:
        array = read_image(path).array
        if most is not None:
            array = array.copy()
            array[0, 0, 0] = 0
            if len(np.unique(array)) > most:
                continue
        yield LabelMap.of(array, names)


def anatomy_sample(
    rng: np.random.Generator, maps: Sequence[LabelMap], shape: Sequence[int], wide: float = 0.4
) -> Sample:
    """One structure, or two that are one, of one map in its box: (image float32, target bool) of ``shape``.

    ``wide``: the share of samples with margins wider than a quarter of the structure.
    """
    while True:
        found = _window(rng, maps[int(rng.integers(len(maps)))], len(shape), wide)
        if found is not None:
            window, target, kin = found
            objects, truth = _on_grid(window, target, shape)
            if truth.any() and not truth.all():
                break
    used = np.unique(objects[objects > 0])
    compact = np.zeros(objects.max() + 1, int)
    compact[used] = 1 + np.arange(len(used))
    objects = compact[objects]
    goal = len(used) + 1
    objects[truth] = goal
    look = Look.random(rng, goal, 1, goal, twins=bool(rng.random() < 0.25))
    if rng.random() < 0.6:  # left and right look alike
        family = np.append(kin[used], kin[target])
        _, first = np.unique(family[::-1], return_index=True)
        alike = {family[::-1][k]: goal - k for k in first}  # the target's look is the one its twin takes
        source = np.array([0] + [alike[f] for f in family])
        look.objects[:] = look.objects[source]
        look.texture[: goal + 1] = look.texture[source]
    axes = [np.linspace(-1, 1, n) for n in shape]
    image = look.render(rng, axes, objects, np.zeros(shape, np.uint8))
    if rng.random() < 0.05:
        image = cast_shadows(rng, image)
    return acquire(rng, look, image), truth


def _window(
    rng: np.random.Generator, of: LabelMap, dimension: int, wide: float
) -> tuple[np.ndarray, int, np.ndarray] | None:
    """The labels in a box around a random target, whose label, K + 1, replaces what it covers; None if too small."""
    labels, counts, places = of.labels, of.counts, of.places
    if dimension == 2:
        axis = int(rng.integers(3))
        labels = _turned(rng, np.take(labels, rng.integers(labels.shape[axis]), axis))
        counts, places = np.bincount(labels.ravel(), minlength=len(of.kin)), ndimage.find_objects(labels)
    enough = 1 + np.flatnonzero(counts[1:] >= SMALLEST[dimension])
    if not len(enough):
        return None
    label = int(rng.choice(enough))
    place = _wider(places[label - 1], [1.0] * dimension, [1.0] * dimension, labels.shape)
    labels = labels[place]
    mask = labels == label
    if rng.random() < 0.2:  # a structure with what lies within or beside it
        beside = labels[_rim(mask)]
        beside = beside[beside > 0]
        if len(beside):
            mask |= labels == rng.choice(beside)
    if dimension == 2 or rng.random() < 0.5:
        parts, count = ndimage.label(mask)
        if count > 1:
            good = np.flatnonzero(np.bincount(parts.ravel())[1:] >= SMALLEST[dimension])
            if not len(good):
                return None
            mask = parts == 1 + rng.choice(good)
    largest = rng.uniform(0, wide_margin(rng, wide))
    (tight,) = ndimage.find_objects(mask.view(np.uint8))
    low, high = (rng.uniform(0, largest, dimension).tolist() for _ in range(2))
    where = _wider(tight, low, high, labels.shape)
    if min(s.stop - s.start for s in where) < 4:
        return None
    new = len(of.kin)
    window = np.where(mask[where], np.uint8(new), labels[where])
    flips = tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], dimension))
    return window.transpose(rng.permutation(dimension))[flips], new, np.append(of.kin, of.kin[label])


def _wider(
    place: Sequence[slice], low: Sequence[float], high: Sequence[float], shape: Sequence[int]
) -> tuple[slice, ...]:
    """A box moved out on each side by a part of its extent, within ``shape``."""
    return tuple(
        slice(max(0, round(s.start - a * (s.stop - s.start))), min(n, round(s.stop + b * (s.stop - s.start))))
        for s, a, b, n in zip(place, low, high, shape, strict=True)
    )


def _rim(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Voxels one step before or after the mask along its first axis: cheap, and enough to find a neighbour."""
    step = np.diff(mask.astype(np.int8), axis=0)
    before, after = np.argwhere(step == 1), np.argwhere(step == -1)
    after[:, 0] += 1
    return tuple(np.concatenate([before, after]).T)


def _turned(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """A slice turned and bent a little."""
    axes = [np.linspace(-1, 1, n) for n in labels.shape]
    grid = np.stack(np.meshgrid(*(a * n / 2 for a, n in zip(axes, labels.shape, strict=True)), indexing="ij"))
    angle, stretch = rng.uniform(-0.6, 0.6), np.exp(rng.normal(0, 0.1))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * [[stretch], [1 / stretch]]
    bend = rng.uniform(0, 0.03) * max(labels.shape)
    where = np.tensordot(turn, grid, 1) + bend * np.stack([Field.random(rng, 2, 5)(axes) for _ in range(2)])
    where += (np.array(labels.shape).reshape(2, 1, 1) - 1) / 2
    return ndimage.map_coordinates(labels, where, order=0)


def _on_grid(window: np.ndarray, target: int, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and target on the grid: smooth borders where pixels grow, the nearest voxel where they shrink."""
    if max(n / m for n, m in zip(window.shape, shape, strict=True)) > 1.5:
        nearest = [((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(window.shape, shape, strict=True)]
        objects = window[np.ix_(*nearest)]
        return objects, objects == target
    counts = np.bincount(window.ravel(), minlength=target + 1)
    present = np.argsort(-counts, kind="stable")[:FEW]
    present = np.unique(np.append(present[counts[present] > 0], target))
    share = [resample(ndimage.gaussian_filter((window == k).astype(np.float32), 0.7), shape) for k in present]
    objects = present[np.argmax(share, axis=0)]
    return objects, objects == target
