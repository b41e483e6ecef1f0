"""Volumes to train on, in one packed file: label maps, random scenes and labelled scans, as bytes.

A structure is a connected component that is large enough; what belongs together (left and right, the cells of one
tissue) has the same kin. Scans are kept in 256 levels that lie where their intensities are, so that soft tissue in CT
keeps its contrast. Nothing here is pickled.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bifseg.errors import InvalidInput
from bifseg.io.atomic import write_atomically
from bifseg.training.synthetic.scene import Scene

MAGIC = b"bifsegbank1\n"
MOST = 239  # structures of a volume: 0 is the background, and 16 numbers above are for what is drawn into it
SMALLEST = {2: 60, 3: 400}  # pixels, voxels: below that there is no shape to learn
POINTS = 24  # voxels kept of each structure, through which slices are laid
LEVELS = 256
REGIONS = " regions"  # after the data set, in a volume's source: parts of its scan that nobody labelled
WHOLE, THICK = 0.9, 0.6  # of a target at least: its largest piece, and what is left of it by an opening


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume to cut boxes from.

    ``labels``: uint8 (x, y, z), 0 nothing, k the k-th structure. ``image``: uint8, indices into ``levels`` (256
    intensities in [0, 1]); None for a label map without a scan. ``spacing``: mm. ``boxes``: int (K, 3, 2), start and
    stop of every structure. ``points``: int (K, POINTS, 3), voxels of it. ``kin``: int (K,). ``source``: its data set,
    with `REGIONS` after it or not.
    """

    source: str
    labels: np.ndarray
    spacing: tuple[float, ...]
    boxes: np.ndarray
    points: np.ndarray
    kin: np.ndarray
    image: np.ndarray | None = None
    levels: np.ndarray | None = None

    @property
    def dimension(self) -> int:
        return 2 if 1 in self.labels.shape else 3

    @property
    def dataset(self) -> str:
        return self.source.removesuffix(REGIONS)


def volume(
    source: str,
    labels: np.ndarray,
    spacing: Sequence[float],
    kin: np.ndarray,
    image: np.ndarray | None = None,
    seed: int = 0,
) -> Volume | None:
    """A volume of a label map (integers from 0 on) and perhaps its scan; None where it holds no structure.

    ``kin``: family of every label, entry 0 unused. Components of a label that are large enough become structures of
    their own; small ones join the largest of their label.
    """
    planar = 1 in labels.shape
    smallest = SMALLEST[2 if planar else 3]
    found, family, count = np.zeros(labels.shape, np.uint8), [], 0
    order = np.argsort(-np.bincount(labels.ravel(), minlength=len(kin))[1:], kind="stable") + 1
    places = ndimage.find_objects(labels)
    for label in order:
        place = places[label - 1] if label <= len(places) else None
        if place is None or count >= MOST:
            continue
        mask = labels[place] == label
        if np.count_nonzero(mask) < smallest:
            continue
        parts, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel())[1:]
        large = np.flatnonzero(sizes >= max(smallest, 0.05 * sizes.max()))
        large = large[np.argsort(-sizes[large], kind="stable")][: MOST - count]
        if not len(large):
            continue
        target = found[place]
        target[mask] = count + 1  # the small ones, too
        for part in large:
            count += 1
            target[parts == part + 1] = count
            family.append(int(kin[label]))
    if not count:
        return None
    rng = np.random.default_rng(seed)
    boxes, points = np.zeros((count, 3, 2), np.int32), np.zeros((count, POINTS, 3), np.int32)
    for k, place in enumerate(ndimage.find_objects(found)):
        inside = np.argwhere(found[place] == k + 1)
        start = np.array([s.start for s in place])
        boxes[k] = [(s.start, s.stop) for s in place]
        points[k] = inside[rng.integers(len(inside), size=POINTS)] + start
    levels = indices = None
    if image is not None:
        levels, indices = _quantised(image)
    return Volume(source, found, tuple(map(float, spacing)), boxes, points, np.array(family, np.int32), indices, levels)


def in_one_piece(mask: np.ndarray) -> bool:
    """Whether somebody might draw a box around it (bool, of any shape): one piece, and none that is made of specks."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())[1:]
    return sizes.max() > WHOLE * sizes.sum() and np.count_nonzero(ndimage.binary_opening(mask)) > THICK * sizes.sum()


def _quantised(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """256 levels, half of them evenly spread, half where the intensities are; and the nearest one of every voxel."""
    image = image.astype(np.float32)
    low, high = np.percentile(image, (0.1, 99.9))
    unit = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    even = np.linspace(0, 1, LEVELS // 2)
    dense = np.quantile(unit.ravel()[:: max(1, unit.size // 200_000)], np.linspace(0, 1, LEVELS // 2))
    levels = np.sort(np.concatenate([even, dense])).astype(np.float32)
    middle = (levels[1:] + levels[:-1]) / 2
    return levels, np.searchsorted(middle, unit).astype(np.uint8)


def scenes(count: int, side: int = 72, seed: int = 0) -> Iterator[Volume]:
    """Random scenes: objects, some with a core or a rim of their own, in a patchwork of tissues."""
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        scene = Scene(rng, 3, objects=int(rng.integers(3, 11)))
        objects, tissue = scene.labels([np.linspace(-1.3, 1.3, side)] * 3)
        labels = objects.astype(np.int64)
        top = len(scene.shapes)
        for label in np.unique(objects[objects > 0]):
            mask = objects == label
            draw = rng.random()
            if draw < 0.25:  # a core
                depth = ndimage.distance_transform_edt(mask)
                top += 1
                labels[depth > rng.uniform(0.3, 0.7) * depth.max()] = top
            elif draw < 0.45:  # a rim
                gap = ndimage.distance_transform_edt(~mask)
                top += 1
                labels[(gap > 0) & (gap < rng.uniform(1.2, 0.12 * side))] = top
            elif draw < 0.6:  # what a shell encloses
                lumen = ndimage.binary_fill_holes(mask) & ~mask
                if lumen.any():
                    top += 1
                    labels[lumen] = top
        labels = np.where(labels > 0, labels, top + 1 + tissue)
        if (one := volume("scenes", labels, (1, 1, 1), np.arange(labels.max() + 1), seed=number)) is not None:
            yield one


def write_bank(path: Path, volumes: Iterable[Volume]) -> int:
    """All volumes in one file, packed; returns its size in bytes."""
    blocks: dict[bytes, bytes] = {}  # by what they hold: two volumes of one scan share its voxels
    heads = []
    for one in volumes:
        arrays = {"labels": one.labels, "boxes": one.boxes, "points": one.points, "kin": one.kin}
        if one.image is not None and one.levels is not None:
            arrays |= {"image": one.image, "levels": one.levels}
        places: dict[str, list] = {}
        for name, array in arrays.items():
            plain = np.ascontiguousarray(array).tobytes()
            key = hashlib.sha256(plain).digest()
            if key not in blocks:
                blocks[key] = lzma.compress(plain, preset=4)
            places[name] = [array.dtype.str, array.shape, list(blocks).index(key)]
        heads.append({"source": one.source, "spacing": one.spacing, "arrays": places})
    header = json.dumps({"volumes": heads, "blocks": [len(block) for block in blocks.values()]}).encode()
    content = MAGIC + struct.pack("<Q", len(header)) + header + b"".join(blocks.values())
    write_atomically(path, content)
    return len(content)


def read_bank(path: Path, threads: int = 4) -> list[Volume]:
    """The volumes of a packed file. InvalidInput for a file of another kind or one that is damaged."""
    content = path.read_bytes()
    try:
        if not content.startswith(MAGIC):
            raise InvalidInput("it does not begin as one")
        (length,) = struct.unpack_from("<Q", content, len(MAGIC))
        at = len(MAGIC) + 8 + length
        header = json.loads(content[at - length : at])
        stops = at + np.cumsum(header["blocks"])
        packed = [content[stop - size : stop] for stop, size in zip(stops, header["blocks"], strict=True)]
        with ThreadPoolExecutor(threads) as pool:
            blocks = list(pool.map(lzma.decompress, packed))
        volumes = []
        for head in header["volumes"]:
            arrays = {
                name: np.frombuffer(blocks[index], kind).reshape(shape)
                for name, (kind, shape, index) in head["arrays"].items()
            }
            volumes.append(Volume(head["source"], spacing=tuple(head["spacing"]), **arrays))
        return volumes
    except (ValueError, KeyError, TypeError, IndexError, struct.error, lzma.LZMAError) as error:
        raise InvalidInput(f"{path} is not a bank of volumes to train on, or it is damaged: {error}.") from None
