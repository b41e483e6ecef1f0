"""The challenge's simulated user against a slow reading of its rules: loops, floods and brute-force distances."""

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from bifseg.evaluation.challenge import box_numbers, challenge_box, challenge_click, challenge_scores


def blobs(rng, shape, share=0.3):
    """A truth and a mask with several errors; ``share``: of the array that the truth fills."""
    smooth = rng.uniform(0.6, 2)
    a, b = (ndimage.gaussian_filter(rng.normal(size=shape), smooth) for _ in range(2))
    mixed = a + rng.uniform(0.1, 0.8) * b
    return a > np.quantile(a, 1 - share), mixed > np.quantile(mixed, 1 - share * rng.uniform(0.6, 1.3))


def literal_click(mask, truth):
    """The rules one by one, on (z, y, x) as the challenge has them."""
    mask, truth = mask.transpose(2, 1, 0), truth.transpose(2, 1, 0)
    error = {p for p in product(*map(range, truth.shape)) if mask[p] != truth[p]}
    if not error:
        return None
    components, seen = [], set()
    for p in sorted(error):  # by z, then y, then x
        if p not in seen:
            component, waiting = [], [p]
            seen.add(p)
            while waiting:
                q = waiting.pop()
                component.append(q)
                for step in product((-1, 0, 1), repeat=3):
                    n = tuple(np.add(q, step).tolist())
                    if n in error and n not in seen:
                        seen.add(n)
                        waiting.append(n)
            components.append(component)
    largest = max(components, key=len)  # the first of equals
    inside = set(largest)
    outside = np.array([p for p in product(*(range(-1, size + 1) for size in truth.shape)) if p not in inside])
    squares = {p: ((outside - p) ** 2).sum(1).min() for p in sorted(largest)}
    deepest = [p for p, square in squares.items() if square == max(squares.values())]
    z, y, x = deepest[np.random.RandomState(42).choice(len(deepest))]
    return (x, y, z), 1 if truth[z, y, x] else 2


def test_clicks_are_those_of_a_slow_reading_of_the_rules():
    rng = np.random.default_rng(0)
    labels, several = set(), 0
    for k in range(50):
        shape = tuple(rng.integers(3, 14, 3))
        truth, mask = blobs(rng, shape, rng.uniform(0.1, 0.7))
        if k % 10 == 0:
            mask = np.zeros_like(truth)  # nothing segmented: the whole object is the error
        click = challenge_click(mask, truth)
        assert click == literal_click(mask, truth)
        labels.add(click[1])
        sizes = np.bincount(ndimage.label(mask != truth, np.ones((3, 3, 3)))[0].ravel())[1:]
        several += (sizes == sizes.max()).sum() > 1
    assert labels == {1, 2}
    assert several  # two components of the same size came up


def test_of_components_of_one_size_the_first_by_slice_row_and_column_is_clicked():
    truth = np.zeros((9, 9, 9), bool)
    nothing = truth.copy()
    for first, second in (((7, 7, 1), (1, 1, 7)), ((7, 1, 4), (1, 7, 4)), ((1, 4, 4), (7, 4, 4))):
        truth[...] = False
        truth[first] = truth[second] = True
        assert challenge_click(nothing, truth) == (first, 1)
        assert challenge_click(truth, nothing) == (first, 2)


def test_what_is_missed_and_what_leaks_make_one_component_if_they_touch():
    truth, mask = np.zeros((2, 20, 7, 7), bool)
    truth[1:8, 1:6, 1:6] = True
    mask[8:15, 1:6, 1:6] = True  # beside it: the error is one block of 14 by 5 by 5
    click = challenge_click(mask, truth)
    assert click == literal_click(mask, truth)
    assert click[0][1:] == (3, 3)
    mask[8:19, 1:6, 1:6] = True
    truth[:, 1:6, 1:6] = False
    truth[1, 1:6, 1:6] = True
    assert challenge_click(mask, truth)[1] == 2


def test_a_perfect_mask_gets_no_click_and_numpys_own_random_numbers_are_left_alone():
    rng = np.random.default_rng(3)
    truth, mask = blobs(rng, (12, 11, 10))
    before = np.random.get_state()[1].copy()  # noqa: NPY002, what must not change
    assert challenge_click(truth, truth) is None
    assert challenge_click(mask, truth) == challenge_click(np.asfortranarray(mask), truth.copy())
    challenge_box(truth, box_numbers())
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def literal_box(truth, rng):
    """The rules one by one, on (z, y, x): closed intervals x, y, z."""
    truth = truth.transpose(2, 1, 0)
    depth, height, width = truth.shape
    voxels = [p for p in product(range(depth), range(height), range(width)) if truth[p]]
    middle = voxels[len(voxels) // 2][0]
    xs = [x for z, _, x in voxels if z == middle]
    ys = [y for z, y, _ in voxels if z == middle]
    shift = rng.randint(0, 6, 1)[0]
    sideways, updown = int(shift * width / 256), int(shift * height / 256)
    return (
        (max(0, min(xs) - sideways), min(width - 1, max(xs) + sideways)),
        (max(0, min(ys) - updown), min(height - 1, max(ys) + updown)),
        (voxels[0][0], voxels[-1][0]),
    )


def test_boxes_are_those_of_a_slow_reading_of_the_rules():
    rng, ours, theirs = np.random.default_rng(4), box_numbers(), box_numbers()
    wider = set()
    for _ in range(20):
        shape = (int(rng.integers(100, 300)), int(rng.integers(60, 200)), 5)
        truth = np.zeros(shape, bool)
        for _ in range(3):
            centre, radius = rng.integers(0, shape), rng.integers(2, (40, 30, 3))
            truth[tuple(slice(max(0, c - r), c + r) for c, r in zip(centre, radius, strict=True))] = True
        box, expected = challenge_box(truth, ours), literal_box(truth, theirs)
        assert (box.start, box.stop) == (tuple(a for a, _ in expected), tuple(b + 1 for _, b in expected))
        assert all(type(number) is int for number in box.start + box.stop)
        wider.add(box.start[0] - int(np.nonzero(truth)[0].min()))
    assert len(wider) > 2


def test_the_box_is_exact_along_z_and_ignores_what_other_slices_hold():
    truth = np.zeros((512, 256, 9), bool)
    truth[200:240, 100:120, 2:7] = True
    truth[10:14, 10:14, 7] = True
    box = challenge_box(truth, box_numbers())
    shift = np.random.RandomState(2025).randint(0, 6, 1)[0]
    assert shift > 0
    assert box.start == (200 - 2 * shift, 100 - shift, 2)
    assert box.stop == (240 + 2 * shift, 120 + shift, 8)
    truth[...] = False
    truth[30:40, 30:40, 3] = truth[60:70, 30:40, 4] = True  # of two equal slices the middle voxel is in the second
    assert challenge_box(truth, box_numbers()).start == (60 - 2 * shift, 30 - shift, 3)
    with pytest.raises(ValueError, match="absent"):
        challenge_box(np.zeros((4, 4, 4), bool), box_numbers())


def test_scores_leave_the_box_out_and_doubt_surfaces_where_dice_is_low():
    dices, nsds = [0.9, 0.1, 0.2, 0.3, 0.5, 0.7], [0.9, 0.6, 0.6, 0.6, 0.8, 1.0]
    expected = {
        "dsc_auc": pytest.approx(0.15 + 0.25 + 0.4 + 0.6),
        "nsd_auc": pytest.approx(0 + 0.3 + 0.7 + 0.9),
        "dsc_final": 0.7,
        "nsd_final": 1.0,
    }
    assert challenge_scores(dices, nsds) == challenge_scores(dices[1:], nsds[1:]) == expected
    assert challenge_scores([1.0] * 5, [1.0] * 5) == {"dsc_auc": 4, "nsd_auc": 4, "dsc_final": 1, "nsd_final": 1}
    assert challenge_scores([0.2] * 5, [1.0] * 5)["nsd_final"] == 0
    for wrong in (([1] * 4, [1] * 4), ([1] * 7, [1] * 7), ([1] * 5, [1] * 6)):
        with pytest.raises(ValueError, match="give 5"):
            challenge_scores(*wrong)
