"""Objects to judge on, and what people scribbled on them, in small data sets made here."""

import json

import numpy as np
import pytest
from labelled_sets import write_set

from bifseg.evaluation.humans import drawing_of, human_labels, scribble_files
from bifseg.evaluation.targets import FOLDS, find_targets, half
from bifseg.io.datasets import open_dataset
from bifseg.prompts.interaction import Box


def test_one_object_per_case_and_class_on_a_plane_that_shows_it(tmp_path):
    dataset = write_set(tmp_path / "set")
    found = find_targets([dataset], 2)
    assert [(t.case.name, t.label) for t in found.targets] == [("a", "box"), ("a", "dot"), ("b", "box"), ("c", "box")]
    assert found.skipped == []
    for target in found.targets:
        axis, index = target.plane
        assert axis == 2
        assert target.truth.sum(axis=(0, 1)).argmax() == index
        assert np.count_nonzero(target.truth) == (64 if target.label == "dot" else 16 * 14)
        assert target.view == Box.of(((0, 40), (0, 36), index), (40, 36, 6))
    again = find_targets([open_dataset(tmp_path / "set")], 2)
    assert [t.plane for t in again.targets] == [t.plane for t in found.targets]
    volumes = find_targets([dataset], 3).targets
    assert [(t.case.name, t.label, t.plane) for t in volumes] == [
        (name, "box", None) for name in "abc"
    ]  # dot: too small
    assert volumes[0].view.shape == (40, 36, 6)
    assert "image" not in vars(volumes[0].unread().case)


def test_cases_are_chosen_by_name_fold_and_limit(tmp_path):
    names = [f"p{k}" for k in range(12)]
    dataset = write_set(tmp_path / "set", names)

    def cases(**options):
        return [t.case.name for t in find_targets([dataset], 2, classes=["box"], **options).targets]

    assert cases(cases="p1*") == ["p1", "p10", "p11"]
    halves = [cases(fold=fold) for fold in FOLDS]
    assert sorted(halves[0] + halves[1]) == sorted(names)
    assert all(half(name) == fold for fold, own in zip(FOLDS, halves, strict=True) for name in own)
    few, more = cases(limit=3), cases(limit=7)
    assert (len(few), len(more)) == (3, 7)
    assert set(few) < set(more)
    with pytest.raises(ValueError, match="Unknown fold 'train'; known are develop, report"):
        cases(fold="train")
    with pytest.raises(ValueError, match="limit is 0"):
        cases(limit=0)


def test_what_cannot_be_read_is_named_and_what_nobody_shows_is_refused(tmp_path):
    dataset = write_set(tmp_path / "set", damaged=("b",))
    found = find_targets([dataset], 2, classes=["box"])
    assert [t.case.name for t in found.targets] == ["a", "c"]
    assert len(found.skipped) == 1
    assert found.skipped[0].startswith("The case b is left out: ")
    with pytest.raises(ValueError, match="No case shows 'dot' in 400 voxels or more"):
        find_targets([dataset], 3, classes=["dot"])
    broken = write_set(tmp_path / "broken", ("a",), damaged=("a",))
    with pytest.raises(ValueError, match=r"no 2D object of 60 voxels .* The case a is left out"):
        find_targets([broken], 2)


def test_real_scribbles_are_read_for_the_class_and_planes_they_are_on(tmp_path):
    dataset = write_set(tmp_path / "set", scribbled=("b",))
    [target] = find_targets([dataset], 2, human=True).targets
    assert (target.case.name, target.plane) == ("b", (2, 3))
    assert scribble_files(dataset.cases[0]) == []
    [file] = scribble_files(target.case)
    labels = human_labels(file, target.image, target.values)
    assert np.count_nonzero(labels == 1) == 8 * 2
    assert np.count_nonzero(labels == 2) == 36 * 2
    drawing = drawing_of(labels, Box.of(((6, 26), (8, 26), 3), labels.shape), target.image.spacing, 16.0)
    assert (drawing.effort.strokes, drawing.effort.planes) == (1, 1)
    assert drawing.effort.length == pytest.approx(8 / 16, rel=0.3)
    assert not (drawing.labels == 2).any()
    other = human_labels(file, target.image, (2,))
    assert not (other == 1).any()
    assert np.count_nonzero(other == 2) == np.count_nonzero(labels)  # what belongs to another class is background
    (tmp_path / "set/dataset.json").write_text(json.dumps({"labels": {"box": 1}}))
    with pytest.raises(ValueError, match="does not say what the scribbles mean"):
        human_labels(file, target.image, (1,))
    (tmp_path / "set/scribblesTr/b.nii.gz").unlink()
    with pytest.raises(ValueError, match="real scribbles"):
        find_targets([dataset], 2, human=True)


def test_several_people_are_several_files(tmp_path):
    dataset = write_set(tmp_path / "set", ("a", "a_Ab"), scribbled=("a",))
    folder = tmp_path / "set/scribblesTr"
    content = (folder / "a.nii.gz").read_bytes()
    (folder / "a.nii.gz").unlink()
    for name in ("a_A1", "a_A0", "ab_A0"):
        (folder / f"{name}.nii.gz").write_bytes(content)
    assert [path.name for path in scribble_files(dataset.cases[0])] == ["a_A0.nii.gz", "a_A1.nii.gz"]
