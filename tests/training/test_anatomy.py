import numpy as np
import pytest

from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.io.images import write_image
from bifseg.training.synthetic.anatomy import LabelMap, anatomy_sample, read_label_maps
from bifseg.training.synthetic.phantom import phantom

NAMES = {"background": 0, "left_kidney": 1, "R_x": 2, "L_x": 3, "kidney_right": 4, "spleen": 9}


@pytest.fixture(scope="module")
def maps() -> list[LabelMap]:
    return [LabelMap.of(phantom(seed, shape=(64, 60, 56), objects=8)[1], {}) for seed in (1, 2)]


def test_left_and_right_structures_are_kin():
    array = np.zeros((6, 6, 6), np.int16)
    array[1:5, 1:5, 1] = np.array([[1, 2, 3, 4]] * 4)
    array[2, 2, 3] = 9
    found = LabelMap.of(array, NAMES)
    assert found.labels.shape == (4, 4, 3)  # cut down to what is labelled
    assert sorted(np.unique(found.labels)) == [0, 1, 2, 3, 4, 5]
    kidney, right, left, other, spleen = found.kin[1:]
    assert kidney == other
    assert left == right
    assert len({kidney, left, spleen, found.kin[0]}) == 4
    with pytest.raises(ValueError, match="no background"):
        LabelMap.of(np.ones((3, 3, 3), int), {})


@pytest.mark.parametrize("shape", [(48, 60), (24, 32, 28)])
def test_a_sample_is_seeded_finite_and_holds_its_object(maps, shape):
    shares = []
    for seed in range(15):
        image, target = anatomy_sample(np.random.default_rng(seed), maps, shape)
        again, same = anatomy_sample(np.random.default_rng(seed), maps, shape)
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(target, same)
        assert (image.shape, image.dtype, target.shape, target.dtype) == (shape, np.float32, shape, bool)
        assert np.isfinite(image).all()
        shares.append(target.mean())
    assert 0 < min(shares) < max(shares) < 1


def test_targets_keep_the_shape_they_have_in_the_map():
    """A ball stays a ball: it fills as much of its box as it did in the map, some pi / 6."""
    grid = np.stack(np.meshgrid(*[np.arange(41) - 20] * 3, indexing="ij"))
    ball = LabelMap.of(((grid**2).sum(0) < 15**2).astype(int), {})
    shares = []
    for seed in range(40):
        _, target = anatomy_sample(np.random.default_rng(seed), [ball], (30, 30, 30))
        tight = [np.flatnonzero(target.any(tuple({0, 1, 2} - {a}))) for a in range(3)]
        shares.append(target.sum() / np.prod([t[-1] + 1 - t[0] for t in tight]))
    assert np.median(shares) == pytest.approx(((grid**2).sum(0) < 15**2).sum() / 29**3, abs=0.02)


def test_maps_are_read_from_a_folder(tmp_path):
    folder = tmp_path / "labelsTr"
    folder.mkdir()
    labels = phantom(3, shape=(20, 20, 12))[1]
    write_image(folder / "one.nii.gz", labels, Image(labels))
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "left_a": 1, "right_a": 2}}')
    (found,) = read_label_maps(tmp_path)
    assert found.labels.max() == len(np.unique(labels)) - 1
    write_image(folder / "full.nii.gz", labels + 1, Image(labels))
    with pytest.raises(InvalidInput, match="has no background"):
        list(read_label_maps(tmp_path))
    full, one = read_label_maps(tmp_path, 256)
    assert full.labels.size == labels.size
    assert np.array_equal(one.labels, found.labels)
    assert list(read_label_maps(tmp_path, 2)) == []
    with pytest.raises(FileNotFoundError, match="no label maps"):
        list(read_label_maps(folder))
