"""Labels, masks and strokes of a brush are the same scribbles; a brush is round in millimetres."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phantom_sessions import BOX, PLANE, QUICK

from bifseg import Box, Image, Session, Stroke
from bifseg.prompts.painting import rasterise
from bifseg.prompts.scribbles import merge

pytestmark = pytest.mark.usefixtures("coarse")


def test_scribbles_come_as_labels_masks_or_strokes(scan):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[10:15, 12, 10], labels[20, 20, 10] = 1, 2
    strokes = [Stroke([(10, 12, 10), (14, 12, 10)], label=1), Stroke([(20, 20, 10)], label=2)]
    results = []
    for way in ({"labels": labels}, {"foreground": labels == 1, "background": labels == 2}, {"labels": strokes}):
        session = Session(image, parameters=QUICK[3])
        session.box(BOX)
        results.append(session.scribble(**way))
        np.testing.assert_array_equal(session.scribbles, labels)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_a_stroke_is_a_tube_of_its_radius_in_physical_space():
    image = Image(np.zeros((30, 30, 9)), spacing=(1, 1, 4))
    patch = rasterise([Stroke([(5, 15, 4), (25, 15, 4)], label=2, radius=3)], image)
    labels = patch.inside(Box((0, 0, 0), image.shape))
    assert patch.labels.size < labels.size / 2  # only what the brush can reach is looked at
    x, y, z = np.indices(image.shape)
    away = np.hypot(np.hypot(x - np.clip(x, 5, 25), y - 15), 4 * (z - 4))
    assert (labels[away <= 2.9] == 2).all()
    assert (labels[away > 3.001] == 0).all()
    assert not labels[:, :, [3, 5]].any()  # slices 4 mm away are untouched by a 3 mm brush


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_strokes_and_masks_are_the_same_labels_wherever_their_patch_begins(seed):
    rng = np.random.default_rng(seed)
    image = Image(np.zeros(rng.integers(4, 14, 3)), spacing=tuple(rng.choice([0.5, 1, 3], 3)))
    whole, last = Box((0, 0, 0), image.shape), np.array(image.shape) - 1
    strokes = [Stroke(rng.random((2, 3)) * last, int(rng.integers(1, 3)), rng.random() * 4) for _ in range(3)]
    painted = np.zeros(image.shape, np.uint8)
    for stroke in strokes:
        alone = rasterise([stroke], image).inside(whole)
        painted = np.where(alone > 0, alone, painted)
    np.testing.assert_array_equal(rasterise(strokes, image).inside(whole), painted)
    merged = merge(painted == 1, painted == 2)
    np.testing.assert_array_equal(merged.inside(whole), painted)
    assert merged.labels.size <= painted.size
    assert np.isin([1, 2], merged.labels).tolist() == np.isin([1, 2], painted).tolist()


def test_the_brush_is_a_disc_in_the_plane_of_a_2d_object(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[2])
    session.box(PLANE)
    stroke = Stroke([(15, 15, 10.2), (20, 15, 9.8)], label=1, radius=3)
    mask = session.scribble([stroke])
    ball = rasterise([Stroke([(15, 15, 10), (20, 15, 10)], label=1, radius=3)], image)
    ball = ball.inside(Box((0, 0, 0), image.shape))
    np.testing.assert_array_equal(session.scribbles[..., 10], ball[..., 10])
    assert ball[..., 9].any()  # elsewhere the brush has depth
    assert not session.scribbles[..., 9].any()
    assert mask[session.scribbles == 1].all()
    with pytest.raises(ValueError, match="outside the box"):
        session.scribble([Stroke([(15, 15, 11)], label=1, radius=3)])


# ---- parts of an object in other planes


def test_a_brush_may_reach_over_the_border_of_the_box_and_marks_nothing_there(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX)
    session.scribble([Stroke([(5, 6, 2)], label=2, radius=4)])
    marked = np.argwhere(session.scribbles)
    assert len(marked) > 20
    assert (marked >= (5, 6, 2)).all()
    assert not session.mask[session.scribbles == 2].any()
    with pytest.raises(ValueError, match="outside the box"):
        session.scribble([Stroke([(4, 6, 2)], label=2, radius=4)])
