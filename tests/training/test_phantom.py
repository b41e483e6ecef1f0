import numpy as np
import pytest

from bifseg.training.synthetic.phantom import phantom
from bifseg.training.synthetic.sample import training_sample
from bifseg.training.synthetic.scene import Field, _spline_weights


@pytest.mark.parametrize("shape", [(64, 80), (32, 24, 28)])
def test_a_sample_is_seeded_and_its_object_fills_its_box_up_to_the_margin(shape):
    for seed in range(12):
        image, target = training_sample(np.random.default_rng(seed), shape)
        again, same = training_sample(np.random.default_rng(seed), shape)
        np.testing.assert_array_equal(image, again)
        np.testing.assert_array_equal(target, same)
        assert (image.shape, image.dtype, target.shape, target.dtype) == (shape, np.float32, shape, bool)
        assert np.isfinite(image).all()
        assert np.ptp(image) > 0
        for axis, n in enumerate(shape):
            hit = np.flatnonzero(target.any(tuple(a for a in range(len(shape)) if a != axis)))
            # 0.25 of the object's extent per side, plus a cell of the coarse grid that the window was laid out on.
            assert hit[0] <= 0.25 * n + 4
            assert n - 1 - hit[-1] <= 0.25 * n + 4


def test_variety_widens_margins_and_keeps_the_object():
    margins = []
    for seed in range(40):
        image, target = training_sample(np.random.default_rng(seed), (48, 48), twins=0.5, variety=1.0)
        assert np.isfinite(image).all()
        assert target.any()
        margins.append(np.flatnonzero(target.any(1))[0] / 48)
    assert max(margins) > 0.25


def test_samples_differ_in_size_shape_and_contrast():
    samples = [training_sample(np.random.default_rng(seed), (48, 48)) for seed in range(40)]
    shares = [target.mean() for _, target in samples]
    assert min(shares) < 0.2 < 0.5 < max(shares)
    brighter = [image[target].mean() > image[~target].mean() for image, target in samples]
    assert 8 < sum(brighter) < 32


def test_fields_are_smooth_have_unit_variance_and_do_not_depend_on_the_grid():
    values = [Field.random(np.random.default_rng(seed), 2, 8)([np.linspace(-1.4, 1.4, 50)] * 2) for seed in range(200)]
    assert np.std(values) == pytest.approx(1, abs=0.1)
    assert np.abs(np.diff(values, axis=1)).max() < 1
    field = Field.random(np.random.default_rng(0), 3, 5)
    coarse, fine = (field([np.linspace(-1, 1, n)] * 3) for n in (5, 9))
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)
    np.testing.assert_allclose(_spline_weights(np.linspace(-1.5, 1.5, 99), 11).sum(1), 1, atol=1e-6)


def test_the_phantom_is_a_scan_with_its_labels():
    image, labels = phantom(seed=1, shape=(32, 28, 20), objects=4)
    assert image.shape == labels.shape == (32, 28, 20)
    assert image.array.dtype == np.int16
    assert image.spacing == (1, 1, 2)
    assert 1 < len(np.unique(labels)) <= 5
    np.testing.assert_array_equal(image.array, phantom(seed=1, shape=(32, 28, 20), objects=4)[0].array)
