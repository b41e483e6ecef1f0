import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bifseg.method.islands import tidy

NOTHING = {"fill_holes": 0.0, "drop_islands": 0.0}


def free(mask):
    return np.zeros(mask.shape, np.uint8)


def disc(shape, centre, radius):
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((g - c) ** 2 for g, c in zip(grids, centre, strict=True)) <= radius**2


@pytest.fixture
def scene():
    """A ball with a hole, an island beside it, and a speck in the hole."""
    mask = disc((40, 40, 40), (18, 18, 18), 12) & ~disc((40, 40, 40), (18, 18, 18), 4)
    mask[18, 18, 18] = True
    mask[34:37, 34:37, 34:37] = True
    return mask


def test_an_island_goes_and_a_hole_is_filled_with_what_is_in_it(scene):
    whole = disc((40, 40, 40), (18, 18, 18), 12)
    found = tidy(scene, free(scene), fill_holes=0.2, drop_islands=0.05)
    np.testing.assert_array_equal(found, whole)


def test_shares_decide_what_is_small(scene):
    pieces = sorted(np.bincount(ndimage.label(scene, np.ones((3, 3, 3)))[0].ravel())[1:])
    between = (pieces[1] - 0.5) / pieces[2], (pieces[1] + 0.5) / pieces[2]
    kept = [tidy(scene, free(scene), fill_holes=0, drop_islands=share)[35, 35, 35] for share in between]
    assert kept == [True, False]
    hole = np.count_nonzero(disc((40, 40, 40), (18, 18, 18), 4)) - 1
    size = np.count_nonzero(scene)
    filled = [tidy(scene, free(scene), fill_holes=(hole + d) / size, drop_islands=0)[18, 18, 19] for d in (-0.5, 0.5)]
    assert filled == [False, True]


def test_what_a_stroke_touches_stays(scene):
    fixed = free(scene)
    fixed[36, 36, 36] = 1
    fixed[18, 20, 18] = 2
    np.testing.assert_array_equal(tidy(scene, fixed, fill_holes=1, drop_islands=0.05)[30:], scene[30:])
    assert not tidy(scene, fixed, fill_holes=1, drop_islands=0)[18, 20, 18]
    assert not tidy(scene, fixed, fill_holes=1, drop_islands=0)[18, 18, 20]
    fixed[fixed == 2], fixed[fixed == 1] = 1, 2  # the other label beside them says nothing
    fixed[36, 36, 36] = 0
    assert not tidy(scene, fixed, fill_holes=1, drop_islands=0.05)[34:37].any()


def test_a_ring_keeps_its_middle_and_a_shell_its_opening():
    ring = disc((40, 40), (20, 20), 14) & ~disc((40, 40), (20, 20), 9)
    np.testing.assert_array_equal(tidy(ring, free(ring), fill_holes=0.1, drop_islands=0.1), ring)
    tube = np.repeat(ring[..., None], 6, axis=2)  # what is open at the box's end is no hole
    np.testing.assert_array_equal(tidy(tube, free(tube), fill_holes=1, drop_islands=0.1), tube)


def test_thin_branches_stay():
    tree = np.zeros((48, 48, 48), bool)
    rng = np.random.default_rng(0)
    ends = [np.array([24, 24, 0])]
    for _ in range(24):
        at = ends[rng.integers(len(ends))].copy()
        step = rng.integers(-1, 2, 3)
        step[2] = 1
        for _ in range(8):  # one voxel thin, and askew: over corners
            tree[tuple(np.clip(at, 0, 47))] = True
            at = at + step
        ends.append(np.clip(at, 0, 47))
    assert ndimage.label(tree)[1] > 5  # many pieces, were corners not to count
    tree |= ndimage.binary_dilation(disc(tree.shape, (24, 24, 0), 5))
    found = tidy(tree, free(tree), fill_holes=0.05, drop_islands=0.05)
    np.testing.assert_array_equal(found[..., 6:], tree[..., 6:])


def test_pieces_of_one_size_are_all_kept():
    """A vessel that fell into pieces is no island beside itself."""
    mask = np.zeros((60, 9), bool)
    for k in range(0, 60, 10):
        mask[k : k + 7, 3:6] = True
    np.testing.assert_array_equal(tidy(mask, free(mask), fill_holes=1, drop_islands=0.5), mask)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_agrees_with_labelled_pieces(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 16, rng.integers(2, 4)).tolist())
    mask = rng.random(shape) < rng.choice([0.2, 0.5, 0.8])
    mask = np.asfortranarray(mask) if rng.random() < 0.5 else mask
    fixed = rng.choice(np.array([0, 1, 2], np.uint8), shape, p=[0.9, 0.05, 0.05])
    drop, fill = rng.choice([0.0, 0.1, 0.5, 1.0], 2)
    expected = mask.copy()
    if drop:
        numbered, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)
        for k in range(1, count + 1):
            piece = numbered == k
            if sizes[k] < drop * sizes[1:].max() and not (fixed[piece] == 1).any():
                expected[piece] = False
    if fill:
        numbered, count = ndimage.label(~expected)
        size, inner = np.count_nonzero(expected), np.zeros(shape, bool)
        inner[tuple(slice(1, -1) if n > 1 else slice(None) for n in shape)] = True
        for k in range(1, count + 1):
            piece = numbered == k
            if inner[piece].all() and np.count_nonzero(piece) <= fill * size and not (fixed[piece] == 2).any():
                expected[piece] = True
    before = mask.copy()
    np.testing.assert_array_equal(tidy(mask, fixed, fill_holes=fill, drop_islands=drop), expected)
    np.testing.assert_array_equal(mask, before)
    assert tidy(mask, fixed, **NOTHING) is not None


@pytest.mark.parametrize("mask", [np.zeros((5, 5, 5), bool), np.ones((5, 5, 5), bool), np.ones((1, 1), bool)])
def test_nothing_and_everything_stay(mask):
    np.testing.assert_array_equal(tidy(mask, free(mask), fill_holes=1, drop_islands=1), mask)


def test_wrong_arguments_are_named():
    mask = np.zeros((3, 3), bool)
    with pytest.raises(ValueError, match="shape"):
        tidy(mask, np.zeros((3, 4), np.uint8), **NOTHING)
    with pytest.raises(ValueError, match="fill_holes is 2"):
        tidy(mask, free(mask), fill_holes=2, drop_islands=0)
    with pytest.raises(ValueError, match="drop_islands is -1"):
        tidy(mask, free(mask), fill_holes=0, drop_islands=-1)
