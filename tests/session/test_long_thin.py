"""Long and thin boxes: their working grid keeps points along its short sides, at a bounded cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg import Box, Image, Session
from bifseg.errors import InvalidInput
from bifseg.imaging.resampling import STRETCH, working_shape
from bifseg.method.crop import Crop
from bifseg.networks.checkpoint import load_model

SIDES = st.lists(st.integers(2, 2000), min_size=2, max_size=3)
SPACINGS = st.lists(st.floats(0.1, 10), min_size=3, max_size=3)


@given(SIDES, SPACINGS, st.integers(8, 128))
@settings(max_examples=100, deadline=None)
def test_the_grid_is_at_least_as_fine_and_bounded(shape, spacing, size):
    spacing, d = spacing[: len(shape)], len(shape)
    longest = size * (3 if d == 2 else 1)
    plain = np.array(working_shape(shape, spacing, size, longest))
    fine = np.array(working_shape(shape, spacing, size, longest, floor=size // 4))
    assert (fine >= plain).all()
    assert fine.max() <= max(longest, STRETCH * size)
    if (fine != plain).any():
        assert np.prod(np.maximum(fine - 0.5, 1)) <= size**d + 1e-6  # n + 1/2 points are rounded to n + 1
        assert fine.min() <= size // 4 + 1


@given(SIDES, SPACINGS, st.integers(8, 128))
@settings(max_examples=100, deadline=None)
def test_boxes_up_to_four_times_as_long_as_thin_keep_their_grid(shape, spacing, size):
    spacing, d = spacing[: len(shape)], len(shape)
    sides = np.multiply(shape, spacing)
    longest = size * (3 if d == 2 else 1)
    if sides.max() <= 4 * sides.min():
        assert working_shape(shape, spacing, size, longest, floor=size // 4) == working_shape(
            shape, spacing, size, longest
        )


def test_working_shapes_by_hand():
    assert working_shape((24, 24, 300), (1, 1, 1), 48, 48, floor=12) == (12, 12, 150)
    assert working_shape((4, 4, 300), (1, 1, 1), 48, 48, floor=12) == (4, 4, 300)  # no finer than the scan
    assert working_shape((40, 40, 200), (0.8, 0.8, 5), 48, 48, floor=12) == (12, 12, 375)
    assert working_shape((100, 100, 8), (1, 1, 1), 48, 48, floor=12) == (100, 100, 8)
    assert working_shape((128, 6400), (1, 1), 128, 384, floor=32) == (18, 905)


def tube(shape, spacing, radius):
    """A bright tube along z, its scan and its mask."""
    x, y, z = np.ogrid[tuple(slice(0, n) for n in shape)]
    near = ((x - shape[0] / 2) * spacing[0]) ** 2 + ((y - shape[1] / 2) * spacing[1]) ** 2
    mask = near + 0 * z <= radius**2
    noise = np.random.default_rng(0).normal(0, 15, shape)
    return Image((np.where(mask, 300, 100) + noise).astype(np.float32), spacing), mask


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize(
    ("shape", "spacing", "radius"),
    [((60, 60, 300), (1, 1, 1), 6), ((120, 120, 200), (0.8, 0.8, 5), 15), ((160, 160, 30), (0.3, 0.3, 5), 4)],
    ids=["spinal cord", "femur", "thick slices"],
)
def test_a_tube_is_found_from_its_box_and_kept_after_a_stroke(shape, spacing, radius):
    image, mask = tube(shape, spacing, radius)
    box = Box.around(mask, 0.2)
    session = Session(image)
    assert dice(session.box(box), mask) >= 0.9
    line = np.zeros(shape, np.uint8)
    line[shape[0] // 2, shape[1] // 2] = 1
    line[box.start[0], box.start[1]] = 2
    assert dice(session.scribble(line), mask) >= 0.9


def test_a_box_whose_grid_would_be_a_line_is_refused_in_one_sentence():
    image, _ = tube((8, 8, 300), (0.5, 0.5, 10), 1.2)
    with pytest.raises(InvalidInput, match=r"1500 times as long as it is thin.*several shorter boxes along it\.$"):
        Crop(image, Box.parse("2:6,2:6,0:300"), load_model("default", 3))
    image, _ = tube((2, 3000, 1), (1, 1, 1), 1)
    with pytest.raises(InvalidInput, match="1500 times as long as it is thin"):
        Crop(image, Box.parse("0:2,0:3000,0"), load_model("default", 2))
