import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.imaging.resampling import resample
from bifseg.method.band_cut import LEVELS, band_cut
from bifseg.method.energy import Energy

WINDOW = (0, LEVELS)  # intensities that are steps of it are not rounded
SHAPES = [((9, 8, 10), (1.0, 1.0, 1.0)), ((12, 9, 5), (0.7, 0.7, 3.0)), ((14, 11), (1.0, 1.0)), ((10, 13), (2.0, 0.5))]


def log_odds_of(probability):
    return np.log(probability / (1 - probability)).astype(np.float32)


def ball(shape, spacing, radius):
    """Signed distance to a ball in the middle of a box, mm, above 0 inside."""
    sides = np.multiply(shape, spacing)
    grids = np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    return radius - np.sqrt(sum((g - side / 2) ** 2 for g, side in zip(grids, sides, strict=True)))


def full_cut(scan, spacing, log_odds, fixed, lam, sigma):
    """The exact minimum over all voxels, where the grid is the scan's own."""
    cell = np.prod(spacing) ** (1 / len(spacing))
    neighbours = {2: 8, 3: 26}[scan.ndim]
    energy = Energy(
        (scan / LEVELS).astype(float),
        lam=lam * cell / min(spacing),
        sigma=sigma,
        neighbours=neighbours,
        spacing=spacing,
    )
    probability = 1 / (1 + np.exp(-log_odds.astype(float)))
    return energy, probability, energy.label_update(probability, fixed)


@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), lam=st.sampled_from([0.0, 0.2, 1.0]))
def test_a_band_that_holds_the_border_is_cut_as_the_whole_grid(shape, spacing, seed, lam):
    rng = np.random.default_rng(seed)
    scan = rng.integers(0, LEVELS + 1, shape, dtype=np.int16)
    log_odds = rng.normal(0, 1.5, shape).astype(np.float32)
    fixed = rng.choice(np.array([0, 1, 2], np.uint8), shape, p=[0.9, 0.05, 0.05])
    energy, probability, full = full_cut(scan, spacing, log_odds, fixed, lam, 0.3)
    # Labels whose border is everywhere: the band is the whole box.
    labels = np.indices(shape).sum(0) % 2 == 0
    found = band_cut(scan, WINDOW, spacing, log_odds, labels, fixed, lam=lam, sigma=0.3)
    np.testing.assert_array_equal(found, full)
    # Labels that are the full cut's: what stays fixed is right, and so is what is cut.
    found = band_cut(scan, WINDOW, spacing, log_odds, full, fixed, lam=lam, sigma=0.3)
    np.testing.assert_array_equal(found, full)
    assert energy(found, probability) == energy(full, probability)


@pytest.mark.parametrize(("shape", "spacing"), [((40, 36, 30), (1.0, 1.0, 1.0)), ((40, 36, 12), (0.5, 0.5, 2.0))])
@pytest.mark.parametrize("voxels", [150_000, 3000])
def test_a_narrow_band_around_a_smooth_object_is_enough(shape, spacing, voxels):
    rng = np.random.default_rng(0)
    inside = ball(shape, spacing, 6.0)
    scan = np.clip(LEVELS * (0.3 + 0.4 * (inside > 0)) + rng.normal(0, 300, shape), 0, LEVELS).astype(np.int16)
    log_odds = np.clip(2 * inside + rng.normal(0, 1, shape), -9, 9).astype(np.float32)
    fixed = np.zeros(shape, np.uint8)
    _, _, full = full_cut(scan, spacing, log_odds, fixed, 0.4, 0.1)
    found = band_cut(scan, WINDOW, spacing, log_odds, full, fixed, lam=0.4, sigma=0.1, voxels=voxels)
    np.testing.assert_array_equal(found, full)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_scribbles_and_locks_hold_on_their_own_voxels(seed):
    """Whatever grid, scan and parameters: finer or coarser grids, one voxel thin boxes, any memory order."""
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(2, 4))
    shape, grid = rng.integers(1, 14, ndim), rng.integers(1, 9, ndim)
    scan = rng.normal(0, 1, shape).astype(rng.choice([np.float32, np.float64]))
    scan = np.asfortranarray(scan) if rng.random() < 0.5 else scan
    labels = rng.random(grid) < rng.random()
    fixed = rng.choice(np.array([0, 1, 2], np.uint8), shape, p=[0.6, 0.2, 0.2])
    lam, reach, voxels = rng.choice([0.0, 0.4, 50.0]), rng.uniform(0.1, 1.5), int(rng.integers(1, 500))
    window = (0.0, 0.0) if rng.random() < 0.1 else (-1.0, 1.0)
    spacing = rng.uniform(0.3, 5, ndim).tolist()
    given = scan, window, spacing, rng.normal(0, 3, grid), labels, fixed
    found = band_cut(*given, lam=lam, sigma=0.1, reach=reach, voxels=voxels)
    assert found.shape == scan.shape
    assert found.dtype == bool
    assert found[fixed == 1].all()
    assert not found[fixed == 2].any()
    np.testing.assert_array_equal(found, band_cut(*given, lam=lam, sigma=0.1, reach=reach, voxels=voxels))


def test_follows_the_edge_that_the_grid_is_too_coarse_to_see():
    shape, spacing = (60, 60, 60), (1.0, 1.0, 1.0)
    truth = ball(shape, spacing, 20) > 0
    rng = np.random.default_rng(1)
    scan = (1000 * truth + rng.normal(0, 80, shape)).astype(np.float32)
    coarse = ball((15, 15, 15), (4.0, 4.0, 4.0), 20) / 2
    coarse = (coarse + rng.normal(0, 0.5, coarse.shape)).astype(np.float32)
    fixed = np.zeros(shape, np.uint8)
    found = band_cut(scan, (0, 1000), spacing, coarse, coarse > 0, fixed, lam=0.4, sigma=0.1)
    enlarged = resample((coarse > 0).astype(np.float32), shape) >= 0.5
    assert np.count_nonzero(found != truth) < 0.1 * np.count_nonzero(enlarged != truth)


def test_an_axis_turned_round_turns_the_mask():
    rng = np.random.default_rng(2)
    shape, spacing, grid = (18, 15, 9), (1.0, 1.5, 2.5), (8, 10, 10)
    scan, log_odds = rng.normal(0, 1, shape).astype(np.float32), rng.normal(0, 2, grid).astype(np.float32)
    labels, fixed = log_odds > 0, rng.choice(np.array([0, 1, 2], np.uint8), shape, p=[0.9, 0.05, 0.05])
    found = band_cut(scan, (-2, 2), spacing, log_odds, labels, fixed, lam=0.4, sigma=0.1)
    turned = [np.ascontiguousarray(a.transpose(2, 0, 1)[::-1]) for a in (scan, log_odds, labels, fixed)]
    again = band_cut(turned[0], (-2, 2), (2.5, 1.0, 1.5), *turned[1:], lam=0.4, sigma=0.1)
    assert np.count_nonzero(again != found.transpose(2, 0, 1)[::-1]) <= 2  # sums in another order


def test_labels_of_one_kind_have_no_border():
    scan, fixed = np.arange(125.0).reshape(5, 5, 5), np.zeros((5, 5, 5), np.uint8)
    fixed[0, 0, 0], fixed[4, 4, 4] = 1, 2
    for label in (False, True):
        found = band_cut(
            scan, (0, 124), (1, 1, 1), np.zeros((3, 3, 3)), np.full((3, 3, 3), label), fixed, lam=1, sigma=1
        )
        assert np.count_nonzero(found != label) == 1


@pytest.mark.parametrize(
    "wrong", [{"spacing": (1.0, 1.0)}, {"labels": np.zeros((2, 2, 3), bool)}, {"fixed": np.zeros((4, 4, 5), np.uint8)}]
)
def test_arrays_that_do_not_fit_are_refused(wrong):
    given = {
        "scan": np.zeros((4, 4, 4)), "window": (0, 1), "spacing": (1.0, 1.0, 1.0), "log_odds": np.zeros((2, 2, 2)),
        "labels": np.zeros((2, 2, 2), bool), "fixed": np.zeros((4, 4, 4), np.uint8),
    }  # fmt: skip
    with pytest.raises(ValueError, match="do not fit"):
        band_cut(**(given | wrong), lam=1, sigma=1)
