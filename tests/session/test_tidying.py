"""Small holes and islands, filled and dropped or not, for an object that there is: nothing is learnt by it."""

import numpy as np
import pytest
from phantom_sessions import BOX, DRAWN, PLANE, QUICK, states_equal

from bifseg import Image, Session, Stroke

pytestmark = pytest.mark.usefixtures("coarse")

STROKES = [Stroke([(18, 14, 10), (18, 12, 10)], 1), Stroke([(8, 8, 10), (10, 8, 10)], 2)]
SOME = {"fill_holes": 0.05, "drop_islands": 0.5}


@pytest.fixture
def specks():
    """A ball in noise: masks of it have holes and islands."""
    rng = np.random.default_rng(0)
    x, y, z = np.ogrid[:40, :36, :20]
    ball = (x - 18) ** 2 + (y - 18) ** 2 + (2 * z - 20) ** 2 < 90
    values = np.where(ball, 160, 90) + rng.normal(0, 18, ball.shape)
    for at in ((18, 18, 10), (14, 18, 10)):
        values[tuple(slice(k - 1, k + 2) for k in at)] = 60
    for at in ((27, 9, 10), (8, 27, 10), (26, 26, 10)):
        values[tuple(slice(k - 1, k + 2) for k in at)] = 190
    return Image(values.astype(np.int16))


def session_on(image, box, drawn=STROKES, **rules):
    session = Session(
        image, parameters=QUICK[2 if isinstance(box[2], int) else 3].but(lam=0.01, band_lam=0.01, **rules)
    )
    session.box(box, "ball")
    if drawn:
        session.scribble(drawn)
    return session


@pytest.mark.parametrize("box", [BOX, PLANE])
def test_a_switched_rule_is_as_if_it_had_always_been_so(specks, box):
    none, both = dict.fromkeys(SOME, 0.0), SOME
    session, always = session_on(specks, box, drawn=[], **none), session_on(specks, box, drawn=[], **both)
    before, learnt = session.mask, session.state.objects["ball"]
    mask = session.tidy(**both)
    np.testing.assert_array_equal(mask, always.mask)
    assert (mask != before).any()
    part = session.state.objects["ball"]
    assert {name: getattr(part.parameters, name) for name in SOME} == both
    for name, weights in learnt.classifier.items():
        np.testing.assert_array_equal(part.classifier[name], weights)
    np.testing.assert_array_equal(part.grid_probability, learnt.grid_probability)
    np.testing.assert_array_equal(session.tidy(fill_holes=0.0, drop_islands=False), before)
    stroke = [Stroke([(18, 22, 10)], 1)]
    session.tidy(**both)
    np.testing.assert_array_equal(session.scribble(stroke), always.scribble(stroke))  # and so on from here


def test_each_rule_does_what_it_says_and_the_other_stays(scan):
    given = np.zeros(scan[0].shape, bool)
    given[8:20, 8:20, 6:12], given[12, 12, 8], given[26, 26, 8] = True, False, True
    session = Session(scan[0], parameters=QUICK[3].but(fill_holes=0.0, drop_islands=0.0))
    session.box(BOX, "one", initial=given, refine="none")
    one = session.tidy(drop_islands=1)
    assert (one[26, 26, 8], one[12, 12, 8]) == (False, False)
    assert session.state.objects["one"].parameters.fill_holes == 0
    both = session.tidy(fill_holes=1)
    assert (both[26, 26, 8], both[12, 12, 8]) == (False, True)
    assert session.state.objects["one"].parameters.drop_islands == 1


def test_what_is_scribbled_or_locked_stays_as_it_is(specks):
    session = session_on(specks, BOX, fill_holes=0.0, drop_islands=0.0)
    hole, island = (18, 18, 10), (27, 9, 10)
    session.scribble([Stroke([hole], 2), Stroke([island], 1)])
    mask = session.tidy(fill_holes=1, drop_islands=1)
    assert not mask[hole]
    assert mask[island]
    session.box(((16, 21), (16, 21), (8, 13)), "inside", refine="none")
    inside = session.mask
    session.select("ball")
    assert not (session.tidy(fill_holes=True) & inside).any()


def test_it_is_undone_and_done_again_by_the_bit(specks):
    session = session_on(specks, BOX, fill_holes=0.0, drop_islands=0.0)
    before = session.state
    session.tidy(**SOME)
    after = session.state
    session.undo()
    states_equal(session.state, before)
    session.redo()
    states_equal(session.state, after)


def test_all_parts_of_an_object_have_its_rules_and_no_other_object(specks):
    session = session_on(specks, PLANE, fill_holes=0.0, drop_islands=0.0)
    session.propagate(11)
    session.propagate(12)
    session.select("ball")
    session.box(((30, 38), (25, 34), 3), "other")
    other = session.state.objects["other"]
    session.select("ball @11")
    session.tidy(**SOME)
    assert session.state.current == "ball @11"
    for name, part in session.state.objects.items():
        assert (part.parameters.drop_islands == 0.5) is (name != "other")
    assert session.state.objects["other"] is other


def test_another_box_keeps_the_rules_that_an_object_was_given(scan):
    session = Session(scan[0])
    session.box(BOX, "liver", refine="none")
    session.resize(PLANE, refine="none")
    assert session.state.objects["liver"].parameters.drop_islands == 0  # of the preset, in a plane
    session.tidy(drop_islands=True)
    session.resize(BOX, refine="none")
    assert session.state.objects["liver"].parameters.drop_islands == 0.1
    session.tidy(drop_islands=False)
    session.resize(((6, 30), (6, 30), (2, 18)), refine="none")
    assert session.state.objects["liver"].parameters.drop_islands == 0


def test_a_given_mask_is_tidied_as_it_is(scan):
    given = np.zeros(scan[0].shape, bool)
    given[8:20, 8:20, 6:12], given[12, 12, 8], given[26, 26, 8] = True, False, True
    session = Session(scan[0])
    session.box(BOX, initial=given, refine="none")
    mask = session.tidy(fill_holes=True, drop_islands=True)
    expected = given.copy()
    expected[12, 12, 8], expected[26, 26, 8] = True, False
    np.testing.assert_array_equal(mask, expected)
    session.undo()
    np.testing.assert_array_equal(session.mask, given)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "Nothing is said to change; give fill_holes or drop_islands"),
        ({"fill_holes": 1.5}, "fill_holes is 1.5; it must lie between 0 and 1"),
        ({"drop_islands": -1}, "drop_islands is -1"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(scan, rules, message):
    session = Session(scan[0])
    with pytest.raises(ValueError, match="draw a box first"):
        session.tidy(fill_holes=True)
    session.box(PLANE, refine="none")
    session.scribble(DRAWN, refine="none")
    before = session.state
    with pytest.raises(ValueError, match=message):
        session.tidy(**rules)
    assert session.state is before
