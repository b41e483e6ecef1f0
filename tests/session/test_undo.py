"""Undo and redo give back every state bit for bit, and what was cancelled or undone leaves no trace."""

import numpy as np
import pytest
from phantom_sessions import BOX, PLANE, QUICK, states_equal

from bifseg import Session, Stroke
from bifseg.networks.checkpoint import DEFAULT

pytestmark = pytest.mark.usefixtures("coarse")


def frozen(session):
    """What a user can see now, copied."""
    probability = session.probability() if session.names else None
    return session.labels.copy(), probability, session.names


@pytest.mark.parametrize("ranges", [BOX, PLANE])
def test_undo_and_redo_give_back_every_state_bit_for_bit(scan, ranges):
    image, _ = scan
    session = Session(image, parameters=QUICK[2 if ranges is PLANE else 3])
    rng = np.random.default_rng(0)
    seen, states = [frozen(session)], [session.state]
    session.box(ranges, name="a")
    seen.append(frozen(session))
    states.append(session.state)
    for _ in range(3):
        labels = np.zeros(image.shape, np.uint8)
        labels[10:20, 10:20, 10] = rng.integers(0, 3, (10, 10))
        session.scribble(labels)
        seen.append(frozen(session))
        states.append(session.state)
    for k in reversed(range(len(seen) - 1)):
        assert session.undo()
        states_equal(session.state, states[k])
        for now, then in zip(frozen(session), seen[k], strict=True):
            np.testing.assert_array_equal(now, then)
    assert not session.undo()
    for k in range(1, len(seen)):
        assert session.redo()
        for now, then in zip(frozen(session), seen[k], strict=True):
            np.testing.assert_array_equal(now, then)
    assert not session.redo()


def test_refining_after_undo_is_as_if_the_undone_never_was(scan):
    image, _ = scan
    labels = np.zeros(image.shape, np.uint8)
    labels[10:14, 10:14, 10], labels[24:28, 24:28, 10] = 1, 2
    straight, detour = (Session(image, parameters=QUICK[3]) for _ in range(2))
    straight.box(BOX)
    detour.box(BOX)
    detour.scribble(np.where(labels > 0, 3 - labels, 0).astype(np.uint8))
    detour.undo()
    np.testing.assert_array_equal(straight.scribble(labels), detour.scribble(labels))
    np.testing.assert_array_equal(straight.probability(), detour.probability())
    assert not detour.redo()


def test_cancelling_changes_nothing(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3].but(rounds=3))
    session.box(BOX)
    before, state = session.mask.copy(), session.state
    labels = np.zeros(image.shape, np.uint8)
    labels[10:20, 10, 10] = 2
    rounds = session.rounds("scribble", labels)
    next(rounds)
    rounds.close()
    assert session.state is state
    np.testing.assert_array_equal(session.mask, before)
    assert len(list(session.rounds("scribble", labels))) == 4
    assert session.state is not state


def test_a_session_can_go_on_from_a_state_without_what_was_before(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX)
    later = Session(image, parameters=QUICK[3], state=session.state)
    assert not later.undo()
    labels = np.zeros(image.shape, np.uint8)
    labels[12:20, 12, 10] = 1
    np.testing.assert_array_equal(later.scribble(labels), session.scribble(labels))
    states_equal(later.state, session.state)


# ---- parts of an object in other planes


def test_an_object_goes_on_with_what_was_the_default_when_it_was_begun(scan, monkeypatch):
    image, _ = scan
    monkeypatch.setitem(DEFAULT, 3, "multiscale3d")
    session = Session(image)
    session.box(BOX)
    monkeypatch.setitem(DEFAULT, 3, "pcnet")
    later = Session(image, state=session.state)
    later.scribble([Stroke([(12, 12, 8), (18, 14, 8)], label=1)])
    segment = later.state.objects[later.state.current]
    assert segment.model.name == "multiscale3d"
    later.box(((6, 30), (6, 30), (2, 18)), "another")
    assert later.state.objects["another"].model.name == "pcnet"
