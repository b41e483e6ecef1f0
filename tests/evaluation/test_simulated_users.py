import numpy as np
import pytest
from scipy import ndimage

from bifseg.evaluation.effort import Effort
from bifseg.evaluation.simulated_users import USERS, simulated_box, simulated_scribbles, user_of
from bifseg.evaluation.strokes import STYLES, centre_line, click, contour, ring, straight_line
from bifseg.prompts.interaction import Box


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def mistaken(shape):
    """A truth, a mask that misses half of it and leaks elsewhere, and a box around both."""
    flat = shape[2] == 1
    truth = ball(shape, (15, 14, 0 if flat else 8), 7)
    mask = truth.copy()
    mask[:14] = False
    mask |= ball(shape, (25, 22, 0 if flat else 8), 3)
    return truth, mask, Box.of(((2, 29), (2, 27), 0 if flat else (0, 16)), shape)


def test_a_simulated_box_holds_the_object_within_its_margin():
    truth = ball((40, 40, 20), (20, 18, 9), 7)
    seen = set()
    for seed in range(30):
        box = simulated_box(truth, np.random.default_rng(seed), margin=4)
        assert truth.sum() == truth[box.slices].sum()
        for (a, b), (low, high) in zip(
            zip(box.start, box.stop, strict=True), ((13, 28), (11, 26), (2, 17)), strict=True
        ):
            assert low - 4 <= a <= low
            assert high <= b <= high + 4
        seen.add(box)
    assert len(seen) > 20
    assert simulated_box(truth, np.random.default_rng(0), 10, plane=(2, 9)).plane == 2
    assert simulated_box(np.ones((5, 5, 5), bool), np.random.default_rng(0), 10).shape == (5, 5, 5)
    with pytest.raises(ValueError, match="absent"):
        simulated_box(truth, np.random.default_rng(0), plane=(2, 0))


@pytest.mark.parametrize("shape", [(40, 36, 1), (30, 28, 16)])
def test_simulated_scribbles_are_right_lie_in_the_largest_errors_and_are_lines(shape):
    truth, mask, box = mistaken(shape)
    labels = simulated_scribbles(mask, truth, box)
    assert labels.shape == shape
    assert set(np.unique(labels)) == {0, 1, 2}
    assert (truth & ~mask)[labels == 1].all()
    assert (mask & ~truth)[labels == 2].all()
    assert 0 < np.count_nonzero(labels) < 0.6 * np.count_nonzero(mask != truth)
    assert not simulated_scribbles(truth, truth, box).any()


@pytest.mark.parametrize("shape", [(40, 36, 1), (30, 28, 16)])
@pytest.mark.parametrize("name", [name for name in USERS if name != "sloppy"])
def test_every_careful_user_is_right_and_says_what_it_took(name, shape):
    truth, mask, box = mistaken(shape)
    drawing = USERS[name].correct(mask, truth, box, np.random.default_rng(0), (1.0, 1.0, 3.0))
    assert (truth & ~mask)[drawing.labels == 1].all()
    assert (mask & ~truth)[drawing.labels == 2].all()
    assert drawing
    assert drawing.effort.strokes == 2
    assert (drawing.effort.length == 0) == (name == "clicks")
    assert drawing.effort.length < 6
    assert drawing.effort.planes == 1
    assert not USERS[name].correct(truth, truth, box, np.random.default_rng(0))


def test_a_sloppy_user_is_now_and_then_wrong_and_seldom_in_place():
    truth, mask, box = mistaken((40, 36, 1))
    careful = USERS["careful"].correct(mask, truth, box, np.random.default_rng(0)).labels
    wrong = off = 0
    for seed in range(200):
        labels = USERS["sloppy"].correct(mask, truth, box, np.random.default_rng(seed)).labels
        assert not labels[~np.isin(np.arange(40), np.arange(2, 29))].any()
        wrong += bool((labels[(truth & ~mask)] == 2).sum() > 5) + bool((labels[(mask & ~truth)] == 1).sum() > 5)
        off += not (labels == careful).all()
    assert 0.02 < wrong / 400 < 0.09  # 5 % of the strokes
    assert off > 40
    again = [USERS["sloppy"].correct(mask, truth, box, np.random.default_rng(7)).labels for _ in range(2)]
    assert (again[0] == again[1]).all()


@pytest.mark.parametrize("shape", [(60, 50, 1), (50, 48, 30)])
def test_first_scribbles_mark_the_object_and_surround_it(shape):
    truth = ball(shape, (25, 24, 0 if shape[2] == 1 else 14), 9)
    view = Box.of([(0, n) for n in shape[:2]] + [0 if shape[2] == 1 else (0, shape[2])], shape)
    drawing = USERS["careful"].opening(truth, view, np.random.default_rng(1))
    inside, outside = drawing.labels == 1, drawing.labels == 2
    assert truth[inside].all()
    assert inside.any()
    assert not truth[outside].any()
    planes = 1 if shape[2] == 1 else 3
    assert (drawing.effort.strokes, drawing.effort.planes) == (2 * planes, planes)
    for axis in range(2):  # the loop encloses the object
        line, extent = np.flatnonzero(outside.any(axis=tuple({0, 1, 2} - {axis}))), np.flatnonzero(
            truth.any(axis=tuple({0, 1, 2} - {axis}))
        )  # fmt: skip
        assert line[0] < extent[0]
        assert line[-1] > extent[-1]


def test_strokes_of_every_style_lie_where_they_should():
    bar = np.zeros((30, 20), bool)
    bar[4:26, 6:15] = True
    depth = ndimage.distance_transform_edt(np.pad(bar, 1))[1:-1, 1:-1]
    for name, style in STYLES.items():
        painted, length = style(bar)
        assert painted.any(), name
        assert bar[painted].all(), name
        assert painted.dtype == bool
    assert centre_line(bar)[1] == pytest.approx(straight_line(bar)[1], abs=6)
    assert straight_line(bar)[1] <= np.hypot(22, 9)
    dot, length = click(bar)
    assert (length, np.count_nonzero(dot)) == (0, 9)
    assert depth[dot].max() == depth.max()
    line, length = contour(bar)
    assert set(np.rint(depth[line])) <= {2, 3}
    assert length == pytest.approx(2 * (22 - 5 + 9 - 5), rel=0.35)
    around, length = ring(bar, 2.0)
    assert not (around & bar).any()
    assert ndimage.label(around, np.ones((3, 3)))[1] == 1
    assert ndimage.binary_fill_holes(around)[bar].all()
    assert length == pytest.approx(2 * (22 + 9) + 2 * np.pi * 2.5, rel=0.25)
    one = np.zeros((5, 5), bool)
    one[2, 2] = True
    assert all(style(one)[0][2, 2] for style in STYLES.values())


def test_a_u_shape_is_not_crossed_by_a_straight_stroke():
    u = np.zeros((30, 30), bool)
    u[2:28, 2:8] = u[2:28, 22:28] = u[22:28, 2:28] = True
    assert u[straight_line(u)[0]].all()


def test_effort_adds_up_by_hand():
    assert Effort().seconds == 0
    assert Effort(box=2).seconds == pytest.approx(4 + 2**0.5)
    assert Effort(box=3).seconds == pytest.approx(9 + 2**0.5)
    assert Effort(strokes=2, box=2).seconds == Effort(box=2).seconds  # its corners
    assert Effort(strokes=3, length=2.5, planes=3).seconds == pytest.approx(2 + 3 + 2.5 + 2 * 1.5)


def test_users_are_found_by_name_and_margin():
    assert user_of("careful") is USERS["careful"]
    assert user_of("careful:10") is USERS["careful"]
    loose = user_of("sloppy:20")
    assert (loose.name, loose.margin, loose.wrong) == ("sloppy:20", 20, USERS["sloppy"].wrong)
    assert user_of("human").name == "human"
    for text in ("nobody", "", "careful:x", "careful:-1", "careful:", "careful:10000"):
        with pytest.raises(ValueError, match=r"known are careful|must be a number"):
            user_of(text)
