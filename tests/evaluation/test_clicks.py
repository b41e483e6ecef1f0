"""The 2D click user against a slow reading of its rule: distances by brute force, pixels row by row."""

import numpy as np
import pytest
from scipy import ndimage

from bifseg.evaluation.clicks import next_click


def literal(mask, truth, clicked):
    width, height = truth.shape
    best = {}
    for label, side in ((2, mask & ~truth), (1, truth & ~mask)):
        outside = [
            (x, y)
            for y in range(-1, height + 1)
            for x in range(-1, width + 1)
            if not (0 <= x < width and 0 <= y < height and side[x, y])
        ]
        for y in range(height):
            for x in range(width):
                if side[x, y] and (x, y) not in clicked:
                    square = min((x - a) ** 2 + (y - b) ** 2 for a, b in outside)
                    if square > best.get(label, (0, None))[0]:
                        best[label] = square, (x, y)
    if not best:
        return None
    label = max(best, key=lambda label: best[label][0])  # the first, what leaks, where both are the same
    return best[label][1], label


def test_clicks_are_those_of_a_slow_reading_of_the_rule():
    rng, labels = np.random.default_rng(0), []
    for _ in range(25):
        shape = tuple(rng.integers(4, 16, 2))
        a, b = (ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(2))
        truth, mask = a > np.quantile(a, 0.6), a + 0.7 * b > 0
        clicked = []
        for _ in range(5):
            click = next_click(mask, truth, clicked)
            assert click == literal(mask, truth, clicked)
            if click is None:
                break
            clicked.append(click[0])
            labels.append(click[1])
    assert set(labels) == {1, 2}


def test_the_first_click_is_the_first_of_the_deepest_pixels_of_the_object():
    truth = np.zeros((12, 9), bool)
    truth[2:9, 3:6] = True  # 7 by 3: the middle row has five pixels that are 2 deep
    nothing = np.zeros_like(truth)
    assert next_click(nothing, truth) == ((3, 4), 1)
    assert next_click(nothing, truth, [(3, 4)]) == ((4, 4), 1)
    assert next_click(truth, nothing, iter([(3, 4)])) == ((4, 4), 2)
    truth[...] = True  # beyond the image is outside: the border is no place for a click
    assert next_click(nothing, truth) == ((4, 4), 1)


def test_nothing_to_click_where_all_is_right_or_clicked():
    truth = np.zeros((4, 4), bool)
    assert next_click(truth, truth) is None
    truth[1, 2] = True
    assert next_click(~truth & truth, truth, [(1, 2)]) is None
    leak = np.roll(truth, 1, axis=0)
    assert next_click(leak, truth) == ((2, 2), 2)  # as deep as what is missed
    with pytest.raises(ValueError, match="planes of one shape"):
        next_click(truth[..., None], truth[..., None])
