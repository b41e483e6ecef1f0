"""An object can begin with scribbles alone: they make its box."""

import numpy as np
import pytest
from phantom_sessions import QUICK

from bifseg import Box, Image, Session, Stroke
from bifseg.errors import InvalidInput
from bifseg.prompts.first_scribbles import ROOM, box_of, holding, plane_of
from bifseg.prompts.interaction import Patch

pytestmark = pytest.mark.usefixtures("coarse")


def painted(shape, *marks):
    """Labels in ranges of voxels."""
    labels = np.zeros(shape, np.uint8)
    for label, ranges in marks:
        labels[tuple(slice(*pair) for pair in ranges)] = label
    return labels


def box_around(labels, image):
    return box_of(Patch.of(labels), image.shape, image.spacing)


def test_a_loop_is_the_box_on_its_sides():
    image = Image(np.zeros((40, 40, 20)))
    labels = painted(
        image.shape,
        (1, ((14, 22), (18, 20), (8, 11))),
        (2, ((8, 9), (10, 30), (5, 15))),
        (2, ((30, 31), (10, 30), (5, 15))),
    )
    assert box_around(labels, image) == Box((8, 10, 5), (31, 30, 15))


def test_where_only_the_object_is_painted_it_gets_some_room_in_millimetres():
    image = Image(np.zeros((60, 60, 20)), spacing=(1, 2, 4))
    labels = painted(image.shape, (1, ((20, 40), (30, 32), (9, 12))))
    room = ROOM * 20
    assert box_around(labels, image) == Box(
        (20 - int(room), 30 - int(np.ceil(room / 2)), 9 - int(np.ceil(room / 4))),
        (40 + int(room), 32 + int(np.ceil(room / 2)), 12 + int(np.ceil(room / 4))),
    )
    beside = painted(image.shape, (1, ((20, 40), (30, 32), (9, 12))), (2, ((44, 45), (30, 32), (10, 11))))
    assert box_around(beside, image).stop == (45, 35, 14)  # one side alone is known


def test_the_room_ends_where_the_image_ends_and_a_plane_stays_one():
    image = Image(np.zeros((30, 30, 9)))
    box = box_around(painted(image.shape, (1, ((0, 28), (10, 13), (4, 5)))), image)
    assert box == Box((0, 3, 4), (30, 20, 5))
    assert box.plane == 2


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ((), "with scribbles of which one is in it"),
        (((2, ((3, 9), (3, 9), (3, 9))),), "with scribbles of which one is in it"),
    ],
)
def test_what_makes_no_box_is_refused(marks, words):
    image = Image(np.zeros((20, 20, 20)))
    with pytest.raises(InvalidInput, match=words):
        box_around(painted(image.shape, *marks), image)


def test_a_line_along_an_axis_lies_in_the_plane_across_the_coarser_spacing():
    labels = painted((30, 30, 30), (1, ((8, 16), (15, 16), (20, 21))))
    assert box_around(labels, Image(np.zeros(labels.shape), (1, 1, 3))) == Box((6, 13, 20), (18, 18, 21))
    assert box_around(labels, Image(np.zeros(labels.shape), (1, 3, 1))) == Box((6, 15, 18), (18, 16, 23))
    assert box_around(labels[:, 15:16], Image(np.zeros((30, 1, 30)), (1, 1, 3))) == Box((6, 0, 19), (18, 1, 22))


def test_strokes_on_one_plane_are_of_that_plane():
    image = Image(np.zeros((20, 20, 20)))
    flat = [Stroke([(3, 4, 7), (9, 12, 7)], 1, 2.0), Stroke([(2, 2, 7), (14, 15, 7)], 2, 2.0)]
    assert plane_of(flat, image) == Box((0, 0, 7), (20, 20, 8))
    assert plane_of([*flat, Stroke([(5, 5, 8)], 1)], image) is None
    line = [Stroke([(3, 4, 7), (9, 4, 7)])]  # it lies in two
    assert plane_of(line, image) == Box((0, 0, 7), (20, 20, 8))
    assert plane_of(line, Image(image.array, (1, 3, 1))) == Box((0, 4, 0), (20, 5, 20))
    assert plane_of([Stroke([(3, 4, 0), (9, 4, 0)])], Image(np.zeros((20, 20, 1)), (1, 9, 1))).plane == 2


def test_a_box_holds_later_scribbles():
    box, labels = Box((5, 5, 5), (10, 10, 10)), np.zeros((20, 20, 20), np.uint8)
    assert holding(box, labels) == box
    labels[7, 7, 7] = labels[12, 3, 8] = 2
    assert holding(box, labels) == Box((5, 3, 5), (13, 10, 10))


@pytest.mark.parametrize("way", ["labels", "strokes"])
def test_a_session_begins_an_object_with_scribbles(scan, way):
    image, _ = scan
    strokes = [Stroke([(10, 12, 10), (16, 18, 10)], 1, 1.0), Stroke([(8, 8, 10), (24, 24, 10)], 2, 0.0)]
    labels = painted(image.shape, (1, ((10, 16), (12, 18), (9, 12))), (2, ((8, 9), (8, 25), (6, 15))))
    given, dimension = (labels, 3) if way == "labels" else (strokes, 2)
    parameters = QUICK[dimension]
    session, known = (Session(image, parameters=one) for one in (parameters, parameters.opened()))
    mask = session.box(scribbles=given)
    box = session.state.objects["object 1"].box
    assert box.dimension == dimension
    np.testing.assert_array_equal(mask, known.box(box, scribbles=given))
    assert mask[session.scribbles == 1].all()
    assert not mask[session.scribbles == 2].any()
    session.undo()
    assert not session.names


def test_an_object_needs_a_box_or_scribbles(scan):
    with pytest.raises(InvalidInput, match="begins with a box, or with scribbles"):
        Session(scan[0]).box()


def test_strokes_that_begin_an_object_count_more_as_long_as_it_is_there(scan):
    image, _ = scan
    labels = painted(image.shape, (1, ((10, 16), (12, 18), (9, 12))), (2, ((8, 9), (8, 25), (6, 15))))
    plain, opened = QUICK[3].but(nearness=1.0, opening=2.0), QUICK[3].but(nearness=3.0, handicap=2.0, opening=0.0)
    session, known = Session(image, parameters=plain), Session(image, parameters=opened)
    np.testing.assert_array_equal(session.box(scribbles=labels), known.box(box_around(labels, image), scribbles=labels))
    wider = ((6, 28), (6, 28), (4, 17))
    np.testing.assert_array_equal(session.resize(wider), known.resize(wider))
    assert session.state.objects["object 1"].parameters == opened
    session.box(((20, 34), (20, 34), (4, 17)), scribbles=painted(image.shape, (1, ((26, 28), (26, 28), (9, 10)))))
    assert session.state.objects["object 2"].parameters == plain  # it has a box
