"""What a run may look at: own labelled scans, or all that the shipped networks learnt from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bifseg.io.datasets import Dataset, open_dataset
from bifseg.io.images import read_image
from bifseg.training.instances import Instance, load_instances, split
from bifseg.training.public_sets import SOURCES
from bifseg.training.sources import EvenSources, Sources
from bifseg.training.synthetic.anatomy import LabelMap, read_label_maps

SLICES = 24  # per class and scan, in 2D: neighbouring slices teach the same
LABEL_MAPS = ("Dataset130_SynthSegLabels", "Dataset115_BodyCT", "Dataset116_BodyMR")
PERMISSIVE = {
    "Dataset104_SarcomaMR": "CC BY 3.0, Vallieres et al. 2015, doi:10.7937/K9/TCIA.2015.7GO2GSKS",
    "Dataset105_SarcomaCT": "CC BY 3.0, Vallieres et al. 2015, doi:10.7937/K9/TCIA.2015.7GO2GSKS",
    "Dataset115_BodyCT": "Apache-2.0, Wasserthal et al. 2023 (automatic labels)",
    "Dataset116_BodyMR": "Apache-2.0, Wasserthal et al. 2023 (automatic labels)",
    "Dataset118_SpinalCord": "MIT, De Leener et al. 2017",
    "Dataset119_BrainTumourT1c": "BSD 3-Clause, van Griethuysen et al. 2017",
}
"""Scans that weights under Apache-2.0 may learn from, with their licences and whom to cite: the first collection."""
WIDER_MAPS = (
    *LABEL_MAPS, "Dataset141_HeadNeckOARLabels", "Dataset149_VisibleHumanLabels", "Dataset151_HeadGIFLabels",
    "Dataset152_BreastPhantomLabels", "Dataset143_ThoraxAbdomenCT", "Dataset147_PigBrain",
)  # fmt: skip
FLAT = ("Dataset140_NerveUS", "Dataset155_Cells2D")  # pictures, without a volume
MOST_LABELS = 256  # of a label map


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """``sources`` to learn from; ``seen`` and ``unseen``, instances of held-back patients to validate on, of classes
    trained on and of others; ``origin`` and ``licence``: what the model card says of it; ``wider_sources``: for phases
    that ask for them."""

    sources: Sources = field(default_factory=Sources)
    seen: Sequence[Instance] = ()
    unseen: Sequence[Instance] = ()
    origin: str = "synthetic anatomy only; no patient data"
    licence: str = "Apache-2.0"
    wider_sources: Sources = field(default_factory=Sources)

    @classmethod
    def permissive(cls, root: Path, dimension: int, cache: Path | None = None) -> tuple[TrainingSet, list[str]]:
        """All that the shipped networks learn from, out of a folder of data sets; and what could not be read."""
        maps = [one for name in LABEL_MAPS for one in read_label_maps(root / name)]
        instances: list[Instance] = []
        skipped: list[str] = []
        for name in PERMISSIVE:
            objects, unread = load_instances(open_dataset(root / name), dimension, most=SLICES, cache=cache)
            instances, skipped = instances + objects, skipped + unread
        scans = "; ".join(f"{name}: {licence}" for name, licence in PERMISSIVE.items())
        origin = f"synthetic anatomy; label maps of SynthSeg (Apache-2.0, Billot et al. 2023); scans of {scans}"
        return cls(Sources(maps, instances), origin=origin), skipped

    @classmethod
    def wider(cls, root: Path, dimension: int, cache: Path | None = None) -> tuple[TrainingSet, list[str]]:
        """The same, and beside it the second collection, too: all of `public_sets.SOURCES`."""
        first, skipped = cls.permissive(root, dimension, cache)
        maps = [one for name in WIDER_MAPS for one in _label_maps(root / name)]
        instances: list[Instance] = []
        for name, source in SOURCES.items():
            if source.images and (dimension == 2 or name not in FLAT):
                objects, unread = load_instances(open_dataset(root / name), dimension, most=SLICES, cache=cache)
                # Cells are numbered: they are one class.
                instances += [replace(o, label="object") if o.label.startswith("object_") else o for o in objects]
                skipped = skipped + [one for one in unread if one not in skipped]
        told = "; ".join(f"{name}: {source.licence}" for name, source in SOURCES.items())
        origin = f"synthetic anatomy; label maps and scans of {told}"
        return replace(first, wider_sources=EvenSources(maps, instances), origin=origin), skipped

    @classmethod
    def labelled(
        cls,
        sets: Iterable[Dataset],
        dimension: int,
        *,
        seen: Sequence[str] = (),
        unseen: Sequence[str] = (),
        components: bool = False,
        slices: int = SLICES,
        held_back: float = 0.2,
        seed: int = 0,
        cache: Path | None = None,
    ) -> tuple[TrainingSet, list[str]]:
        """Own data sets, divided by patient and class; and a sentence on everything that could not be read.

        ``seen``: classes to train on, all but the ``unseen`` when empty. The rest as in `instances.load_instances` and
        `instances.split`, which also say what is raised.
        """
        sets = list(sets)
        instances: list[Instance] = []
        skipped: list[str] = []
        for one in sets:
            classes = [name for name in one.labels if not seen or name in seen or name in unseen]
            if classes:
                objects, unread = load_instances(
                    one, dimension, classes=classes, components=components, most=slices, cache=cache
                )
                instances, skipped = instances + objects, skipped + unread
        there = {one.label for one in instances}
        divided = split(
            instances,
            seen=[name for name in seen if name in there] or None,
            unseen=[name for name in unseen if name in there],
            held_back=held_back, seed=seed,
        )  # fmt: skip
        trained = ", ".join(sorted({one.label for one in divided.train}))
        origin = f"{', '.join(one.name for one in sets)}: {len(divided.train)} objects of {trained}"
        return cls(
            Sources(instances=divided.train), seen=divided.seen, unseen=divided.unseen, origin=origin,
            licence="that of the data it learnt from",
        ), skipped  # fmt: skip


def _label_maps(folder: Path) -> Iterator[LabelMap]:
    """Maps of a set, those that fill their grid among them; maps of more than `MOST_LABELS` labels are left out."""
    names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    for path in sorted((folder / "labelsTr").glob("*.nii.gz")):
        array = read_image(path).array.copy()
        array[0, 0, 0] = 0
        if len(np.unique(array)) <= MOST_LABELS:
            yield LabelMap.of(array, names)
