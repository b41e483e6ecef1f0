"""The mean shape of finished objects: in which part of their boxes they lie, however their scans are stored."""

from itertools import permutations, product

import numpy as np
import pytest

from bifseg.errors import InvalidInput
from bifseg.imaging.orientation import canonical_axes, in_canonical_order, in_order_of
from bifseg.method.mean_shape import CELLS, UNSEEN, mean_shape, shape_on_grid

STORED = canonical_axes(np.eye(3))
ORIENTATIONS = [np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def corner(shape=(20, 12, 16), side=0.5):
    """The corner at the first voxel."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(0, round(side * n)) for n in shape)] = True
    return mask


def stored(mask, direction):
    """The same voxels, in the order of a file whose axes run so."""
    return in_order_of(in_canonical_order(mask, STORED), canonical_axes(direction))


def test_the_48_ways_to_store_a_scan_have_one_shape():
    expected = mean_shape([corner()], [STORED])
    for direction in ORIENTATIONS:
        axes = canonical_axes(direction)
        there = stored(corner(), direction)
        assert np.allclose(mean_shape([there], [axes]), expected, atol=1e-5)
        here = stored(shape_on_grid(expected, STORED, (20, 12, 16)), direction)
        assert np.allclose(shape_on_grid(expected, axes, there.shape), here, atol=1e-5)


@pytest.mark.parametrize("plane", [0, 1, 2])
def test_a_plane_of_a_scan_has_the_axes_that_the_box_keeps(plane):
    array = np.arange(12.0).reshape(3, 4)
    for direction in ORIENTATIONS:
        axes = canonical_axes(direction, plane)
        assert sorted(axis for axis, _ in axes) == [0, 1]
        assert np.array_equal(in_order_of(in_canonical_order(array, axes), axes), array)
        whole = np.expand_dims(array, plane)  # the way of the scan that the plane is part of
        turned = in_canonical_order(whole, canonical_axes(direction)).squeeze()
        assert np.array_equal(in_canonical_order(array, axes), turned)


def test_it_is_sure_inside_and_outside_and_surer_after_more_objects():
    few, many = (mean_shape([corner()] * n, [STORED] * n) for n in (2, 20))
    there = shape_on_grid(many, STORED, (20, 12, 16))
    assert there[2, 2, 2] > 3
    assert there[-3, -3, -3] < -3
    assert (np.abs(many) >= np.abs(few) - 1e-6).all()
    bound = np.log((20 + UNSEEN) / UNSEEN)
    assert np.abs(many).max() <= bound + 1e-3
    assert many.shape == (CELLS[3],) * 3
    assert many.dtype == np.float32


def test_objects_in_boxes_of_other_sizes_count_alike():
    one = mean_shape([corner((20, 12)), corner((60, 70))], [canonical_axes(np.eye(3), 2)] * 2)
    other = mean_shape([corner((60, 70)), corner((20, 12))], [canonical_axes(np.eye(3), 2)] * 2)
    assert np.allclose(one, other, atol=1e-5)
    axes = canonical_axes(np.eye(3), 2)
    here = shape_on_grid(one, axes, (31, 47))
    assert here[3, 3] > 2
    assert here[-3, -3] < -2


def test_a_shape_of_planes_is_no_shape_of_volumes():
    with pytest.raises(InvalidInput, match="of 2D boxes, and this one is 3D"):
        shape_on_grid(np.zeros((4, 4), np.float32), STORED, (8, 8, 8))
