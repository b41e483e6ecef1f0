"""What a run may look at: own labelled scans, or all that the shipped networks learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bifseg.io.datasets import Dataset, open_dataset
from bifseg.training.instances import Instance, load_instances, split
from bifseg.training.public_sets import SOURCES, cited
from bifseg.training.sources import EvenSources, Sources
from bifseg.training.synthetic.anatomy import LabelMap, read_label_maps

SLICES = 24  # per class and scan, in 2D: neighbouring slices teach the same
LABEL_MAPS = ("Dataset130_SynthSegLabels", "Dataset115_BodyCT", "Dataset116_BodyMR")
PERMISSIVE = (
    "Dataset104_SarcomaMR", "Dataset105_SarcomaCT", "Dataset115_BodyCT", "Dataset116_BodyMR", "Dataset118_SpinalCord",
    "Dataset119_BrainTumourT1c",
)  # fmt: skip
"""Scans that weights under Apache-2.0 may learn from, see `public_sets.SOURCES`: the first collection."""
WIDER_MAPS = (
    *LABEL_MAPS, "Dataset141_HeadNeckOARLabels", "Dataset149_VisibleHumanLabels", "Dataset151_HeadGIFLabels",
    "Dataset152_BreastPhantomLabels", "Dataset143_ThoraxAbdomenCT", "Dataset147_PigBrain",
)  # fmt: skip
FLAT = ("Dataset140_NerveUS", "Dataset155_Cells2D")  # pictures, without a volume
MOST_LABELS = 256  # of a label map
Read = tuple[list[Instance], list[str]]  # as `load_instances` returns them


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

    def drawn_from(self, wider: bool) -> Sources:
        """What a phase draws from that asks for the wider sources, or does not."""
        return self.wider_sources if wider else self.sources

    @classmethod
    def permissive(cls, root: Path, dimension: int, cache: Path | None = None) -> tuple[TrainingSet, list[str]]:
        """All that the shipped networks learn from, out of a folder of data sets; and what could not be read."""
        maps = _maps(root, LABEL_MAPS)
        return cls._first(maps, _read(root, PERMISSIVE, dimension, cache))

    @classmethod
    def _first(cls, maps: Sequence[LabelMap], read: Mapping[str, Read]) -> tuple[TrainingSet, list[str]]:
        instances = [one for name in PERMISSIVE for one in read[name][0]]
        skipped = [one for name in PERMISSIVE for one in read[name][1]]
        scans = cited({name: SOURCES[name] for name in PERMISSIVE})
        origin = f"synthetic anatomy; label maps of SynthSeg (Apache-2.0, Billot et al. 2023); scans of {scans}"
        return cls(Sources(maps, instances), origin=origin), skipped

    @classmethod
    def wider(cls, root: Path, dimension: int, cache: Path | None = None) -> tuple[TrainingSet, list[str]]:
        """The same, and beside it the second collection, too: all of `public_sets.SOURCES`."""
        maps, all_maps = _maps(root, LABEL_MAPS), _maps(root, WIDER_MAPS, MOST_LABELS)
        names = [name for name, one in SOURCES.items() if one.images and (dimension == 2 or name not in FLAT)]
        read = _read(root, names, dimension, cache)
        first, skipped = cls._first(maps, read)
        skipped += [one for objects, unread in read.values() for one in unread if one not in skipped]
        # Cells are numbered: they are one class.
        instances = [
            replace(one, label="object") if one.label.startswith("object_") else one
            for objects, unread in read.values() for one in objects
        ]  # fmt: skip
        origin = f"synthetic anatomy; label maps and scans of {cited(SOURCES)}"
        return replace(first, wider_sources=EvenSources(all_maps, instances), origin=origin), skipped

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


def _maps(root: Path, names: Iterable[str], most: int | None = None) -> list[LabelMap]:
    """Of all these sets, as `read_label_maps`."""
    return [one for name in names for one in read_label_maps(root / name, most)]


def _read(root: Path, names: Iterable[str], dimension: int, cache: Path | None) -> dict[str, Read]:
    """Of every data set its objects, and what of it could not be read."""
    return {n: load_instances(open_dataset(root / n), dimension, most=SLICES, cache=cache) for n in names}
