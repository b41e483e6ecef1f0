"""A mean shape drawn: its middle planes, as a radiologist looks at them."""

import numpy as np
import pytest

from bifseg.session.picture import shape_picture

RIGHT, FRONT, HEAD = range(3)


@pytest.mark.parametrize(
    ("end", "bright", "dark"),
    [
        (RIGHT, [("axial", 0, 1), ("coronal", 0, 1)], [("axial", 2, 1), ("coronal", 2, 1)]),
        (FRONT, [("axial", 1, 0), ("sagittal", 0, 1)], [("axial", 1, 2), ("sagittal", 2, 1)]),
        (HEAD, [("coronal", 1, 0), ("sagittal", 1, 0)], [("coronal", 1, 2), ("sagittal", 1, 2)]),
    ],
)
def test_right_is_on_the_left_and_front_and_head_are_above(end, bright, dark):
    shape = np.full((24, 24, 24), -4, np.float32)
    shape[tuple(slice(16, None) if axis == end else slice(None) for axis in range(3))] = 4
    drawn = shape_picture(shape, 30)
    assert drawn.shape == (90, 30, 1, 3)
    planes = dict(zip(("axial", "coronal", "sagittal"), np.split(drawn[:, :, 0, 0], 3), strict=True))
    for places, low, high in ((bright, 200, 255), (dark, 0, 55)):
        for plane, x, y in places:
            third = planes[plane][10 * x + 3 : 10 * x + 7, 10 * y + 3 : 10 * y + 7]
            assert third.min() >= low
            assert third.max() <= high
