"""What was erased is as if it had never been drawn."""

import numpy as np
import pytest
from phantom_sessions import BOX, DRAWN, PLANE, QUICK, states_equal

from bifseg import Box, Session, Stroke
from bifseg.prompts.painting import rasterise

pytestmark = pytest.mark.usefixtures("coarse")

WRONG = Stroke([(22, 10, 10), (27, 10, 10)], label=1, radius=1)


ERASER = Stroke([(22, 10, 10), (27, 10, 10)], label=0, radius=2)


@pytest.mark.parametrize("ranges", [BOX, PLANE])
def test_erasing_is_as_if_the_erased_had_never_been_drawn(scan, ranges):
    image, _ = scan
    erased, never, empty = (Session(image, parameters=QUICK[2 if ranges is PLANE else 3]) for _ in range(3))
    erased.box(ranges)
    erased.scribble(DRAWN)
    erased.scribble([WRONG])
    wrong = erased.probability()
    never.box(ranges, scribbles=DRAWN)
    np.testing.assert_array_equal(erased.scribble([ERASER]), never.mask)
    states_equal(erased.state, never.state)
    assert (erased.probability() != wrong).any()
    erased.undo()
    np.testing.assert_array_equal(erased.probability(), wrong)
    all_of_it = [Stroke([(5, 6, 10), (29, 29, 10)], label=0, radius=30)]
    empty.box(ranges)
    np.testing.assert_array_equal(erased.scribble(all_of_it), empty.mask)
    states_equal(erased.state, empty.state)


def test_an_eraser_takes_what_it_touches_and_strokes_have_their_order(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, refine="crf")
    session.scribble([WRONG], refine="crf")
    half = Stroke([(25, 10, 10), (29, 10, 10)], label=0, radius=2)
    before = session.scribbles
    gone = rasterise([Stroke(half.points, label=1, radius=2)], image).inside(Box((0, 0, 0), image.shape)) > 0
    session.scribble([half], refine="crf")
    assert 0 < np.count_nonzero(session.scribbles) < np.count_nonzero(before)
    np.testing.assert_array_equal(session.scribbles, np.where(gone, 0, before))
    again = Stroke([(26, 10, 10)], label=2)
    session.scribble([half, again], refine="crf")
    assert session.scribbles[26, 10, 10] == 2
    session.scribble([Stroke([(15, 20, 10)], label=1), Stroke([(15, 20, 10)], label=0), again], refine="crf")
    assert session.scribbles[15, 20, 10] == 0


def test_without_refinement_erasing_keeps_the_mask_and_forgets_what_was_learnt(scan):
    image, _ = scan
    session, never = (Session(image, parameters=QUICK[3]) for _ in range(2))
    session.box(BOX)
    session.scribble([*DRAWN, WRONG])
    mask = session.mask
    np.testing.assert_array_equal(session.scribble([ERASER], refine="none"), mask)
    never.box(BOX, scribbles=DRAWN)
    np.testing.assert_array_equal(session.refine(), never.mask)
    given_mask = np.zeros(image.shape, np.uint8)
    given_mask[10:20, 10:20, 5:12] = 1
    session.box(((4, 31), (5, 31), (1, 19)), "given", initial=np.where(session.mask, 0, given_mask), refine="none")
    kept = session.mask
    inside = Stroke([(8, 25, 10)], label=2)
    session.scribble([inside], refine="none")
    session.scribble([Stroke(inside.points, label=0)], refine="none")
    np.testing.assert_array_equal(session.mask, kept)
    assert session.state.objects["given"].given


def test_an_eraser_may_be_rough_but_must_meet_something(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, "a", refine="crf")
    with pytest.raises(ValueError, match="The eraser meets no scribble of 'a'"):
        session.scribble([ERASER], refine="crf")
    session.scribble([WRONG], refine="crf")
    state = session.state
    outside = Stroke([(1, 1, 1)], label=0)
    with pytest.raises(ValueError, match="The eraser meets no scribble of 'a'"):
        session.scribble([outside], refine="crf")
    with pytest.raises(ValueError, match="1 scribble voxels lie outside the box"):
        session.scribble([outside, Stroke([(1, 1, 2)], label=1)], refine="crf")
    with pytest.raises(ValueError, match="outside the image"):
        session.scribble([Stroke([(-9, 1, 1)], label=0)], refine="crf")
    assert session.state is state
    session.scribble([outside, *DRAWN], refine="crf")  # beside others it is no error
    session.scribble([Stroke([(1, 10, 10), (35, 10, 10)], label=0, radius=4)], refine="crf")
    assert (session.scribbles == 1).sum() < (state.objects["a"].scribbles == 1).sum() + 30
    assert not session.scribbles[22:28, 10, 10].any()
