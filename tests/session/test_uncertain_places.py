"""Places against a field of uncertainty whose worst spots are known."""

import time

import numpy as np
import pytest

from bifseg.session.uncertain_places import APART, LEAST, places


def field(shape, spots, spacing=(1, 1, 1), radius=4.0):
    """Bits that fall off around spots, each (voxel, bits at it)."""
    bits, grids = np.zeros(shape, np.float32), np.ogrid[tuple(map(slice, shape))]
    for centre, height in spots:
        square = sum(((g - c) * s) ** 2 for g, c, s in zip(grids, centre, spacing, strict=True))
        bits = np.maximum(bits, height * np.exp(-square / radius**2)).astype(np.float32)
    return bits


@pytest.mark.parametrize(
    ("shape", "spacing", "spots"),
    [
        ((80, 80, 80), (1, 1, 1), [((20, 60, 40), 1.0), ((60, 20, 11), 0.9), ((5, 5, 70), 0.8)]),
        ((60, 60, 20), (1, 1, 3), [((20, 44, 4), 1.0), ((50, 10, 16), 0.85)]),
        ((90, 1, 70), (0.5, 4, 0.5), [((10, 0, 60), 1.0), ((70, 0, 12), 0.8)]),
        ((200, 150, 1), (1, 1, 1), [((150, 30, 0), 1.0), ((20, 130, 0), 0.9)]),
    ],
)
def test_the_worst_places_come_first_in_the_voxels_of_the_array(shape, spacing, spots):
    side = np.mean([n * s for n, s in zip(shape, spacing, strict=True) if n > 1])
    found = places(field(shape, spots, spacing, radius=side / 15), spacing)
    assert len(found) == len(spots)
    for (voxel, bits), (centre, height) in zip(found, spots, strict=True):
        assert all(type(v) is int and 0 <= v < n for v, n in zip(voxel, shape, strict=True))
        assert np.linalg.norm(np.subtract(voxel, centre) * spacing) <= side / 24
        assert LEAST <= bits <= height


def test_what_is_near_is_one_place_and_what_is_far_another():
    rng = np.random.default_rng(0)
    found = places(rng.random((50, 50, 50)).astype(np.float32), (1, 1, 1), count=20)
    assert len(found) == 20
    voxels = np.array([voxel for voxel, _ in found])
    distances = np.linalg.norm(voxels[:, None] - voxels, axis=2) + 1e3 * np.eye(20)
    assert distances.min() > APART * 50 - 1.5
    assert sorted(found, key=lambda place: -place[1]) == found
    assert len(places(rng.random((50, 50, 50)).astype(np.float32), (1, 1, 1))) == 8


def test_a_large_region_counts_more_than_a_single_voxel():
    bits = field((60, 60, 60), [((40, 40, 40), 0.7)], radius=6)
    bits[10, 10, 10] = 1
    assert np.abs(np.subtract(places(bits, (1, 1, 1))[0][0], 40)).max() <= 2


def test_where_all_is_sure_there_is_no_place():
    assert places(np.zeros((20, 20, 20), np.float32), (1, 1, 1)) == []
    assert places(np.full((20, 20, 1), 0.05, np.float32), (1, 1, 1)) == []
    faint = field((80, 80, 80), [((20, 20, 20), 1.0), ((60, 60, 60), 0.2)], radius=8)
    assert len(places(faint, (1, 1, 1))) == 1  # beside the first the other is nothing


def test_uncertain_places_are_found_in_a_fraction_of_a_second():
    bits = np.random.default_rng(1).random((80, 80, 80)).astype(np.float32)
    places(bits, (1, 1, 1))
    start = time.process_time()
    places(bits, (1, 1, 1))
    assert time.process_time() - start < 0.2
