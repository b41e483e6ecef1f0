"""The objects of a data set are loaded as they are in its files, or from the cache, which is never trusted."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ball_scans import NAMES, ball, ball_scan, folder_of, same

from bifseg.imaging.image import Image
from bifseg.io.datasets import Case, Dataset, open_dataset
from bifseg.io.images import write_image
from bifseg.prompts.interaction import Box
from bifseg.training import instances
from bifseg.training.instances import cut, intensity_statistics, load_instances, split


@pytest.mark.parametrize("dimension", [2, 3])
def test_all_objects_of_a_data_set_are_loaded(tmp_path, dimension):
    dataset = open_dataset(folder_of(tmp_path))
    steps = []
    found, sentences = load_instances(dataset, dimension, progress=lambda *step: steps.append(step))
    expected = [i for case in dataset.cases for i in cut(case, dataset.labels, dimension)]
    assert sentences == []
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert len(found) == len(expected) > 5
    assert all(same(*pair) for pair in zip(found, expected, strict=True))
    only, _ = load_instances(dataset, dimension, classes=["lesion"], most=2)
    assert {i.label for i in only} == {"lesion"}
    assert len(only) == (6 if dimension == 2 else 3)


def test_the_scans_are_not_kept_in_memory(tmp_path):
    dataset = open_dataset(folder_of(tmp_path))
    load_instances(dataset, 3)
    assert not any({"image", "labels"} & vars(case).keys() for case in dataset.cases)


def spoil(path: Path, how: str) -> None:
    image, labels = path / "imagesTr/b_0000.nii.gz", path / "labelsTr/b.nii.gz"
    if how == "truncated":
        image.write_bytes(image.read_bytes()[:2000])
    elif how == "another shape":
        write_image(labels, np.ones((5, 5, 5), np.uint8), Image(np.ones((5, 5, 5))))
    elif how == "gone":
        labels.unlink()
    elif how == "constant":
        write_image(image, np.ones((40, 40, 16), np.uint8), Image(np.ones((40, 40, 16)), (1, 1, 2)))


@pytest.mark.parametrize("how", ["truncated", "another shape", "gone", "constant"])
def test_a_case_that_cannot_be_read_is_left_out_with_a_sentence(tmp_path, how):
    dataset = open_dataset(folder_of(tmp_path / "set"))
    spoil(tmp_path / "set", how)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        found, sentences = load_instances(dataset, 3, cache=cache)
        assert {i.case for i in found} == {"a", "c"}
        assert len(sentences) == 1
        assert sentences[0].startswith("The case b is left out: ")
        assert sentences[0].endswith(".")
        assert not sentences[0].endswith("..")


def test_what_cannot_be_loaded_is_refused_in_one_sentence(tmp_path):
    dataset = open_dataset(folder_of(tmp_path / "set"))
    with pytest.raises(ValueError, match=r"no class 'kidney' in set; there is organ, lesion, none\."):
        load_instances(dataset, 3, classes=["organ", "kidney"])
    with pytest.raises(ValueError, match=r"No case of set holds an object of 400 voxels in 3D or more of none\."):
        load_instances(dataset, 3, classes=["none"])
    with pytest.raises(ValueError, match="60 pixels in a slice or more of none"):
        load_instances(dataset, 2, classes=["none"])
    with pytest.raises(ValueError, match="dimension is 1"):
        load_instances(dataset, 1)
    with pytest.raises(ValueError, match="most 0 slices"):
        load_instances(dataset, 2, most=0)
    spoil(tmp_path / "set", "truncated")
    with pytest.raises(ValueError, match="1 cases could not be read"):
        load_instances(dataset, 3, classes=["none"])
    for name in NAMES:
        (tmp_path / f"set/labelsTr/{name}.nii.gz").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"None of the 3 cases of set can be read\. The case a is left out: .* is empty"
    ):
        load_instances(dataset, 3)
    (tmp_path / "set/dataset.json").unlink()
    with pytest.raises(ValueError, match="None of the 3 cases"):
        load_instances(open_dataset(tmp_path / "set"), 3)


@pytest.fixture
def counted(monkeypatch):
    """The names of the cases that were cut, and not found in the cache."""
    names = []

    def counting(case, *args, **kwargs):
        names.append(case.name)
        return cut(case, *args, **kwargs)

    monkeypatch.setattr(instances, "cut", counting)
    return names


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_cache_gives_the_same_objects_without_reading_the_scans(tmp_path, dimension, counted):
    dataset, cache = open_dataset(folder_of(tmp_path / "set")), tmp_path / "deep" / "cache"
    plain, _ = load_instances(dataset, dimension)
    missed, _ = load_instances(dataset, dimension, cache=cache)
    counted.clear()
    moved = replace(dataset, cases=tuple(replace(case, patient="p") for case in dataset.cases))
    hit, sentences = load_instances(moved, dimension, cache=cache)
    assert counted == sentences == []
    assert len(list(cache.iterdir())) == 3
    assert len(hit) == len(missed) == len(plain) > 0
    for one, two, three in zip(plain, missed, hit, strict=True):
        assert same(one, two)
        assert same(replace(one, patient="p"), three)
        shape = three.working_shape(20)
        drawn = [i.sample(np.random.default_rng(0), shape)[0] for i in (one, three)]
        assert np.array_equal(*drawn)


def test_the_cache_forgets_what_changed_and_survives_damage(tmp_path, counted):
    path, cache = folder_of(tmp_path / "set"), tmp_path / "cache"
    dataset = open_dataset(path)
    first, _ = load_instances(dataset, 3, cache=cache)
    counted.clear()
    write_image(path / "labelsTr/b.nii.gz", ball(radius=7), dataset.cases[1].image)
    changed, _ = load_instances(dataset, 3, cache=cache)
    assert counted == ["b"]
    assert [i.truth.sum() for i in changed if i.case == "b"] == [ball(radius=7).sum()]
    for options in ({"classes": ["organ"]}, {"components": True}, {"most": 3}):
        counted.clear()
        load_instances(dataset, 3, cache=cache, **options)
        assert counted == ["a", "b", "c"]
    for damage in (
        lambda b: b"",
        lambda b: b[: len(b) // 2],
        lambda b: b[:200] + b"\xff" * 40 + b[240:],
        lambda b: b"x",
    ):
        for file in cache.iterdir():
            file.write_bytes(damage(file.read_bytes()))
        counted.clear()
        again, sentences = load_instances(dataset, 3, cache=cache)
        assert counted == ["a", "b", "c"]
        assert sentences == []
        assert len(again) == len(changed)
        assert all(same(*pair) for pair in zip(again, changed, strict=True))
    assert len(first) == 6


def test_a_cache_file_is_never_unpickled(tmp_path):
    dataset, cache = open_dataset(folder_of(tmp_path / "set")), tmp_path / "cache"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "exploded",)

    load_instances(dataset, 3, cache=cache)
    for file in cache.iterdir():
        np.savez(file, label=np.array([Bomb()], dtype=object), inner=np.zeros((1, 3, 2)), spacing=np.zeros((1, 3)))
    found, _ = load_instances(dataset, 3, cache=cache)
    assert len(found) == 6
    assert not (tmp_path / "exploded").exists()


def test_training_goes_on_without_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    dataset = open_dataset(folder_of(tmp_path / "set"))
    (tmp_path / "file").write_text("")
    found, sentences = load_instances(dataset, 3, cache=tmp_path / "file")
    assert len(found) == 6
    assert sentences == [f"Nothing more is kept in the cache {tmp_path / 'file'}: File exists."]

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    found, sentences = load_instances(dataset, 3, cache=tmp_path / "cache")
    assert len(found) == 6
    assert len(sentences) == 1
    assert "No space left on device" in sentences[0]
    assert list((tmp_path / "cache").iterdir()) == []


def test_voxels_beside_a_header_are_part_of_the_cache_key(tmp_path, counted):
    import SimpleITK

    scan = ball_scan(dtype=np.int16)
    paths = [tmp_path / f"{name}.mhd" for name in ("image", "labels")]
    for path, array in zip(paths, (scan.image.array, scan.labels), strict=True):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T)), str(path))
    dataset = Dataset("set", {"ball": (1,)}, (Case("set", "x", "x", *paths),))
    for expected in (["x"], [], ["x"]):
        counted.clear()
        load_instances(dataset, 3, cache=tmp_path / "cache")
        assert counted == expected
        if not expected:
            raw = np.fromfile(tmp_path / "image.raw", np.int16)
            (raw + 1).tofile(tmp_path / "image.raw")


def few(dataset: Dataset, count: int) -> Dataset:
    return replace(dataset, cases=dataset.cases[:count])


def test_real_slices(data, tmp_path):
    dataset = few(open_dataset(data / "Dataset107_AbdomenCT2D"), 8)
    found, sentences = load_instances(dataset, 2, cache=tmp_path)
    assert sentences == []
    for case in dataset.cases:
        sizes = {name: int((case.labels == value).sum()) for name, (value,) in dataset.labels.items()}
        wanted = {name: size for name, size in sizes.items() if size >= 60}
        assert {i.label: int(i.truth.sum()) for i in found if i.case == case.name} == wanted
    image, truth = found[0].sample(np.random.default_rng(0), found[0].working_shape(64))
    assert min(image.shape) == 64
    assert 0.2 < truth.mean() < 1
    statistics = intensity_statistics(found)["Dataset107_AbdomenCT2D"]
    assert 0 <= statistics["percentiles"]["0.5"] < statistics["mean"] < statistics["percentiles"]["99.5"] <= 255


def test_a_real_volume(data, tmp_path):
    dataset = few(open_dataset(data / "Dataset102_BRATS2013"), 2)
    dataset = replace(dataset, labels={"core": (1, 3, 4), "whole": (1, 2, 3, 4)})
    found, _ = load_instances(dataset, 3, cache=tmp_path)
    assert [(i.case, i.label) for i in found] == [(c.name, label) for c in dataset.cases for label in dataset.labels]
    assert all(same(*pair) for pair in zip(found, load_instances(dataset, 3, cache=tmp_path)[0], strict=True))
    for case in dataset.cases:
        core = np.isin(case.labels, (1, 3, 4))
        box = Box.around(core, 0)
        instance = next(i for i in found if i.case == case.name and i.label == "core")
        inner = tuple(slice(a, b) for a, b in instance.inner)
        assert np.array_equal(instance.truth[inner], box.crop(core))
        assert np.array_equal(instance.image[inner], box.crop(case.image.array))
    parts = split(found, unseen=["whole"])
    assert [len(part) for part in (parts.train, parts.seen, parts.unseen)] == [1, 1, 1]
