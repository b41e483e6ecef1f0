"""Data sets in all three layouts become the same cases, and what is wrong with one is said in one sentence."""

import json

import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.io.datasets import one_patient_per_scan, open_dataset
from bifseg.io.images import write_image

SCAN = Image(np.random.default_rng(0).integers(0, 200, (12, 10, 6)).astype(np.int16), (1, 1, 3))
PLANE = Image(np.random.default_rng(1).integers(0, 200, (12, 10)).astype(np.uint8))
LABELS = np.zeros(SCAN.shape, np.uint8)
LABELS[2:6, 2:6, 1:4], LABELS[7:10, 3:8, 2:5] = 1, 4
NAMES = {"background": 0, "liver": 1, "lesion": 4}


def put(path, array=None, like=SCAN):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, like.array if array is None else array, like)
    return path


def put_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def nnunet(folder, about=None, names=("a", "b"), channels=1, ending=".nii.gz", **more):
    put_json(folder / "dataset.json", {"labels": NAMES, "file_ending": ending, **more} if about is None else about)
    for name in names:
        for channel in range(channels):
            put(folder / f"imagesTr/{name}_{channel:04d}{ending}", SCAN.array + channel)
        put(folder / f"labelsTr/{name}{ending}", LABELS)
    return folder


def datalist(folder, training=None, **more):
    for name in "ab":
        put(folder / f"scans/{name}.nrrd")
        put(folder / f"truth/{name}-seg.nrrd", LABELS)
    if training is None:
        training = [{"image": f"scans/{name}.nrrd", "label": f"truth/{name}-seg.nrrd"} for name in "ab"]
    return put_json(folder / "list.json", {"training": training, **more})


def plain(folder, masks="masks", suffix=".nii.gz"):
    for name in "ab":
        put(folder / f"images/{name}.mha")
        put(folder / f"{masks}/{name}{suffix}", LABELS)
    return folder


@pytest.mark.parametrize("write", [nnunet, datalist, plain])
def test_every_layout_gives_the_same_cases(tmp_path, write):
    dataset = open_dataset(write(tmp_path / "liver set"))
    assert dataset.name == "liver set"
    assert [(c.dataset, c.name, c.patient) for c in dataset.cases] == [("liver set", n, n) for n in "ab"]
    for case in dataset.cases:
        assert np.array_equal(case.image.array, SCAN.array)
        assert case.image.spacing == (1, 1, 3)
        assert np.array_equal(case.labels, LABELS)
    named = {"liver": (1,), "lesion": (4,)} if write is nnunet else {"label 1": (1,), "label 4": (4,)}
    assert dict(dataset.labels) == named
    assert open_dataset(str(tmp_path / "liver set" / ("list.json" if write is datalist else ""))).cases == dataset.cases


def test_nnunet_knows_channels_endings_regions_and_patients(tmp_path):
    labels = {"background": 0, "whole": [1, 4], "lesion": 4, "ignore": 5}
    about = {"labels": labels, "file_ending": ".nrrd", "cases": {"a": {"patient": 7}, "b": {"subject": "x"}, "c_1": 3}}
    folder = nnunet(tmp_path / "set", about, ("a", "b", "c_1"), channels=2, ending=".nrrd")
    put(folder / "imagesTr/stray.nrrd")
    (folder / "imagesTr/._a_0000.nrrd").write_bytes(b"")
    dataset = open_dataset(folder, channel=1)
    assert dict(dataset.labels) == {"whole": (1, 4), "lesion": (4,)}
    assert [(c.name, c.patient) for c in dataset.cases] == [("a", "7"), ("b", "x"), ("c_1", "c_1")]
    assert all(np.array_equal(case.image.array, SCAN.array + 1) for case in dataset.cases)


def test_nnunet_without_a_description_finds_its_labels(tmp_path):
    folder = nnunet(tmp_path)
    (folder / "dataset.json").unlink()
    assert dict(open_dataset(folder).labels) == {"label 1": (1,), "label 4": (4,)}


def test_a_decathlon_folder_is_read_through_its_list(tmp_path):
    file = datalist(tmp_path, labels={"0": "background", "1": "liver", "4": "lesion"})
    file.rename(tmp_path / "dataset.json")
    assert dict(open_dataset(tmp_path).labels) == {"liver": (1,), "lesion": (4,)}
    (tmp_path / "imagesTr").mkdir()
    assert [case.name for case in open_dataset(tmp_path).cases] == ["a", "b"]


def test_a_datalist_knows_names_patients_channels_and_absolute_paths(tmp_path):
    far = put(tmp_path / "elsewhere/far.nii")
    truth = put(tmp_path / "elsewhere/far-seg.nii", LABELS)
    training = [
        {"image": ["scans/a.nrrd", "scans/b.nrrd"], "label": "truth/a-seg.nrrd", "patient_id": 1},
        {"image": ["scans/a.nrrd", str(far)], "label": str(truth), "subject": "s"},
    ]
    dataset = open_dataset(datalist(tmp_path / "set", training, labels={"liver": 1, "both": [1, 4]}), channel=1)
    assert dict(dataset.labels) == {"liver": (1,), "both": (1, 4)}
    assert [(c.name, c.patient, c.image_path.name) for c in dataset.cases] == [
        ("b", "1", "b.nrrd"),
        ("far", "s", "far.nii"),
    ]


def test_scans_of_one_name_in_folders_of_their_own_keep_apart(tmp_path):
    training = [{"image": f"{name}/t1.nii.gz", "label": f"{name}/seg.nii.gz"} for name in ("p1", "p2")]
    for entry in training:
        put(tmp_path / entry["image"])
        put(tmp_path / entry["label"], LABELS)
    assert [case.name for case in open_dataset(put_json(tmp_path / "l.json", {"training": training})).cases] == [
        "p1/t1",
        "p2/t1",
    ]


def test_a_plain_folder_may_hold_photographs_names_and_other_files(tmp_path):
    put(tmp_path / "images/x.1.png", like=PLANE)
    put(tmp_path / "labels/x.1.png", LABELS[:, :, 3:4], PLANE)
    (tmp_path / "images/notes.txt").write_text("")
    (tmp_path / "images/.hidden.png").write_text("")
    put_json(tmp_path / "labels.json", {"nothing": 0, "liver": 1, "lesion": 4})
    dataset = open_dataset(tmp_path)
    assert dict(dataset.labels) == {"liver": (1,), "lesion": (4,)}
    assert [case.name for case in dataset.cases] == ["x.1"]
    assert np.array_equal(dataset.cases[0].labels, LABELS[:, :, 3:4])


def test_opening_reads_no_image_and_labels_are_found_in_those_that_can_be_read(tmp_path):
    folder = plain(tmp_path)
    (folder / "images/a.mha").write_bytes(b"damaged")
    (folder / "masks/b.nii.gz").write_bytes(b"damaged")
    dataset = open_dataset(folder)
    assert len(dataset.cases) == 2
    assert list(dataset.labels) == ["label 1", "label 4"]
    assert len(dataset.labels) == 2
    with pytest.raises(ValueError, match=r"a\.mha"):
        _ = dataset.cases[0].image
    with pytest.raises(KeyError):
        dataset.labels["label 9"]


def without(folder, name):
    (folder / name).unlink()
    return folder


def empty(folder, *names):
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


BROKEN = {
    "nothing there": (lambda f: f / "no", FileNotFoundError, "no data set"),
    "an empty folder": (lambda f: f, FileNotFoundError, "neither imagesTr"),
    "nnU-Net without images": (
        lambda f: put_json(f / "dataset.json", {"labels": NAMES}).parent,
        FileNotFoundError,
        "no images imagesTr",
    ),
    "images of another ending": (
        lambda f: nnunet(f, {"labels": NAMES, "file_ending": ".png"}),
        FileNotFoundError,
        r"\*_0000\.png",
    ),
    "a missing label": (
        lambda f: without(nnunet(f), "labelsTr/b.nii.gz"),
        FileNotFoundError,
        r"1 of 2 cases have no label file.*b\.nii\.gz",
    ),
    "a missing channel": (
        lambda f: without(nnunet(f, channels=2), "imagesTr/b_0000.nii.gz"),
        FileNotFoundError,
        "case b .* channel 0",
    ),
    "labels that are text": (
        lambda f: nnunet(f, labels={"liver": "one"}),
        ValueError,
        "NAME: VALUE, not 'liver': 'one'",
    ),
    "labels that are true": (lambda f: nnunet(f, labels={"liver": True}), ValueError, "NAME: VALUE"),
    "labels in a list": (lambda f: nnunet(f, labels=["liver"]), ValueError, "NAME: VALUE"),
    "a region of nothing": (lambda f: nnunet(f, labels={"liver": []}), ValueError, "NAME: VALUE"),
    "JSON cut short": (lambda f: put_json(f / "l.json", '{"training": ['), ValueError, r"l\.json is not JSON"),
    "JSON too deep": (lambda f: put_json(f / "l.json", "[" * 100_000), ValueError, "is not JSON"),
    "an image for a list": (lambda f: put(f / "scan.nii.gz"), ValueError, "is not JSON"),
    "a JSON list": (lambda f: put_json(f / "l.json", []), ValueError, "one JSON object"),
    "no training cases": (lambda f: put_json(f / "l.json", {"training": []}), ValueError, "lists no cases"),
    "an entry without label": (lambda f: datalist(f, [{"image": "scans/a.nrrd"}]), ValueError, "entry 0 .* paths"),
    "an entry that is text": (lambda f: datalist(f, ["scans/a.nrrd"]), ValueError, "entry 0 .* paths"),
    "no channels": (lambda f: datalist(f, [{"image": [], "label": "truth/a-seg.nrrd"}]), ValueError, "entry 0"),
    "a path out of the folder": (
        lambda f: datalist(f, [{"image": "../a.nrrd", "label": "b"}]),
        ValueError,
        "leads out",
    ),
    "a missing image": (
        lambda f: datalist(f, [{"image": "a.nrrd", "label": "truth/a-seg.nrrd"}]),
        FileNotFoundError,
        "no image",
    ),
    "a missing absolute path": (
        lambda f: datalist(f, [{"image": "scans/a.nrrd", "label": "/no/b"}]),
        FileNotFoundError,
        "/no/b",
    ),
    "no masks": (lambda f: empty(f, "images"), FileNotFoundError, "neither masks/ nor labels/"),
    "no pairs": (lambda f: empty(f, "images/a", "masks/b"), FileNotFoundError, "no pairs"),
    "an image without mask": (
        lambda f: without(plain(f), "masks/b.nii.gz"),
        FileNotFoundError,
        "no label file.*masks/b",
    ),
    "two files of a name": (
        lambda f: put(plain(f) / "images/a.nrrd").parents[1],
        ValueError,
        r"both a\.mha and a\.nrrd",
    ),
    "a damaged labels.json": (lambda f: put_json(plain(f) / "labels.json", "{").parent, ValueError, r"labels\.json"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_data_set_is_refused_in_one_sentence(tmp_path, what):
    make, kind, words = BROKEN[what]
    with pytest.raises(kind, match=words) as caught:
        open_dataset(make(tmp_path))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("write", [lambda f: nnunet(f, channels=2), datalist, plain])
def test_an_unknown_channel_is_refused_with_those_that_exist(tmp_path, write):
    path = write(tmp_path)
    for channel in (2, -1):
        with pytest.raises(ValueError, match=rf"no channel {channel} in .*; there is 0(, 1)?\."):
            open_dataset(path, channel)


def test_real_data_sets_open(data):
    abdomen = open_dataset(data / "Dataset107_AbdomenCT2D")
    assert len(abdomen.cases) == 112
    assert len({case.patient for case in abdomen.cases}) == 17
    assert abdomen.labels["liver"] == (6,)
    flair = open_dataset(data / "Dataset102_BRATS2013", channel=1)
    assert [case.image_path.name[-12:] for case in flair.cases] == ["_0001.nii.gz"] * 3
    assert flair.cases[0].image.shape == flair.cases[0].labels.shape
    with pytest.raises(FileNotFoundError, match="no images"):
        open_dataset(data / "Dataset130_SynthSegLabels")


def test_patients_who_share_a_scan_are_one(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    scans = [rng.integers(0, 99, (6, 5, 4)).astype(np.int16) for _ in range(3)]
    for name, k in (("a", 0), ("b", 1), ("c", 0), ("d", 2)):
        write_image(tmp_path / f"images/{name}.nii", scans[k], Image(scans[k]))
        write_image(tmp_path / f"masks/{name}.nii", (scans[k] > 50).astype(np.uint8), Image(scans[k]))
    merged, said = one_patient_per_scan(open_dataset(tmp_path))
    assert [case.patient for case in merged.cases] == ["a", "b", "a", "d"]
    assert said == [f"The patients a and c of {tmp_path.name} share a scan: they count as one."]
    assert [case.name for case in merged.cases] == ["a", "b", "c", "d"]


def test_a_patient_with_a_scan_of_his_own_and_a_shared_one_is_found_out(tmp_path):
    (tmp_path / "scans").mkdir()
    entries = []
    for k, (patient, content) in enumerate((("x", 1), ("y", 2), ("y", 1), ("z", 3), ("z", 2))):
        scan = np.full((3, 3, 3), content, np.int16)
        write_image(tmp_path / f"scans/{k}.nii", scan, Image(scan))
        entries.append({"image": f"scans/{k}.nii", "label": f"scans/{k}.nii", "patient": patient})
    (tmp_path / "list.json").write_text(json.dumps({"training": entries, "labels": {"a": 1}}))
    merged, said = one_patient_per_scan(open_dataset(tmp_path / "list.json"))
    assert {case.patient for case in merged.cases} == {"x"}
    assert len(said) == 2
