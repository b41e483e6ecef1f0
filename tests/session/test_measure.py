"""Measures against what they mean: every pair of voxels of every slice."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.session.measure import Measure, measure

spacings = st.tuples(*[st.sampled_from([0.3, 1.0, 2.5])] * 3)


@st.composite
def masks(draw):
    """A random mask, often a single voxel, a line or next to nothing in a slice."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random(shape) < draw(st.sampled_from([0.01, 0.1, 0.6, 1.0]))
    if draw(st.booleans()):
        index = np.indices(shape)
        mask = (index[0] == draw(st.integers(1, 3)) * index[1]) & (index[2] >= draw(st.integers(0, 4)))
    return mask


def brute(mask, spacing, axis):
    longest = None
    for k in range(mask.shape[axis]):
        points = np.argwhere(np.moveaxis(mask, axis, 0)[k]) * np.delete(spacing, axis)
        if len(points):
            longest = max(longest or 0, np.sqrt(((points[:, None] - points) ** 2).sum(2)).max())
    return longest


@given(masks(), spacings, st.integers(0, 2))
@settings(max_examples=150, deadline=None)
def test_the_diameter_is_the_longest_distance_there_is(mask, spacing, axis):
    start = (5, 0, 100)
    found, expected = measure(mask, start, spacing, axis), brute(mask, spacing, axis)
    assert found.voxels == mask.sum()
    assert found.ml == pytest.approx(mask.sum() * np.prod(spacing) / 1000)
    if expected is None:
        assert found == Measure(0, 0.0, 0.0, None)
        return
    assert found.diameter_mm == pytest.approx(expected, abs=1e-4)
    a, b = (np.subtract(end, start) for end in found.ends)
    assert mask[tuple(a)]
    assert mask[tuple(b)]
    assert a[axis] == b[axis]
    assert np.linalg.norm((a - b) * spacing) == pytest.approx(expected, abs=1e-4)


def test_a_ball_has_its_volume_and_its_diameter():
    x, y, z = np.indices((60, 60, 30))
    ball = (x - 30) ** 2 + (y - 30) ** 2 + (2 * (z - 15)) ** 2 <= 20**2
    found = measure(ball, (0, 0, 0), (0.5, 0.5, 1.0), 2)
    assert found.ml == pytest.approx(4 / 3 * np.pi, rel=0.01)  # a centimetre is its radius
    assert found.diameter_mm == 20
    assert {end[2] for end in found.ends} == {15}
    assert found.ends == ((10, 30, 15), (50, 30, 15))


def test_a_large_object_is_measured_soon():
    x, y, z = np.indices((300, 300, 100), dtype=np.float32)
    mask = (x - 150) ** 2 + (y - 150) ** 2 + 9 * (z - 50) ** 2 < 149**2
    mask &= np.random.default_rng(0).random(mask.shape) < 0.9
    measure(mask[:50], (0, 0, 0), (1, 1, 3), 2)
    start = time.process_time()
    assert 290 < measure(mask, (0, 0, 0), (1, 1, 3), 2).diameter_mm < 298
    assert time.process_time() - start < 2
