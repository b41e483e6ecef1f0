"""Which public data sets weights under Apache-2.0 may learn from, and how each becomes volumes of a `bank`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from bifseg.imaging.image import Image
from bifseg.io.datasets import open_dataset
from bifseg.io.images import read_image
from bifseg.training.bank import REGIONS, Volume, scenes, volume
from bifseg.training.synthetic.anatomy import LabelMap


@dataclass(frozen=True)
class Source:
    """A data set: its licence and whom to cite; ``images``: whether it has scans beside its label maps; ``alike``:
    whether its structures are all of one kind, as cells are, whatever their numbers; ``aside``: whether networks in 3D
    do not learn from it, so that they can be chosen by it."""

    licence: str
    images: bool = True
    channels: int = 1
    alike: bool = False
    aside: bool = False
    regions: bool = True  # whether parts of its scans that nobody labelled are structures to learn, too


SOURCES = {
    "Dataset130_SynthSegLabels": Source("Apache-2.0, Billot et al. 2023", images=False),
    "Dataset141_HeadNeckOARLabels": Source("CC BY 4.0, Nikolov et al. 2021", images=False),
    "Dataset149_VisibleHumanLabels": Source("CC BY 4.0, Boerner et al. 2021", images=False),
    "Dataset151_HeadGIFLabels": Source("MIT, Perez-Garcia et al. 2021", images=False),
    "Dataset152_BreastPhantomLabels": Source("public domain, Badano et al. 2018", images=False),
    "Dataset104_SarcomaMR": Source("CC BY 3.0, Vallieres et al. 2015, doi:10.7937/K9/TCIA.2015.7GO2GSKS"),
    "Dataset105_SarcomaCT": Source("CC BY 3.0, Vallieres et al. 2015, doi:10.7937/K9/TCIA.2015.7GO2GSKS"),
    "Dataset115_BodyCT": Source("Apache-2.0, Wasserthal et al. 2023 (automatic labels)"),
    "Dataset116_BodyMR": Source("Apache-2.0, Wasserthal et al. 2023 (automatic labels)"),
    "Dataset118_SpinalCord": Source("MIT, De Leener et al. 2017"),
    "Dataset119_BrainTumourT1c": Source("BSD 3-Clause, van Griethuysen et al. 2017"),
    "Dataset140_NerveUS": Source("CC BY 4.0, Kandaouroff 2025", regions=False),
    "Dataset142_ReMIND": Source("CC BY 4.0, Juvekar et al. 2023", channels=2, aside=True),
    "Dataset143_ThoraxAbdomenCT": Source("CC BY 4.0, Mayr et al. 2023 (automatic labels)", aside=True),
    "Dataset144_FetalStacks": Source("CC0, Tourbier et al. 2015", aside=True),
    "Dataset146_OvuleMicroscopy": Source("MIT, Wolny et al. 2020; Vijayan et al. 2024", alike=True, aside=True),
    "Dataset147_PigBrain": Source("MIT, Benn et al. 2020", aside=True),
    "Dataset155_Cells2D": Source("CC BY 4.0, Legland et al. 2016; CC0, Caicedo et al. 2019", alike=True, regions=False),
}
"""What shipped weights learn from. Sets that results are reported on are not among them, nor those that settings were
chosen on, but for what is aside in 3D."""
LIMITS = "research use, not a medical device; results on real images: docs/explanation/accuracy.md"  # of any weights


def learnt_from(volumes: Iterable[Volume], dimension: int) -> list[Volume]:
    """Those that networks of a dimension learn from: in 3D without the sets that they are chosen by."""
    aside = {name for name, source in SOURCES.items() if source.aside}
    return [one for one in volumes if dimension == 2 or one.dataset not in aside]


def cited(sources: Mapping[str, Source]) -> str:
    """Every set with its licence and whom to cite, as a model card has it."""
    return "; ".join(f"{name}: {source.licence}" for name, source in sources.items())


def origin(volumes: Iterable[Volume]) -> tuple[str, str]:
    """What a model card says of them, and the licence under which weights that learnt from them may be shipped."""
    names = {one.dataset for one in volumes} - {"scenes"}
    unknown = sorted(names - set(SOURCES))
    known = cited({name: SOURCES[name] for name in sorted(names & set(SOURCES))})
    told = "; ".join(filter(None, (known, *unknown)))
    licence = "unknown" if unknown else "Apache-2.0"
    return f"synthetic anatomy; label maps and scans of {told}" if told else "synthetic anatomy only", licence


def permissive_volumes(root: Path, scene_count: int = 300) -> Iterator[Volume]:
    """Every volume that a shipped network learns from, out of a folder of data sets."""
    for name, source in SOURCES.items():
        folder = root / name
        names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
        if not source.images:
            for path in sorted((folder / "labelsTr").glob("*.nii.gz")):
                image = read_image(path)
                array = image.array.copy()
                array[0, 0, 0] = 0  # a map that fills its grid has a background all the same
                one = LabelMap.of(array, names)
                made = volume(name, one.labels, image.spacing, one.kin)
                if made is not None:
                    yield made
            continue
        for channel in range(source.channels):
            for case in open_dataset(folder, channel).cases:
                yield from _scan(name, case.image, case.labels, names, source)
    yield from scenes(scene_count)


def _scan(name: str, image: Image, labels: np.ndarray, names: dict[str, int], source: Source) -> Iterator[Volume]:
    found = LabelMap.of(np.pad(labels, 1), names)
    inside = ndimage.find_objects((np.pad(labels, 1) != 0).astype(np.uint8))[0]  # what LabelMap cuts away
    whole = np.zeros(np.add(labels.shape, 2), np.uint8)
    whole[inside] = found.labels
    whole = whole[1:-1, 1:-1, 1:-1]
    kin = np.minimum(found.kin, 1) if source.alike else found.kin
    made = volume(name, whole, image.spacing, kin, image.array)
    if made is not None:
        yield made
    if source.regions:
        for kind, regions in enumerate(_regions(image.array)):
            made = volume(name + REGIONS, regions, image.spacing, np.arange(regions.max() + 1), image.array, kind)
            if made is not None:
                yield made


def _regions(array: np.ndarray) -> Iterator[np.ndarray]:
    """Parts of a scan that look like one thing, though nobody labelled them: connected bands of intensity at one
    scale (after Wong et al., ECCV 2024, who learn from superpixels)."""
    soft = ndimage.gaussian_filter(array.astype(np.float32), 1.2)
    body = soft[soft > np.percentile(soft, 20)]
    edges = np.quantile(body, (0.25, 0.5, 0.75, 0.93))
    bands = np.digitize(soft, edges)
    regions, top = np.zeros(array.shape, np.int64), 0
    for band in range(1, len(edges) + 1):
        mask = ndimage.binary_opening(bands == band)
        parts, count = ndimage.label(mask)
        if not count:
            continue
        sizes = np.bincount(parts.ravel())
        keep = np.flatnonzero((sizes >= 600) & (sizes < 0.1 * array.size))
        keep = keep[keep > 0]
        keep = keep[np.argsort(-sizes[keep])][:12]
        for part in keep:
            top += 1
            regions[parts == part] = top
    yield regions
