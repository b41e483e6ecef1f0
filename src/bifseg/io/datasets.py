"""Labelled data sets on disk as cases: nnU-Net's raw folder, a MONAI datalist, or a folder of images and masks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bifseg.errors import BifsegError, DamagedFile, InvalidInput, MissingFile, UnsupportedFile
from bifseg.imaging.image import Image
from bifseg.io.formats import read_endings
from bifseg.io.images import read_image, read_labels

PATIENT = ("patient", "patient_id", "subject")


@dataclass(frozen=True)
class Case:
    """One channel of one labelled scan; its files are read when first asked for, and then kept."""

    dataset: str
    name: str
    patient: str
    image_path: Path
    labels_path: Path

    @cached_property
    def image(self) -> Image:
        return read_image(self.image_path)

    @cached_property
    def labels(self) -> np.ndarray:
        """Integer label map (x, y, z)."""
        return read_labels(self.labels_path, self.image)


@dataclass(frozen=True)
class Dataset:
    """Cases that share their classes.

    ``labels``: class name -> the label values it is made of (several for a region), without the background.
    """

    name: str
    labels: Mapping[str, tuple[int, ...]]
    cases: tuple[Case, ...]


def open_dataset(path: str | Path, channel: int = 0) -> Dataset:
    """The cases of a labelled data set, listed and not yet read; ``channel`` picks one image of each case.

    - nnU-Net's raw folder: ``dataset.json``, ``imagesTr/CASE_0000.nii.gz`` and ``labelsTr/CASE.nii.gz``, or another
      ``file_ending``; the patient from an extra ``cases[CASE]["patient"]`` (or ``patient_id``, ``subject``).
    - A MONAI datalist, a JSON file: ``{"training": [{"image": ..., "label": ..., "patient": ...}], "labels": ...}``;
      paths are absolute, or relative to the file's folder; ``image`` may list one file per channel.
    - A folder with ``images/`` and ``masks/`` (or ``labels/``), files of one name in any readable format, and perhaps
      ``labels.json``, ``{NAME: VALUE}``.

    A case whose patient is not named is its own patient. Classes without a name are "label 1" and so on, found when
    they are first asked for, which reads all label maps.

    Raises FileNotFoundError where there is no data set, or an image or label file is missing; InvalidInput for an
    unknown channel and for JSON that is malformed.

    >>> open_dataset("Dataset104_SarcomaMR").labels  # doctest: +SKIP
    {'GTV': (1,)}
    """
    path = Path(path)
    if path.is_file():
        return _datalist(path, channel)
    if not path.is_dir():
        raise MissingFile(f"There is no data set {path}; give a folder, or a datalist in JSON.")
    nnunet, plain = path / "imagesTr", path / "images"
    if nnunet.is_dir() or ((path / "dataset.json").is_file() and not plain.is_dir()):
        return _nnunet(path, channel)
    if plain.is_dir():
        return _plain(path, channel)
    raise MissingFile(
        f"{path} is no data set: it holds neither imagesTr/ and labelsTr/ (nnU-Net) nor images/ and masks/."
    )


def one_patient_per_scan(dataset: Dataset) -> tuple[Dataset, list[str]]:
    """Patients who share an image file, byte for byte, made one; and a sentence on each such group.

    Data sets do hold a scan twice under two names, and a split by patient must not put it on both sides. Folders of
    DICOM slices are not looked into.
    """
    first: dict[str, str] = {}  # content of an image -> the patient it was first seen with
    same = {case.patient: case.patient for case in dataset.cases}  # patient -> who that is
    for case in dataset.cases:
        if case.image_path.is_file():
            content = hashlib.sha256(case.image_path.read_bytes()).hexdigest()
            one, other = same[first.setdefault(content, case.patient)], same[case.patient]
            if one != other:
                same = {patient: one if who == other else who for patient, who in same.items()}
    cases = tuple(replace(case, patient=same[case.patient]) for case in dataset.cases)
    said = [
        f"The patients {known} and {patient} of {dataset.name} share a scan: they count as one."
        for patient, known in same.items()
        if patient != known
    ]
    return replace(dataset, cases=cases), said


def _nnunet(folder: Path, channel: int) -> Dataset:
    description = folder / "dataset.json"
    about = _read_json(description) if description.is_file() else {}
    ending = str(about.get("file_ending", ".nii.gz"))
    pattern = re.compile(rf"([^.].*)_(\d{{4}}){re.escape(ending)}")
    files = sorted((folder / "imagesTr").iterdir()) if (folder / "imagesTr").is_dir() else []
    images = [(match[1], int(match[2]), path) for path in files if (match := pattern.fullmatch(path.name))]
    if not images and "training" in about:  # the Medical Segmentation Decathlon's variety
        return _datalist(description, channel)
    if not images:
        raise MissingFile(f"There are no images imagesTr/*_{channel:04d}{ending} in {folder}.")
    _check_channel(channel, {number for _, number, _ in images}, folder)
    chosen = {name: path for name, number, path in images if number == channel}
    if lacking := {name for name, _, _ in images} - set(chosen):
        raise MissingFile(f"The case {min(lacking)} in {folder} has no image of channel {channel}.")
    extra = about.get("cases")
    extra = extra if isinstance(extra, dict) else {}
    cases = [
        Case(folder.absolute().name, name, _patient(extra.get(name), name), path, folder / f"labelsTr/{name}{ending}")
        for name, path in chosen.items()
    ]
    return _dataset(cases, about, description)


def _datalist(file: Path, channel: int) -> Dataset:
    about = _read_json(file)
    entries = about.get("training")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(f'{file} lists no cases; it needs "training": [{{"image": PATH, "label": PATH}}, ...].')
    members: list[tuple[str, str, dict]] = []
    for number, entry in enumerate(entries):
        entry = entry if isinstance(entry, dict) else {}
        images, label = entry.get("image"), entry.get("label")
        images = images if isinstance(images, list) else [images]
        if (
            not images
            or not isinstance(label, str)
            or not all(isinstance(text, str) for text in images)
            or ("" in (*images, label))
        ):
            raise InvalidInput(
                f'{file} is malformed: entry {number} of "training" needs the paths "image" and "label".'
            )
        _check_channel(channel, set(range(len(images))), f"entry {number} of {file}")
        members.append((images[channel], label, entry))
    names = [_stem(Path(image)) for image, _, _ in members]
    if len(set(names)) < len(names):  # scans in folders of their own, under one name
        names = [str(Path(image).with_name(_stem(Path(image)))) for image, _, _ in members]
    cases = [
        Case(file.absolute().parent.name, name, _patient(entry, name), _beside(file, image), _beside(file, label))
        for name, (image, label, entry) in zip(names, members, strict=True)
    ]
    return _dataset(cases, about, file)


def _plain(folder: Path, channel: int) -> Dataset:
    masks_folder = next((folder / name for name in ("masks", "labels") if (folder / name).is_dir()), None)
    if masks_folder is None:
        raise MissingFile(f"{folder} holds images/, but neither masks/ nor labels/ beside it.")
    _check_channel(channel, {0}, folder)
    images, masks = _by_stem(folder / "images"), _by_stem(masks_folder)
    if not images.keys() & masks.keys():
        raise MissingFile(
            f"There are no pairs in {folder}: none of {len(images)} files in images/ has the name of one of "
            f"{len(masks)} in {masks_folder.name}/."
        )
    cases = [
        Case(folder.absolute().name, stem, stem, path, masks.get(stem, masks_folder / path.name))
        for stem, path in images.items()
    ]
    names = folder / "labels.json"
    return _dataset(cases, {"labels": _read_json(names)} if names.is_file() else {}, names)


def _dataset(cases: list[Case], about: dict, source: Path) -> Dataset:
    for kind, paths in (("image", [c.image_path for c in cases]), ("label file", [c.labels_path for c in cases])):
        if missing := [path for path in paths if not path.exists()]:
            raise MissingFile(
                f"{len(missing)} of {len(cases)} cases have no {kind}: the first that is missing is {missing[0]}."
            )
    labels = _classes(about["labels"], source) if "labels" in about else _Found(tuple(cases))
    return Dataset(cases[0].dataset, labels, tuple(cases))


class _Found(Mapping):
    """Classes named after the values in the label maps of some cases; reads them when first asked."""

    def __init__(self, cases: tuple[Case, ...]) -> None:
        self._cases = cases

    @cached_property
    def _values(self) -> dict[str, tuple[int, ...]]:
        values: set[float] = set()
        for case in self._cases:
            try:
                values |= set(np.unique(read_image(case.labels_path).array).tolist())
            except (BifsegError, OSError):
                continue  # whoever wants this case's labels is told
        return {f"label {int(value)}": (int(value),) for value in sorted(values - {0}) if value == int(value)}

    def __getitem__(self, name: str) -> tuple[int, ...]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _classes(labels: object, source: Path) -> dict[str, tuple[int, ...]]:
    """Class names and their values, of either {"liver": 1}, {"liver": [1, 2]} or {"1": "liver"}."""
    classes: dict[str, tuple[int, ...]] = {}
    entries: list[tuple[str, Any]] = list(labels.items()) if isinstance(labels, dict) else [("", labels)]
    for name, value in entries:
        if isinstance(value, str) and re.fullmatch(r"-?\d+", name):
            name, value = value, int(name)
        values = value if isinstance(value, list) and value else [value]
        if not name or not all(type(v) is int for v in values):
            raise DamagedFile(source, f"is malformed: its labels must be NAME: VALUE, not {name!r}: {value!r}.")
        # "ignore" is what nnU-Net calls voxels that nobody labelled.
        if set(values) != {0} and name != "ignore":
            classes[name] = tuple(dict.fromkeys(classes.get(name, ()) + tuple(values)))
    return classes


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFile(path, f"is not JSON, or damaged: {error}.") from None
    if not isinstance(content, dict):
        raise DamagedFile(path, "is malformed: it must hold one JSON object, {...}.")
    return content


def _check_channel(channel: int, known: set[int], where: object) -> None:
    if channel not in known:
        raise InvalidInput(f"There is no channel {channel} in {where}; there is {', '.join(map(str, sorted(known)))}.")


def _patient(about: object, name: str) -> str:
    about = about if isinstance(about, dict) else {}
    return next((str(about[key]) for key in PATIENT if about.get(key) not in (None, "")), name)


def _beside(file: Path, text: str) -> Path:
    """A path that a JSON file gives: absolute, or below the file's folder."""
    path = Path(text)
    if ".." in path.parts and not path.is_absolute():
        raise UnsupportedFile(file, f"leads out of its folder to {text!r}; such a path must be absolute.")
    return file.parent / path


def _stem(path: Path) -> str:
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def _by_stem(folder: Path) -> dict[str, Path]:
    """Images, and folders of DICOM slices, by name without suffix, sorted."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not (path.is_dir() or path.name.lower().endswith(read_endings())):
            continue
        stem = path.name if path.is_dir() else _stem(path)
        if stem in files:
            raise InvalidInput(f"{folder} holds both {files[stem].name} and {path.name}; a case has one file there.")
        files[stem] = path
    return files
