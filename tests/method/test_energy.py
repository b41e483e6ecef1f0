from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from bifseg.method.energy import Energy
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND

GRIDS = [
    ((3, 3), 4, (1.0, 1.0)),
    ((3, 3), 8, (0.7, 2.1)),
    ((2, 2, 2), 6, (1.0, 1.0, 4.0)),
    ((2, 2, 2), 18, (2.0, 1.0, 1.0)),
    ((2, 2, 2), 26, (0.5, 0.5, 3.0)),
]


def slow_energy(labels, p, image, lam, sigma, neighbours, spacing):
    """Eq. 1-4, voxel by voxel and pair by pair."""
    axes_moved = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[neighbours]
    value = 0.0
    for i in np.ndindex(image.shape):
        y = float(labels[i])
        value -= y * np.log(p[i]) + (1 - y) * np.log(1 - p[i])
    for i, j in combinations(np.ndindex(image.shape), 2):
        step = np.abs(np.subtract(i, j))
        if step.max() == 1 and step.sum() <= axes_moved and labels[i] != labels[j]:
            d = np.sqrt(np.sum((step * spacing) ** 2)) / min(spacing)
            value += lam * np.exp(-((image[i] - image[j]) ** 2) / (2 * sigma**2)) / d
    return value


def blurred_case(seed=0, shape=(24, 20)):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), 1.5)
    image = (image - image.min()) / np.ptp(image)
    probability = np.clip(image + 0.4 * rng.standard_normal(shape), 0, 1)
    return rng, image, probability


def test_two_voxels_by_hand():
    energy = Energy(np.array([[0.2, 0.3]]), lam=3.0, sigma=0.1, neighbours=8, spacing=(1.0, 1.0))
    probability = np.array([[0.9, 0.2]])
    split = -np.log(0.9) - np.log(0.8) + 3.0 * np.exp(-0.5)  # the pair counts once, not once per direction
    assert energy(np.array([[True, False]]), probability) == pytest.approx(split)
    assert energy(np.array([[True, True]]), probability) == pytest.approx(-np.log(0.9) - np.log(0.2))


@pytest.mark.parametrize(("shape", "neighbours", "spacing"), GRIDS)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), lam=st.sampled_from([0.1, 1.0, 10.0]))
def test_the_update_is_the_least_of_all_labellings_that_respect_the_scribbles(shape, neighbours, spacing, seed, lam):
    rng = np.random.default_rng(seed)
    image, p = rng.random((2, *shape))
    scribbles = rng.choice([0, 0, 0, FOREGROUND, BACKGROUND], shape).astype(np.uint8)
    settings_ = {"lam": lam, "sigma": 0.4, "neighbours": neighbours, "spacing": spacing}
    energy = Energy(image, **settings_)
    labels = energy.label_update(p, scribbles)

    allowed = []
    for bits in product((False, True), repeat=image.size):
        y = np.array(bits).reshape(shape)
        if y[scribbles == FOREGROUND].all() and not y[scribbles == BACKGROUND].any():
            allowed.append(energy(y, p))
    assert energy(labels, p) == pytest.approx(min(allowed), abs=1e-5)
    assert energy(labels, p) == pytest.approx(slow_energy(labels, p, image, **settings_))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_update_never_costs_more_than_what_it_started_from(seed):
    rng, image, probability = blurred_case(seed)
    energy = Energy(image, lam=3.0, sigma=0.1, neighbours=8)
    updated = energy(energy.label_update(probability), probability)
    for start in (probability > 0.5, rng.random(image.shape) > 0.5, np.zeros(image.shape, bool)):
        assert updated <= energy(start, probability) + 1e-4


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), lam=st.sampled_from([0.0, 1e-3, 3.0, 1e6]))
def test_scribbles_always_win(seed, lam):
    rng, image, _ = blurred_case(seed)
    scribbles = rng.choice([0] * 8 + [FOREGROUND, BACKGROUND], image.shape).astype(np.uint8)
    against = np.where(scribbles == FOREGROUND, 0.0, 1.0)  # the network is certain of the contrary
    labels = Energy(image, lam=lam, sigma=0.1, neighbours=8).label_update(against, scribbles)
    assert labels.dtype == bool
    assert labels[scribbles == FOREGROUND].all()
    assert not labels[scribbles == BACKGROUND].any()


def test_a_float32_image_gives_the_same_energy_but_for_rounding():
    _, image, probability = blurred_case(3)
    image = image.astype(np.float32)
    terms = {"lam": 3.0, "sigma": 0.1, "neighbours": 8}
    single, double = Energy(image, **terms), Energy(image.astype(float), **terms)
    labels = single.label_update(probability)
    assert single(labels, probability) == pytest.approx(double(double.label_update(probability), probability), rel=1e-6)


def test_a_scribble_reaches_as_far_as_the_image_is_alike():
    image = np.zeros((9, 9))
    image[5:] = 1.0
    scribbles = np.zeros((9, 9), np.uint8)
    scribbles[2, 4] = FOREGROUND
    energy = Energy(image, lam=3.0, sigma=0.1, neighbours=8)
    labels = energy.label_update(np.full((9, 9), 0.49), scribbles)
    np.testing.assert_array_equal(labels, image == 0)


def test_without_pairwise_term_it_is_a_threshold():
    values = np.array([0.0, 0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1), 1.0, 0.49, 0.51, 1e-9])
    probability = values.reshape(2, 4)
    labels = Energy(np.zeros((2, 4)), lam=0.0, sigma=0.1, neighbours=4).label_update(probability)
    np.testing.assert_array_equal(labels, probability > 0.5)


def test_anisotropic_spacing_weakens_the_long_edges():
    image, probability = np.zeros((3, 3, 3)), np.full((3, 3, 3), 0.5)
    slab, column = np.zeros((2, 3, 3, 3), bool)
    slab[..., 1] = True  # cuts the 18 edges along z
    column[1] = True  # cuts the 18 edges along x
    energy = Energy(image, lam=1.0, sigma=0.1, neighbours=6, spacing=(0.5, 0.5, 2.0))
    unary = 27 * np.log(2)
    assert energy(slab, probability) - unary == pytest.approx(18 / 4)
    assert energy(column, probability) - unary == pytest.approx(18)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image01": np.full((3, 3), 2.0)}, r"scale it to \[0, 1\]"),
        ({"image01": np.full((3, 3), np.nan)}, r"scale it to \[0, 1\]"),
        ({"lam": -1.0}, "lam is -1.0"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"neighbours": 6}, "2D has 4 or 8"),
        ({"spacing": (1.0,)}, "give 2"),
    ],
)
def test_bad_settings(changed, message):
    good = {"image01": np.zeros((3, 3)), "lam": 1.0, "sigma": 0.1, "neighbours": 8}
    with pytest.raises(ValueError, match=message):
        Energy(**(good | changed))


def test_bad_arrays():
    energy = Energy(np.zeros((3, 3)), lam=1.0, sigma=0.1, neighbours=8)
    p = np.full((3, 3), 0.5)
    with pytest.raises(ValueError, match="given for probability"):
        energy.label_update(p[1:])
    with pytest.raises(ValueError, match="given for scribbles"):
        energy.label_update(p, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="given for labels"):
        energy(np.zeros((2, 3)), p)
    with pytest.raises(ValueError, match="2 background"):
        energy.label_update(p, np.full((3, 3), 3))
    for bad in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
            energy.label_update(np.full((3, 3), bad))
