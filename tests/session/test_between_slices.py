"""Between slices: an object carried until it ends, and shapes between two that were drawn; one undo each."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg import Image, Session
from bifseg.errors import InvalidInput
from bifseg.networks.checkpoint import load_model
from bifseg.session.shape_interpolation import core_and_rest, gaps, goes_on, shape_between
from bifseg.storage.durable import DurableSession

MODEL = replace(load_model("default", 2), size=64)  # a quarter of the time
SHAPE, SPACING = (48, 48, 24), (1.0, 1.0, 2.0)
X, Y, Z = np.ogrid[:48, :48, :24]
CYLINDER = ((X - 24) ** 2 + (Y - 24) ** 2 <= 81) & (Z >= 5) & (Z < 19)
OBLIQUE = ((X - 14 - 0.8 * Z) ** 2 + (Y - 24) ** 2 <= 49) & (Z >= 0)
CONE = (X - 24) ** 2 + (Y - 24) ** 2 <= (3 + 0.5 * Z) ** 2
APART = 0.4 * (Z - 8).clip(0)
FORK = ((X - 24 - APART) ** 2 + (Y - 24) ** 2 <= 36) | ((X - 24 + APART) ** 2 + (Y - 24) ** 2 <= 36)
BOX = ((8, 40), (8, 40))


def scan(mask, noise=10.0):
    seen = np.random.default_rng(0).normal(0, noise, SHAPE) + 100 + 150 * mask
    return Image(seen.astype(np.float32), SPACING)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def drawn(truth, planes):
    """A session in which the object was drawn by hand in some planes."""
    session = Session(scan(truth), MODEL)
    session.box((*BOX, planes[0]), "vessel", initial=truth, refine="none")
    for plane in planes[1:]:
        session.propagate(plane, refine="none")
        box = session.state.objects[session.state.current].box
        session.scribble(box.paste(np.where(truth[box.slices], 1, 2).astype(np.uint8), SHAPE), refine="none")
    return session


def taught(truth, noise=10.0):
    """A session that learnt from strokes in the plane 12 what the object looks like."""
    session = Session(scan(truth, noise), MODEL)
    session.box((*BOX, 12), "vessel")
    strokes = np.where(truth, 1, 2) * ((X % 4 == 0) & (Z == 12))
    strokes[:8] = strokes[40:] = strokes[:, :8] = strokes[:, 40:] = 0
    session.scribble(strokes.astype(np.uint8))
    return session


def kept(session):
    return [(name, one.box, one.mask.tobytes(), one.given) for name, one in session.state.objects.items()]


# ---- shapes


@given(st.floats(4, 9), st.floats(4, 9), st.floats(-6, 6), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_between_two_discs_lies_the_disc_between(one, other, away, share):
    def disc(radius, middle):
        return ((X - middle) ** 2 + (Y - 24) ** 2 <= radius**2)[..., 0]

    between = shape_between(disc(one, 24), disc(other, 24 + away), share, (1, 1))
    radius, middle = one + share * (other - one), 24 + share * away
    assert not (disc(radius - 1, middle) & ~between).any()  # the border is right to a voxel: discs are drawn in voxels
    assert not (between & ~disc(radius + 1, middle)).any()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_ends_are_the_shapes_themselves_and_the_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    first, second = (rng.random((9, 7)) < 0.5 for _ in range(2))
    first[4, 3] = second[4, 3] = True
    spacing = (1.0, 2.0)
    np.testing.assert_array_equal(shape_between(first, second, 0, spacing), first)
    np.testing.assert_array_equal(shape_between(first, second, 1, spacing), second)
    np.testing.assert_array_equal(shape_between(first, first, 0.3, spacing), first)
    there, back = shape_between(first, second, 0.25, spacing), shape_between(second, first, 0.75, spacing)
    assert np.count_nonzero(there != back) <= 1  # a tie of distances


def test_masks_between_which_nothing_can_be_are_refused():
    disc = np.ones((4, 4), bool)
    for first, second, share in ((disc, ~disc, 0.5), (disc, disc[:3], 0.5), (disc, disc, 1.5)):
        with pytest.raises(InvalidInput):
            shape_between(first, second, share, (1, 1))
    assert gaps([4, 1, 2]) == [(2, 4)]


def test_an_object_goes_on_where_it_overlaps_and_looks_alike():
    mask, other = CYLINDER[..., 8], np.roll(CYLINDER[..., 8], 12, 0)
    seen, empty = (scan(shown).array[..., 8] for shown in (CYLINDER, CYLINDER & False))
    assert goes_on(mask, mask, seen, seen)
    assert not goes_on(mask, mask & False, seen, seen)
    assert not goes_on(mask, other, seen, seen)
    assert not goes_on(mask, mask, seen, empty)
    assert goes_on(mask, mask, empty, empty)  # intensities do not tell


# ---- sessions


@pytest.mark.parametrize(("truth", "least"), [(CYLINDER, 0.99), (OBLIQUE, 0.93), (CONE, 0.95), (FORK, 0.9)])
def test_gaps_are_filled_by_the_object_in_between(truth, least):
    session = drawn(truth, (6, 12, 18))
    before = kept(session)
    session.interpolate()
    filled = session.labels > 0
    assert (filled[..., 6:19].any((0, 1))).all()
    assert dice(filled[..., 6:19], truth[..., 6:19]) >= least
    assert not filled[..., :6].any()
    assert not filled[..., 19:].any()
    after = kept(session)
    assert session.names == ["vessel"]
    assert session.undo()
    assert kept(session) == before
    assert session.redo()
    assert kept(session) == after


def test_interpolation_can_be_cancelled_between_any_two_planes():
    session = drawn(CYLINDER, (6, 10, 14))
    before = kept(session)
    for taken in range(6):
        steps = session.rounds("interpolate")
        told = [next(steps) for _ in range(taken)]
        steps.close()
        assert kept(session) == before
        assert not any(step.last for step in told)
    told = list(session.rounds("interpolate"))
    assert [step.index for step in told] == list(range(6))
    assert [step.last for step in told] == [False] * 5 + [True]
    assert all(np.isfinite(step.energy) and step.labels.any() for step in told)
    assert len(session.state.objects) == 9


def test_a_filled_slice_can_be_corrected_and_only_what_is_asked_for_is_filled():
    session = drawn(CYLINDER, (6, 10, 14))
    session.interpolate(between=(9, 14))
    assert sorted(one.box.start[2] for one in session.state.objects.values()) == [6, 10, 11, 12, 13, 14]
    session.select("vessel @12")
    wrong = np.zeros(SHAPE, np.uint8)
    wrong[12, 12, 12] = 1
    assert session.scribble(wrong)[12, 12, 12]
    assert not session.state.objects["vessel @12"].given
    with pytest.raises(InvalidInput, match="nothing to fill between the planes of 'vessel'"):
        session.interpolate((10, 14))
    for between in ((3, 99), (3,), "ab", (5, 5)):
        with pytest.raises(InvalidInput, match="no two planes"):
            session.interpolate(between)


def test_a_cylinder_is_carried_to_its_ends_in_one_interaction():
    session = taught(CYLINDER, noise=40)
    before = kept(session)
    session.propagate("end")
    found = session.labels > 0
    assert np.flatnonzero(found.any((0, 1))).tolist() == list(range(5, 19))
    assert dice(found, CYLINDER) > 0.75  # as good as a carried classifier is; its ends are exact
    assert session.undo()
    assert kept(session) == before


@pytest.mark.parametrize(("truth", "least"), [(OBLIQUE, 0.9), (CONE, 0.85), (FORK, 0.9)])
def test_what_moves_grows_or_forks_from_slice_to_slice_is_carried(truth, least):
    """What the neighbour says counts as evidence: by the classifier alone the cone came out at a Dice of 0.4."""
    truth = truth & (Z >= 0)
    session = taught(truth)
    session.propagate("end")
    assert dice(session.labels > 0, truth) >= least


def test_a_slice_says_of_its_neighbour_what_lies_well_inside_and_well_outside():
    disc = CYLINDER[..., 8]
    said = core_and_rest(disc, 2.0)
    assert disc[said == 1].all()
    assert not disc[said == 2].any()
    assert said[24, 24] == 1
    assert said[0, 0] == 2
    assert (said[24, 24 + 8 : 24 + 12] == 0).all()  # the border, and what may become it
    thin = np.zeros((9, 9), bool)
    thin[4, 2:7] = True
    assert (core_and_rest(thin, 4.0) == 1).any()
    assert not core_and_rest(thin & False).any()


def test_a_range_is_a_bound_and_what_is_drawn_stays():
    session = taught(CYLINDER)
    session.propagate(14)
    there = session.state.objects["vessel @14"]
    session.propagate((10, 17))
    assert np.flatnonzero((session.labels > 0).any((0, 1))).tolist() == list(range(10, 17))
    assert session.state.objects["vessel @14"] is there
    with pytest.raises(InvalidInput, match="no new part was made"):
        session.propagate([10, 17])
    for to in ((17, 10), (0, 99), [1], (0.5, 3)):
        with pytest.raises(InvalidInput, match="There are no planes"):
            session.propagate(to)
    with pytest.raises(InvalidInput, match="give no name"):
        session.propagate("end", "mine")


def test_a_3d_object_has_no_slices_between():
    session = Session(scan(CYLINDER))
    session.box((*BOX, (3, 21)), refine="none")
    with pytest.raises(InvalidInput, match="only a plane can be interpolated"):
        session.interpolate()


def test_both_are_journalled_as_one_entry_and_undone_at_once(store):
    id = store.create(store.add_image(scan(CYLINDER), "ann"), "ann")

    def act(**interaction):
        return deque(DurableSession(store, id).apply(interaction), maxlen=0)

    act(kind="box", box="8:40,8:40,8", name="vessel")
    act(kind="propagate", to=[8, 10])
    act(kind="propagate", to=14)
    act(kind="interpolate", between=[9, 14])
    planes = [about["box"].split(",")[2] for about in store.history(id).summary()["objects"]]
    assert planes == ["8", "9", "14", "10", "11", "12", "13"]
    assert [entry.kind for entry in store.entries(id)] == ["box", "propagate", "propagate", "interpolate"]
    act(kind="undo")
    assert len(store.history(id).summary()["objects"]) == 3
    with pytest.raises(InvalidInput, match="no two planes"):
        act(kind="interpolate", between={"a": 1})
