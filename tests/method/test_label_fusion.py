"""Label fusion: finished objects vote where another one lies, those that look alike above all."""

from itertools import permutations, product

import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.imaging.orientation import canonical_axes, in_canonical_order, in_order_of
from bifseg.method import label_fusion
from bifseg.method.label_fusion import fused_shape, look_of, stretched
from bifseg.method.mean_shape import CELLS, UNSEEN
from bifseg.prompts.interaction import Box

ORIENTATIONS = [np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def ball(at, n=40, radius=8, dimension=3):
    """One of two bright balls is the object; where it lies in the box, ``at``, is one of two places."""
    grid = np.indices((n,) * dimension)
    places = {
        side: np.sqrt(sum((axis - centre) ** 2 for axis in grid)) < radius for side, centre in enumerate((12, 28))
    }
    array = np.random.default_rng(at).normal(0, 5, grid[0].shape) + 100.0 * places[at] + 40.0 * places[1 - at]
    shape = (n,) * 3 if dimension == 3 else (n, n, 1)
    return Image(array.reshape(shape).astype(np.float32), (1, 1, 1)), places[at].reshape(shape)


def whole(image):
    x, y, z = image.shape
    return Box.of(((0, x), (0, y), (0, z) if z > 1 else 0), image.shape)


@pytest.mark.parametrize("dimension", [2, 3])
def test_an_object_lies_where_those_have_it_that_look_like_it(dimension):
    finished = [ball(k % 2, dimension=dimension) for k in range(4)]
    looks = [look_of(image, whole(image), mask) for image, mask in finished]
    for at in (0, 1):
        image, _ = ball(at, dimension=dimension)
        shape = fused_shape(stretched(image, whole(image)), looks)
        there = looks[at].mask > 0.5
        assert shape.shape == (CELLS[dimension],) * dimension
        assert 2 * ((shape > 0) & there).sum() > 0.9 * ((shape > 0).sum() + there.sum())


def test_log_odds_are_bounded_by_how_many_finished_objects_there_are():
    image, mask = ball(0)
    look = look_of(image, whole(image), mask)
    for n in (1, 5):
        shape = fused_shape(look.image, [look] * n)
        assert np.abs(shape).max() == pytest.approx(np.log((n + UNSEEN) / UNSEEN), rel=1e-4)
        assert shape.dtype == np.float32


def test_the_votes_are_those_of_a_slow_search(monkeypatch):
    monkeypatch.setattr(label_fusion, "CELLS", {2: 9})
    rng = np.random.default_rng(0)
    scans = [Image(rng.normal(size=(9, 9, 1)).astype(np.float32), (1, 1, 1)) for _ in range(3)]
    looks = [look_of(scan, whole(scan), rng.random((9, 9, 1)) < 0.5) for scan in scans[1:]]
    image = stretched(scans[0], whole(scans[0]))
    shape = fused_shape(image, looks)
    far = label_fusion.REACH

    def grey(array, x, y):
        return array[min(max(x, 0), 8), min(max(y, 0), 8)]

    for x, y in product(range(2, 7), repeat=2):  # where a patch of 3 at a distance of 2 lies inside
        differences, answers = [], []
        for look in looks:
            for i, j in product(range(-far, far + 1), repeat=2):
                patch = [
                    (image[x + a, y + b] - grey(look.image, x + i + a, y + j + b)) ** 2
                    for a, b in product((-1, 0, 1), repeat=2)
                ]
                differences.append(np.mean(patch))
                answers.append(grey(look.mask, x + i, y + j))
        least = min(differences)
        soft = label_fusion.SOFT[2] * (least + label_fusion.FLOOR)
        weights = np.exp((least - np.array(differences)) / soft)
        p = (2 * np.dot(weights, answers) / weights.sum() + UNSEEN) / (2 + 2 * UNSEEN)
        assert shape[x, y] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)


def test_those_that_look_least_alike_are_not_asked():
    image, mask = ball(0)
    other, _ = ball(1)
    like, unlike = look_of(image, whole(image), mask), look_of(other, whole(other), ~mask)
    alone = fused_shape(like.image, [like] * label_fusion.NEAREST)
    both = fused_shape(like.image, [unlike] * 4 + [like] * label_fusion.NEAREST)
    assert np.array_equal(alone > 0, both > 0)


def test_the_48_ways_to_store_a_scan_have_one_look():
    image, mask = ball(0, n=24)
    expected, stored = look_of(image, whole(image), mask), canonical_axes(np.eye(3))
    for direction in ORIENTATIONS:
        axes = canonical_axes(direction)
        array, turned = (in_order_of(in_canonical_order(each, stored), axes) for each in (image.array, mask))
        there = Image(np.ascontiguousarray(array), image.spacing, direction=direction)
        look = look_of(there, whole(there), np.ascontiguousarray(turned))
        assert np.allclose(look.image, expected.image, atol=1e-5)
        assert np.allclose(look.mask, expected.mask, atol=1e-5)


def test_a_look_is_of_its_box_alone_and_of_no_scale_of_grey():
    image, mask = ball(0)
    box = Box.of(((4, 30), (2, 38), (6, 36)), image.shape)
    there = Image(image.array * 7 - 300, image.spacing)
    there.array[~np.isin(np.arange(40), np.arange(4, 30))] = 1e6
    look, same = look_of(image, box, mask), look_of(there, box, mask)
    assert np.allclose(look.image, same.image, atol=1e-4)
    assert abs(look.image.mean()) < 1e-5
    assert look.image.std() == pytest.approx(1, abs=1e-5)
    flat = Image(np.ones((8, 8, 8), np.float32), (1, 1, 1))
    assert not stretched(flat, whole(flat)).any()
