"""Neighbouring planes are computed beside each other, and nothing comes of it but speed."""

from threading import Barrier, Thread

import numpy as np
import pytest
import torch
from phantom_sessions import DRAWN, PLANE, QUICK

from bifseg import Session
from bifseg.session import crops_ahead

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def carried(image):
    """A session with an object that was carried through its neighbours, and another that was filled between two."""
    session = Session(image, parameters=QUICK[2])
    session.box(PLANE, "liver")
    session.scribble(DRAWN)
    session.propagate((8, 14))
    session.box(((5, 30), (6, 30), 2), "filled")
    session.propagate(5)
    session.interpolate()
    return session.state


@pytest.mark.usefixtures("_two_threads")
def test_two_planes_are_computed_at_a_time(scan, monkeypatch):
    both = Barrier(2)

    def crop(*arguments):
        both.wait(60)  # broken where one is made after the other
        return made(*arguments)

    made, session = crops_ahead.Crop, Session(scan[0], parameters=QUICK[2])
    session.box(PLANE, "liver")
    monkeypatch.setattr(crops_ahead, "Crop", crop)
    session.propagate((10, 13))
    assert session.parts == {"liver @11": "liver", "liver @12": "liver"}


@pytest.mark.usefixtures("_two_threads")
def test_what_is_computed_ahead_is_the_same_by_the_bit(scan, monkeypatch):
    ahead = carried(scan[0])
    monkeypatch.setattr(crops_ahead, "AT_ONCE", 1)
    for part, other in zip(ahead.objects.values(), carried(scan[0]).objects.values(), strict=True):
        assert (part.name, part.box, part.rounds) == (other.name, other.box, other.rounds)
        np.testing.assert_array_equal(part.packed, other.packed)
        np.testing.assert_array_equal(part.grid_probability, other.grid_probability)
    assert len(ahead.objects) > 5


@pytest.mark.usefixtures("_two_threads")
def test_threads_of_others_are_as_many_as_before(scan):
    carried(scan[0])
    found = []
    other = Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert [torch.get_num_threads(), *found] == [2, 2]
