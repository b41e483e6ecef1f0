import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bifseg.prompts.interaction import Box
from bifseg.server.nninteractive.prompts import Labels, Mark, PromptScene

SHAPE, SPACING = (40, 50, 30), (1.0, 1.0, 1.0)
EMPTY = PromptScene(SHAPE, SPACING)
CUBE = PromptScene(SHAPE, SPACING, Box.parse("10:30,10:30,10:20"))
PLANE = PromptScene(SHAPE, SPACING, Box.parse("10:30,10:30,15"))


def mask(*ranges, shape=SHAPE):
    full = np.zeros(shape, bool)
    full[tuple(slice(*pair) for pair in ranges)] = True
    return full


def full(labels: Labels, shape=SHAPE):
    """A label map of the image, as a session makes it of stored labels; their box must be one it takes."""
    box = Box.parse(str(labels.box), shape)
    assert labels.array.dtype == np.uint8
    assert labels.array.shape == box.shape
    image = np.zeros(shape, np.uint8)
    image[box.slices] = labels.array
    return image


# ---- boxes


def test_a_flat_box_is_a_plane_and_a_thick_one_a_volume():
    assert EMPTY.by_box([[5, 20], [6, 30], [7, 8]], True) == {"kind": "box", "box": "5:20,6:30,7"}
    assert EMPTY.by_box([[7, 8], [5, 20], [6, 30]], True) == {"kind": "box", "box": "7,5:20,6:30"}
    assert EMPTY.by_box([[5, 20], [6, 30], [7, 12]], True) == {"kind": "box", "box": "5:20,6:30,7:12"}


@pytest.mark.parametrize(
    ("pairs", "union"),
    [
        ([[12, 28], [12, 28], [20, 21]], "10:30,10:30,15:21"),  # another plane
        ([[8, 20], [10, 30], [15, 16]], "8:30,10:30,15"),  # the same
        ([[20, 21], [12, 28], [5, 25]], "10:30,10:30,5:25"),  # a crossing one
    ],
)
def test_a_second_box_widens_the_first(pairs, union):
    assert PLANE.by_box(pairs, True) == {"kind": "resize", "box": union}


def test_a_box_is_clipped_to_the_image():
    assert EMPTY.by_box([[-5, 20], [6, 300], [7, 8]], True)["box"] == "0:20,6:50,7"


@pytest.mark.parametrize("pairs", [[[40, 50], [0, 9], [3, 4]], [[-9, 0], [0, 9], [3, 4]], [[9, 5], [0, 9], [3, 4]]])
def test_a_box_outside_the_image_is_refused(pairs):
    with pytest.raises(ValueError, match="is empty, or outside the image of shape"):
        EMPTY.by_box(pairs, True)


def test_a_box_that_is_a_line_is_refused():
    with pytest.raises(ValueError, match="at least two along two axes"):
        EMPTY.by_box([[5, 20], [6, 7], [7, 8]], True)


def test_a_box_against_the_object_is_background_where_it_meets_its_box():
    said = CUBE.by_box([[0, 15], [25, 50], [12, 13]], False)
    assert said.keys() == {"kind", "scribbles"}
    np.testing.assert_array_equal(full(said["scribbles"]), 2 * mask((10, 15), (25, 30), (12, 13)))


@pytest.mark.parametrize("shape", [(40, 50, 1), (40, 50, 2), (2, 50, 40)])
def test_where_the_image_has_two_planes_or_less_every_box_is_one_of_them(shape):
    axis = int(np.argmin(shape))
    pairs = [[5, 20]] * 3
    pairs[axis] = [0, shape[axis]]
    said = PromptScene(shape, SPACING).by_box(pairs, True)
    first = Box.parse(said["box"], shape)
    assert first.plane == axis
    assert first.start[axis] == 0
    pairs[axis] = [shape[axis] - 1, shape[axis]]
    second = Box.parse(PromptScene(shape, SPACING, first).by_box(pairs, True)["box"], shape)
    assert second.plane == axis
    assert second.start[axis] == shape[axis] - 1


# ---- points


def test_a_first_point_makes_a_cube_around_it():
    said = PromptScene((40, 60, 20), (2.0, 1.0, 4.0)).by_point((20, 30, 10), True)  # 80 x 60 x 80 mm: a cube of 20 mm
    assert said["kind"] == "box"
    assert said["box"] == "15:25,20:40,8:12"
    expected = mask((20, 21), (29, 32), (10, 11), shape=(40, 60, 20))
    np.testing.assert_array_equal(full(said["scribbles"], (40, 60, 20)), expected)


def test_a_first_point_in_a_corner_and_on_a_flat_image():
    assert EMPTY.by_point((0, 49, 0), True)["box"] == "0:6,43:50,0:6"
    said = PromptScene((64, 64, 1), SPACING).by_point((20, 20, 0), True)
    assert said["box"] == "12:28,12:28,0"
    assert full(said["scribbles"], (64, 64, 1)).sum() == 5


@pytest.mark.parametrize(("include", "label"), [(True, 1), (False, 2)])
def test_a_point_in_the_box_is_a_small_scribble_that_does_not_leave_it(include, label):
    said = CUBE.by_point((20, 20, 15), include)
    assert said["kind"] == "scribble"
    labels = full(said["scribbles"])
    assert labels[20, 20, 15] == label
    assert np.count_nonzero(labels) == 7
    labels = full(CUBE.by_point((10, 29, 19), include)["scribbles"])
    assert labels[10, 29, 19] == label
    assert np.count_nonzero(labels) == 4


def test_a_point_on_the_plane_of_a_2d_object_stays_there_and_one_elsewhere_makes_it_3d():
    assert Box.parse(PLANE.by_point((35, 20, 15), True)["box"]).plane == 2
    said = PLANE.by_point((35, 20, 20), True)
    assert said["kind"] == "resize"
    assert Box.parse(said["box"]).plane is None
    assert full(said["scribbles"])[35, 20, 20] == 1


def test_a_point_against_the_object_outside_its_box_changes_nothing_but_can_be_undone():
    said = CUBE.by_point((2, 2, 2), False)
    assert said["kind"] == "scribble"
    assert said["refine"] == "none"
    assert not full(said["scribbles"]).any()


def test_a_point_outside_the_image_is_refused():
    with pytest.raises(ValueError, match=r"The point \(40, 0, 0\) is outside the image"):
        EMPTY.by_point((40, 0, 0), True)


@pytest.mark.parametrize(
    "prompt",
    [
        lambda: EMPTY.by_point((20, 20, 15), False),
        lambda: EMPTY.by_box([[5, 20], [6, 30], [7, 8]], False),
        lambda: EMPTY.by_scribble(Mark.of(mask((5, 20), (6, 30), (7, 8))), False),
        lambda: EMPTY.by_lasso(Mark.of(mask((5, 20), (6, 30), (7, 8))), False),
    ],
)
def test_a_first_prompt_is_for_the_object(prompt):
    with pytest.raises(ValueError, match="The first prompt marks what belongs to the object"):
        prompt()


# ---- scribbles


def test_a_first_scribble_makes_the_box_of_its_extent_and_a_quarter():
    marks = mask((10, 30), (15, 35), (7, 8))
    said = EMPTY.by_scribble(Mark.of(marks), True)
    assert said["box"] == "5:35,10:40,7"
    np.testing.assert_array_equal(full(said["scribbles"]), marks)
    assert EMPTY.by_scribble(Mark.of(mask((10, 30), (15, 35), (7, 11))), True)["box"] == "5:35,10:40,2:16"


def test_a_straight_first_scribble_gets_an_area():
    slices_first = PromptScene((30, 50, 40), (5.0, 1.0, 1.0))
    said = slices_first.by_scribble(Mark.of(mask((7, 8), (0, 20), (39, 40), shape=(30, 50, 40))), True)
    assert said["box"] == "7,0:25,32:40"  # across the plane: where the spacing is coarsest
    assert EMPTY.by_scribble(Mark.of(mask((10, 30), (15, 16), (7, 8))), True)["box"] == "5:35,15,2:13"
    assert PromptScene((64, 64, 1), SPACING).by_scribble(
        Mark.of(mask((9, 10), (9, 40), (0, 1), shape=(64, 64, 1))), True
    )["box"] == ("1:18,1:48,0")


def test_a_first_scribble_of_one_voxel_is_a_point():
    assert (
        EMPTY.by_scribble(Mark.of(mask((10, 11), (15, 16), (7, 8))), True)["box"]
        == (EMPTY.by_point((10, 15, 7), True)["box"])
    )


@pytest.mark.parametrize(("include", "label"), [(True, 1), (False, 2)])
def test_a_scribble_inside_the_box_is_one(include, label):
    marks = mask((12, 20), (20, 21), (11, 12))
    said = CUBE.by_scribble(Mark.of(marks), include)
    assert said["kind"] == "scribble"
    np.testing.assert_array_equal(full(said["scribbles"]), label * marks)


def test_a_scribble_beyond_the_box_widens_it_or_is_cut_there():
    marks = mask((20, 36), (20, 21), (11, 12))
    said = CUBE.by_scribble(Mark.of(marks), True)
    assert said["kind"] == "resize"
    assert said["box"] == "10:38,10:30,10:20"
    np.testing.assert_array_equal(full(said["scribbles"]), marks)
    said = CUBE.by_scribble(Mark.of(marks), False)
    assert said["kind"] == "scribble"
    np.testing.assert_array_equal(full(said["scribbles"]), 2 * mask((20, 30), (20, 21), (11, 12)))


def test_a_scribble_on_the_plane_of_a_2d_object_keeps_it_2d_and_one_on_another_does_not():
    assert PLANE.by_scribble(Mark.of(mask((20, 36), (20, 21), (15, 16))), True)["box"] == "10:38,10:30,15"
    assert PLANE.by_scribble(Mark.of(mask((20, 36), (20, 21), (18, 19))), True)["box"] == "10:38,10:30,15:19"


# ---- lassos and masks


def ring(shape=SHAPE):
    x, y = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(x - 20, y - 25)
    image = np.zeros(shape, bool)
    image[..., 9] = abs(distance - 10) < 1
    disc = np.zeros(shape, bool)
    disc[..., 9] = distance < 11
    return image, disc


@pytest.mark.parametrize("which", [0, 1])
def test_a_lasso_is_the_region_within_its_line(which):
    said = EMPTY.by_lasso(Mark.of(ring()[which]), True)
    disc = ring()[1]
    assert said["kind"] == "box"
    assert said["box"] == "7:34,12:39,9"
    np.testing.assert_array_equal(full(said["initial"]), disc)
    core = full(said["scribbles"])
    assert core[20, 25, 9] == 1
    assert 0.1 < np.count_nonzero(core) / disc.sum() < 0.4
    assert not (core & ~disc).any()


def test_a_lasso_later_is_a_scribble():
    disc = ring()[1]
    thick = PromptScene(SHAPE, SPACING, Box.parse("5:36,10:40,5:15"))
    core = full(thick.by_lasso(Mark.of(ring()[0]), True)["scribbles"])
    assert core[20, 25, 9] == 1
    assert np.count_nonzero(core) < disc.sum() / 2
    np.testing.assert_array_equal(full(thick.by_lasso(Mark.of(ring()[0]), False)["scribbles"]), 2 * disc)
    assert CUBE.by_lasso(Mark.of(ring()[0]), True)["kind"] == "resize"


def test_a_lasso_on_several_planes_is_filled_on_each():
    line, disc = (np.repeat(part[..., 9:10], 4, axis=2) for part in ring())
    filled = full(PromptScene((40, 50, 4), SPACING).by_lasso(Mark.of(line), True)["initial"], (40, 50, 4))
    np.testing.assert_array_equal(filled, disc)


def test_a_given_mask_is_kept_whole():
    disc = ring()[1]
    said = EMPTY.by_mask(Mark.of(disc))
    assert said["kind"] == "box"
    np.testing.assert_array_equal(full(said["initial"]), disc)


def test_an_empty_mask_marks_nothing():
    with pytest.raises(ValueError, match="marks no voxel"):
        Mark.of(np.zeros((3, 3, 3)))


def test_a_mark_knows_where_it_is():
    found = Mark.of(np.pad(np.ones((2, 3, 1)), 4), (10, 0, -4))
    assert (found.box.start, found.box.stop) == ((14, 4, 0), (16, 7, 1))
    assert found.mask.shape == (2, 3, 1)


# ---- anything


SHAPES = st.sampled_from([(40, 50, 30), (30, 8, 2), (1, 20, 20), (3, 3, 3), (2, 2, 9)])


@given(st.data(), SHAPES, st.sampled_from([(1.0, 1.0, 1.0), (0.5, 0.5, 6.0)]))
def test_every_prompt_after_another_is_an_interaction_that_a_session_takes(data, shape, spacing):
    """Boxes that the image holds, labels inside the box they go with, and the prompt's voxels among them."""
    scene = PromptScene(shape, spacing)
    for _ in range(4):
        low = [data.draw(st.integers(0, n - 1)) for n in shape]
        high = [data.draw(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True)]
        include, way = data.draw(st.booleans()), data.draw(st.sampled_from(["box", "point", "scribble", "lasso"]))
        marks = mask(*zip(low, high, strict=True), shape=shape)
        try:
            if way == "box":
                said = scene.by_box(list(zip(low, high, strict=True)), include)
            elif way == "point":
                said = scene.by_point(low, include)
            else:
                said = getattr(scene, f"by_{way}")(Mark.of(marks), include)
        except ValueError as error:
            if "The first prompt" in str(error) or "two along two axes" in str(error):
                continue
            raise
        box = Box.parse(said["box"], shape) if "box" in said else scene.box
        if box.plane is None:
            assert min(shape) > 2
        for part in ("initial", "scribbles"):
            if part in said:
                labels = full(said[part], shape)
                outside = labels.copy()
                outside[box.slices] = 0
                assert not outside.any()
                if include:
                    assert labels.any()
                assert set(np.unique(labels)) <= {0, 1 if include else 2}
        assert (said["kind"] == "box") == (scene.box is None)
        scene = PromptScene(shape, spacing, box)
