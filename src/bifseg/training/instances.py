"""One object at a time, cut out of its scan: what a network that knows no classes is trained on."""

from __future__ import annotations

import glob
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from bifseg.errors import BifsegError, InvalidInput
from bifseg.imaging.image import Image, slicing_axis
from bifseg.imaging.resampling import resample, resample_labels, working_shape
from bifseg.io.atomic import write_atomically
from bifseg.io.datasets import Case, Dataset
from bifseg.method.grid import LONGEST_2D, THINNEST

MARGIN = 10  # pixels a side: "a random margin of 0 to 10 pixels" around the object (Wang et al. 2018, II-B)
SMALLEST = {2: 60, 3: 400}  # voxels: below that there is no shape to learn
CACHE_VERSION = 1  # of what `cut` makes: another number, and old cache files are not found again
SAMPLE = 1 << 22  # intensities per data set that statistics look at


@dataclass(frozen=True, eq=False)
class Instance:
    """One object and its surroundings.

    ``label``: its class. ``image``: (x, y) or (x, y, z), up to ``MARGIN`` voxels around the object, in the scan's own
    numbers, at most 32 bits. ``truth``: bool, the same shape. ``inner``: per axis (start, stop) of the tight box around
    the object. ``spacing``: mm per axis.
    """

    dataset: str
    case: str
    patient: str
    label: str
    dimension: int
    image: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    inner: tuple[tuple[int, int], ...]
    spacing: tuple[float, ...]

    def sample(
        self, rng: np.random.Generator, shape: Sequence[int], margin: int = MARGIN
    ) -> tuple[np.ndarray, np.ndarray]:
        """The object in a box as a user might draw it, on the grid ``shape``: image (float32) and truth (bool).

        Each side of the tight box moves out by 0 to ``margin`` voxels, as far as the cut-out goes; intensities are not
        normalised. Raises InvalidInput for a negative margin or a shape of other axes.
        """
        if margin < 0:
            raise InvalidInput(f"The margin is {margin}; it must be 0 or more voxels.")
        sides = []
        for (start, stop), extent in zip(self.inner, self.truth.shape, strict=True):
            low, high = rng.integers(0, margin + 1, 2)
            sides.append(slice(max(0, start - int(low)), min(extent, stop + int(high))))
        where = tuple(sides)
        # Copies: on an unchanged grid, resampling gives the array itself.
        return resample(self.image[where], shape).copy(), resample_labels(self.truth[where], shape).copy()

    def working_shape(self, size: int) -> tuple[int, ...]:
        """The grid that a `Crop` of this object would have: the tight box with half of ``MARGIN`` on every side."""
        sides = [
            min(extent, stop + MARGIN // 2) - max(0, start - MARGIN // 2)
            for (start, stop), extent in zip(self.inner, self.truth.shape, strict=True)
        ]
        longest = size * (LONGEST_2D if self.dimension == 2 else 1)
        return working_shape(sides, self.spacing, size, longest, floor=size // THINNEST)


def cut(
    case: Case,
    labels: Mapping[str, tuple[int, ...]],
    dimension: int,
    *,
    components: bool = False,
    smallest: Mapping[int, int] = SMALLEST,
    most: int | None = None,
) -> Iterator[Instance]:
    """The objects of a case: one per class, or per connected component of it; in 2D, per slice.

    ``labels``: class name -> label values. Slices lie across the axis of the largest spacing (of equal ones the last),
    or across the only axis of one voxel. ``smallest``: dimension -> voxels; what is smaller is left out, and so is what
    is one voxel thick, or cut out of a constant image. ``most``: slices per class in 2D, evenly spread over those
    that show it.

    Raises InvalidInput for another dimension than 2 and 3, and what reading the case raises.
    """
    if dimension not in (2, 3):
        raise InvalidInput(f"The dimension is {dimension}; it must be 2 or 3.")
    image, label_map = case.image, case.labels
    axis = across(image) if dimension == 2 else None
    spacing = tuple(s for k, s in enumerate(image.spacing) if k != axis)
    for name, values in labels.items():
        truth = np.isin(label_map, values)
        pairs = zip(_views(image.array, axis), _views(truth, axis), strict=True)
        found = [(v, objects) for v, mask in pairs if (objects := _objects(mask, components, smallest[dimension]))]
        if dimension == 2 and most is not None and len(found) > most:
            found = [found[(2 * k + 1) * len(found) // (2 * most)] for k in range(most)]
        for view, objects in found:
            for where, mask, inner in objects:
                # Copies in C order: the scan can go, and what comes out of the cache is the same.
                array = np.array(view[where], np.float32 if view.dtype.itemsize == 8 else None, order="C")
                if array.min() < array.max():
                    yield Instance(case.dataset, case.name, case.patient, name, dimension, array, mask, inner, spacing)


def load_instances(
    dataset: Dataset,
    dimension: int,
    *,
    classes: Iterable[str] | None = None,
    components: bool = False,
    most: int | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[list[Instance], list[str]]:
    """All objects of a data set, and a sentence about everything that went wrong on the way.

    A case that cannot be read is left out. ``classes``: those wanted, all by default; ``components`` and ``most`` as in
    `cut`. ``cache``: a folder where the objects of each case are kept for the next time; one that cannot be written is
    done without. ``progress``: called with (cases done, cases in all).

    Raises InvalidInput for an unknown class, where no case holds an object, and where none can be read.
    """
    if dimension not in (2, 3):
        raise InvalidInput(f"The dimension is {dimension}; it must be 2 or 3.")
    if most is not None and most < 1:
        raise InvalidInput(f"At most {most} slices per class are asked for; it must be 1 or more.")
    wanted = list(dataset.labels if classes is None else dict.fromkeys(classes))
    _check_classes(wanted, dataset.labels, dataset.name)
    labels = {name: tuple(int(value) for value in dataset.labels[name]) for name in wanted}
    settings = [CACHE_VERSION, MARGIN, SMALLEST[dimension], dimension, components, most, list(labels.items())]
    instances, sentences, unread, writable = [], [], 0, True
    for done, case in enumerate(dataset.cases, 1):
        entry = _entry(cache, case, settings) if cache is not None else None
        found = _kept(entry, case, dimension) if entry is not None else None
        if found is None:
            case = replace(case)  # a new one, whose arrays are gone after this turn
            try:
                case.image.check_scan()
                found = list(cut(case, labels, dimension, components=components, most=most))
            except (BifsegError, OSError) as error:
                sentences.append(f"The case {case.name} is left out: {str(error).rstrip('.')}.")
                unread += 1
            if found is not None and entry is not None and writable:
                try:
                    entry.parent.mkdir(parents=True, exist_ok=True)
                    write_atomically(entry, _packed(found, dimension))
                except OSError as error:
                    sentences.append(
                        f"Nothing more is kept in the cache {cache}: {str(error.strerror or error).rstrip('.')}."
                    )
                    writable = False
        instances += found or []
        if progress is not None:
            progress(done, len(dataset.cases))
    if unread == len(dataset.cases):
        raise InvalidInput(
            f"None of the {unread} cases of {dataset.name} can be read. {' '.join(sentences[:1])}".strip()
        )
    if not instances:
        kind = f"with {SMALLEST[2]} pixels in a slice" if dimension == 2 else f"of {SMALLEST[3]} voxels in 3D"
        raise InvalidInput(
            f"No case of {dataset.name} holds an object {kind} or more of {', '.join(wanted) or 'any class'}"
            + (f"; {unread} cases could not be read." if unread else ".")
        )
    return instances, sentences


@dataclass
class Split:
    """Objects to train on, and of other patients: ``seen``, objects of the same classes; ``unseen``, of others."""

    train: list[Instance]
    seen: list[Instance]
    unseen: list[Instance]


def split(
    instances: Sequence[Instance],
    *,
    seen: Iterable[str] | None = None,
    unseen: Iterable[str] = (),
    held_back: float = 0.2,
    seed: int = 0,
) -> Split:
    """Objects divided by patient and class: no patient is on both sides, and no unseen class is trained on.

    ``seen``: classes to train on, by default all but the ``unseen``. ``held_back``: share of the patients to validate
    on, chosen by a hash of seed and name; at least one of two or more, never all; 0 for none. A single patient is for
    training. Raises InvalidInput for a class that is unknown or in both, a share outside [0, 1), or nothing to train
    on.
    """
    known = list(dict.fromkeys(instance.label for instance in instances))
    unseen = set(unseen)
    seen = set(known) - unseen if seen is None else set(seen)
    _check_classes(sorted(seen | unseen), known, "these instances")
    if both := sorted(seen & unseen):
        raise InvalidInput(f"The class {both[0]!r} is both seen and unseen; it can be one of them.")
    held, others = hold_back({instance.patient for instance in instances}, held_back, seed)
    result = Split(
        [i for i in instances if i.label in seen and i.patient not in held],
        [i for i in instances if i.label in seen and i.patient in held],
        [i for i in instances if i.label in unseen and i.patient in held],
    )
    if not result.train:
        raise InvalidInput(
            f"Nothing is left to train on: of {len(held) + len(others)} patients {len(held)} are held back, and the "
            f"others have no object of {', '.join(sorted(seen)) or 'any class'}."
        )
    return result


def hold_back(patients: Iterable[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """The patients held back and the others, each in an order that a hash of ``seed`` and name decides.

    At least one of two or more is held back, never all; none at a ``share`` of 0. InvalidInput outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InvalidInput(f"The share of patients held back is {share}; it must be at least 0 and below 1.")
    order = sorted(patients, key=lambda patient: hashlib.sha256(json.dumps([seed, patient]).encode()).digest())
    count = min(max(1, round(share * len(order))), len(order) - 1) if share and order else 0
    return order[:count], order[count:]


def intensity_statistics(instances: Iterable[Instance]) -> dict:
    """What intensities cut-outs have, per data set, ready for JSON.

    ``{dataset: {"n": cut-outs, "mean", "sd", "percentiles": {"0.5", "50", "99.5"}}}``, of a regular sample where there
    are more than ``SAMPLE`` voxels.
    """
    groups: dict[str, list[np.ndarray]] = {}
    for instance in instances:
        groups.setdefault(instance.dataset, []).append(instance.image)
    result = {}
    for name, images in groups.items():
        step = -(-sum(image.size for image in images) // SAMPLE)
        values = np.concatenate([image.ravel()[::step] for image in images]).astype(float)
        percentiles = np.percentile(values, (0.5, 50, 99.5)).tolist()
        result[name] = {
            "n": len(images),
            "mean": float(values.mean()),
            "sd": float(values.std()),
            "percentiles": dict(zip(("0.5", "50", "99.5"), percentiles, strict=True)),
        }
    return result


def _check_classes(wanted: Sequence[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    if strange := [name for name in wanted if name not in known]:
        raise InvalidInput(f"There is no class {strange[0]!r} in {where}; there is {', '.join(known) or 'none'}.")


def across(image: Image) -> int:
    """The axis that 2D slices of an image lie across."""
    single = [axis for axis in range(3) if image.shape[axis] == 1]
    return single[-1] if single else slicing_axis(image.spacing)


def _views(array: np.ndarray, axis: int | None) -> Iterable[np.ndarray]:
    return [array] if axis is None else np.moveaxis(array, axis, 0)


def _objects(
    mask: np.ndarray, components: bool, smallest: int
) -> list[tuple[tuple[slice, ...], np.ndarray, tuple[tuple[int, int], ...]]]:
    """Per object in a mask: where to cut, its part of the mask there, and its tight box in the cut-out."""
    if np.count_nonzero(mask) < smallest:
        return []
    numbered = ndimage.label(mask)[0] if components else mask.view(np.uint8)
    found = []
    for number, tight in enumerate(ndimage.find_objects(numbered), 1):
        if min(s.stop - s.start for s in tight) < 2 or np.count_nonzero(numbered[tight] == number) < smallest:
            continue
        wide = tuple(
            slice(max(0, s.start - MARGIN), min(n, s.stop + MARGIN)) for s, n in zip(tight, mask.shape, strict=True)
        )
        inner = tuple((t.start - w.start, t.stop - w.start) for t, w in zip(tight, wide, strict=True))
        found.append((wide, np.array(numbered[wide] == number, order="C"), inner))
    return found


def _entry(cache: Path, case: Case, settings: list) -> Path | None:
    """The cache file of a case: its name is a hash of both files' content and of the settings; None without files."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    try:
        for path in (case.image_path, case.labels_path):
            for part in _parts(path):
                content = hashlib.sha256()
                with part.open("rb") as file:
                    while chunk := file.read(1 << 20):
                        content.update(chunk)
                digest.update(content.digest())
            digest.update(b"next")
    except OSError:
        return None
    return Path(cache) / f"{digest.hexdigest()}.npz"


def _parts(path: Path) -> list[Path]:
    """The files of an image: the slices in a DICOM folder; with a header, those beside it that may hold its voxels."""
    if path.is_dir():
        return sorted(part for part in path.rglob("*") if part.is_file())
    if path.suffix.lower() in (".mhd", ".nrrd"):
        return sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
    return [path]


def _packed(instances: list[Instance], dimension: int) -> bytes:
    arrays: dict[str, Any] = {
        "label": np.array([i.label for i in instances], np.str_),
        "inner": np.array([i.inner for i in instances], np.int64).reshape(-1, dimension, 2),
        "spacing": np.array([i.spacing for i in instances], np.float64).reshape(-1, dimension),
    }
    for k, instance in enumerate(instances):
        arrays |= {f"image{k}": instance.image, f"truth{k}": instance.truth}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _kept(entry: Path, case: Case, dimension: int) -> list[Instance] | None:
    """The objects in a cache file; None where there is none, or whatever is wrong with it: it is made anew."""
    try:
        with np.load(io.BytesIO(entry.read_bytes()), allow_pickle=False) as file:
            columns = zip(file["label"].tolist(), file["inner"].tolist(), file["spacing"].tolist(), strict=True)
            return [
                Instance(
                    case.dataset, case.name, case.patient, label, dimension, file[f"image{k}"], file[f"truth{k}"],
                    tuple((start, stop) for start, stop in inner), tuple(spacing),
                )
                for k, (label, inner, spacing) in enumerate(columns)
            ]  # fmt: skip
    except Exception:
        return None
