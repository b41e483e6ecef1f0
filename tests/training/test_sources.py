from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny import instances

from bifseg.imaging.intensity import normalise
from bifseg.training.sources import EvenSources, Mixture, Sources, crop_shape
from bifseg.training.synthetic.anatomy import LabelMap
from bifseg.training.synthetic.look import augment, cast_shadows
from bifseg.training.synthetic.phantom import phantom
from bifseg.training.synthetic.sample import training_sample


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources([LabelMap.of(phantom(1, shape=(64, 60, 56), objects=8)[1], {})], instances("aaab", 8))


@pytest.mark.parametrize(
    "mixture", [Mixture(), Mixture(scans=1.0), Mixture(anatomy=0.5, scans=0.4, twins=0.5, variety=1.0)]
)
def test_batches_are_functions_of_their_key_and_normalised(sources, mixture):
    one, two, other = (sources.batch(key, 2, 24, 4, mixture) for key in ((0, 7), (0, 7), (0, 8)))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert one[0].shape != other[0].shape or not np.array_equal(one[0], other[0])
    images, labels = one
    assert images.shape == (4, 1, *labels.shape[1:])
    assert (images.dtype, labels.dtype) == (np.float32, np.int64)
    assert min(images.shape[2:]) == 24
    assert set(np.unique(labels)) <= {0, 1}
    for image in images:
        assert image.mean() == pytest.approx(0, abs=1e-4)
        assert image.std() == pytest.approx(1, abs=1e-3)


def test_scenes_alone_are_what_they_always_were():
    rng = np.random.default_rng((0, 7))
    shape = crop_shape(rng, 3, 16)
    expected = [training_sample(rng, shape) for _ in range(2)]
    images, labels = Sources().batch((0, 7), 3, 16, 2, Mixture())
    for k, (image, target) in enumerate(expected):
        np.testing.assert_array_equal(images[k, 0], normalise(image))
        np.testing.assert_array_equal(labels[k], target)
    assert max(images.shape[2:]) == 16


def test_every_class_is_drawn_as_often_as_any_other(sources):
    assert [len(kind) for kind in sources.classes] == [6, 2]


def test_of_many_sets_one_of_few_classes_is_drawn_more_often_than_its_share():
    large = [replace(one, dataset="large") for one in instances("abcd", 4)]
    drawn = Counter(kind[0].dataset for kind in EvenSources(instances=[*instances("x", 3), *large]).classes)
    assert drawn == {"set": 8, "large": 4 * 4}  # two times as often, not four


def test_scans_are_turned_and_mirrored_but_stay_themselves(sources):
    (image,), (label,) = Sources(instances=sources.instances[:1]).batch(
        (0, 0), 2, 24, 1, Mixture(scans=1.0, augmented=False)
    )
    assert label.sum() > 0
    only = sources.instances[0]
    share = only.truth.sum() / only.truth.size
    assert label.mean() == pytest.approx(share, abs=0.35)
    assert not np.array_equal(
        image[0], Sources(instances=sources.instances[:1]).batch((0, 1), 2, 24, 1, Mixture(scans=1.0))[0]
    )


@pytest.mark.parametrize("shape", [(40, 30), (20, 16, 12)])
def test_looks_change_intensities_only_and_stay_finite(shape):
    image = np.random.default_rng(0).random(shape, np.float32) * 1000
    for seed in range(10):
        for change in (augment, cast_shadows):
            changed = change(np.random.default_rng(seed), image)
            assert changed.shape == shape
            assert np.isfinite(changed).all()
    assert np.isfinite(augment(np.random.default_rng(0), np.ones(shape, np.float32))).all()
