"""Images, and resampling against a loop that anyone can check."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bifseg.imaging.image import Image, extent
from bifseg.imaging.intensity import normalise, unit_range
from bifseg.imaging.resampling import resample, resample_labels, working_shape

sizes = st.integers(1, 9)


def slow_axis(line: np.ndarray, m: int) -> np.ndarray:
    """One line resampled to m points: every output point asks every input point."""
    n, out = len(line), []
    for i in range(m):
        centre, reach = (i + 0.5) * n / m - 0.5, max(1.0, n / m)
        weights = [max(0.0, 1 - abs(j - centre) / reach) for j in range(n)]
        out.append(sum(w * v for w, v in zip(weights, line, strict=True)) / sum(weights))
    return np.array(out)


def slow_resample(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    for axis, m in enumerate(shape):
        array = np.apply_along_axis(slow_axis, axis, array.astype(float), m)
    return array


@st.composite
def cases(draw):
    shape = draw(st.lists(sizes, min_size=2, max_size=3).map(tuple))
    target = tuple(draw(sizes) for _ in shape)
    array = draw(arrays(np.int16, shape, elements=st.integers(-1000, 3000)))
    return np.asarray(array, order=draw(st.sampled_from("CF"))), target


@settings(max_examples=30, deadline=None)
@given(cases())
def test_resample_equals_the_slow_one(case):
    array, shape = case
    result = resample(array, shape)
    assert result.dtype == np.float32
    assert np.allclose(result, slow_resample(array, shape), atol=2e-3)


@settings(max_examples=15, deadline=None)
@given(cases())
def test_resample_in_many_blocks_equals_the_slow_one(case):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bifseg.imaging.image.BLOCK", 20)
        patch.setattr("bifseg.imaging.resampling.BLOCK", 20)
        array, shape = case
        assert np.allclose(resample(array, shape), slow_resample(array, shape), atol=2e-3)
        mask = array > np.median(array)
        inside = slow_resample(mask, shape)
        clear = np.abs(inside - 0.5) > 1e-4
        assert ((inside > 0.5) == resample_labels(mask, shape))[clear].all()


@settings(max_examples=15, deadline=None)
@given(cases())
def test_weights_sum_to_one_and_views_do_not_matter(case):
    array, shape = case
    assert np.allclose(resample(np.full(array.shape, 7.0), shape), 7)
    assert np.allclose(resample(array[::-1], shape), resample(array, shape)[::-1], atol=2e-3)
    swapped = resample(array.T, shape[::-1])
    assert np.allclose(swapped, resample(array, shape).T, atol=2e-3)


def test_resample_agrees_with_pillow():
    pillow = pytest.importorskip("PIL.Image")
    array = np.random.default_rng(0).random((37, 53)).astype(np.float32)
    for shape in [(11, 70), (80, 20), (37, 10), (111, 159)]:
        theirs = np.asarray(pillow.fromarray(array).resize(shape[::-1], pillow.Resampling.BILINEAR))
        assert np.allclose(resample(array, shape), theirs, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 31, 7), (5, 64, 9), (100, 3, 40)])
def test_resample_preserves_the_mean_and_does_not_alias(shape):
    ramp = sum(g.astype(float) for g in np.ogrid[:60, :40, :20])
    assert np.isclose(resample(ramp, shape).mean(), ramp.mean(), rtol=1e-5)
    stripes = np.zeros((64, 64)) + np.arange(64) % 2
    assert np.abs(resample(stripes, (9, 9)) - 0.5).max() < 0.05


def test_unchanged_shape_is_the_identity():
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    assert resample(array, array.shape) is array
    assert np.array_equal(resample_labels(array > 0, array.shape), array > 0)
    assert resample(array, array.shape, dtype=np.float64).dtype == np.float64


def test_labels_come_back_after_a_finer_grid():
    mask = np.random.default_rng(0).random((9, 8, 7)) > 0.5
    # Three times finer, each voxel's own centre is a sample point.
    finer = resample_labels(mask, (27, 24, 21))
    assert np.array_equal(finer[1::3, 1::3, 1::3], mask)
    assert np.array_equal(resample_labels(mask * 5, (27, 24, 21)), finer)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_stays_small(order):
    scan = np.zeros((256, 256, 200), np.int16, order=order)  # 26 MB; as float32, 52 MB
    tracemalloc.start()
    resample(scan, (80, 80, 62))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    mask = resample_labels(np.zeros((80, 80, 62), bool, order=order), (512, 512, 200))
    label_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    assert label_peak < mask.nbytes + 80e6  # as float32 alone it would be 210 MB


@given(
    st.lists(st.integers(1, 600), min_size=2, max_size=3),
    st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    st.integers(8, 128),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_working_shape(shape, spacing, size, ratio):
    spacing, longest = spacing[: len(shape)], size * ratio
    result = np.array(working_shape(shape, spacing, size, longest))
    sides = np.multiply(shape, spacing)
    key = sides.argmin() if len(shape) == 2 else sides.argmax()
    assert result.min() >= 1
    assert result.max() <= longest
    assert result[key] == size or result.max() == longest
    pitch = sides[sides.argmax()] / result[sides.argmax()]
    # isotropic, but for rounding (which moves the pitch itself a little)
    assert (np.abs(result - np.maximum(1, sides / pitch)) <= 0.5 + 0.51 * result / result.max() + 1e-6).all()


def test_working_shape_by_hand():
    assert working_shape((96, 200), (1, 1), 96, 288) == (96, 200)
    assert working_shape((50, 400), (1, 1), 100, 400) == (50, 400)
    assert working_shape((100, 100, 20), (1, 1, 5), 80, 80) == (80, 80, 80)
    assert working_shape((512, 512, 1), (1, 1, 1), 80, 80) == (80, 80, 1)


def test_normalise_and_unit_range():
    crop = np.random.default_rng(0).normal(100, 20, (30, 30, 30))
    crop[0, 0, 0] = 1e6
    z, u = normalise(crop), unit_range(crop)
    assert z.dtype == u.dtype == np.float32
    assert abs(z.mean()) < 1e-4
    assert abs(z.std() - 1) < 1e-4
    assert (u.min(), u.max()) == (0, 1)
    assert 0.4 < u.mean() < 0.6, "an outlier must not squeeze the rest"
    inner = (crop > 90) & (crop < 110)
    low, high = np.percentile(crop, (0.5, 99.5))
    assert np.allclose(u[inner], (crop[inner] - low) / (high - low), atol=1e-4)


def test_a_flat_crop_is_zero_and_a_speck_survives():
    flat = np.full((9, 9), 3, np.int16)
    assert not normalise(flat).any()
    assert not unit_range(flat).any()
    speck = np.zeros((40, 40))
    speck[3, 4] = 5
    assert unit_range(speck)[3, 4] == 1
    assert np.argmax(normalise(speck)) == 3 * 40 + 4


def test_image_takes_two_axes_and_bool():
    image = Image(np.ones((4, 5), bool))
    assert image.shape == (4, 5, 1)
    assert image.planar
    assert image.array.dtype == np.uint8
    assert image.with_array(np.zeros((4, 5, 1))).planar
    assert Image(np.ones((4, 5), ">i2")).array.dtype == np.int16
    turned = Image(np.zeros((2, 3, 4)), (1, 2, 3), (7, 8, 9), [[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert np.allclose(turned.affine @ (1, 1, 1, 1), (7 + 2, 8 - 1, 9 + 3, 1))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"array": np.zeros(3)}, "shape"),
        ({"array": np.zeros((2, 0, 3))}, "none empty"),
        ({"array": np.zeros((2, 2, 2), complex)}, "real numbers"),
        ({"array": np.zeros((2, 2, 2)), "planar": True}, "single plane"),
        ({"array": np.zeros((2, 2, 2)), "spacing": (1, 0, 1)}, "positive"),
        ({"array": np.zeros((2, 2, 2)), "spacing": (1, 1)}, "three finite"),
        ({"array": np.zeros((2, 2, 2)), "origin": (0, np.nan, 0)}, "three finite"),
        ({"array": np.zeros((2, 2, 2)), "direction": [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]}, "orthonormal"),
    ],
)
def test_image_refuses(wrong, words):
    with pytest.raises(ValueError, match=words):
        Image(**wrong)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 4\)"):
        Image(np.zeros((2, 3, 4))).with_array(np.zeros((2, 3, 5)))
    with pytest.raises(ValueError, match="cannot be resampled"):
        resample(np.zeros((2, 3)), (2, 0))


def test_check_scan():
    image = Image(np.arange(24.0).reshape(2, 3, 4))
    assert image.check_scan() is image
    with pytest.raises(ValueError, match="constant"):
        Image(np.full((2, 3, 4), 7)).check_scan()
    spoiled = image.array.copy()
    spoiled[1, 1, :2] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 voxels"):
        Image(spoiled).check_scan()
    Image(np.array([[[3e38, 3e38, -1.0]]], np.float32)).check_scan()  # the sum is infinite, no voxel is


@given(arrays(np.uint8, st.lists(st.integers(1, 5), min_size=2, max_size=3), elements=st.sampled_from([0, 0, 0, 1])))
@settings(max_examples=40, deadline=None)
def test_the_extent_of_a_mask(mask):
    where = np.argwhere(mask)
    ranges = [(a, b + 1) for a, b in zip(where.min(0), where.max(0), strict=True)] if len(where) else None
    assert extent(mask) == ranges
    assert extent(np.asfortranarray(mask)) == ranges
