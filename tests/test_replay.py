import numpy as np
import pytest

from bifseg.durable import DurableSession
from bifseg.replay import replay, surviving
from bifseg.store import Store, UnknownError
from bifseg.synthetic.phantom import phantom
from test_durable import BOX, PLANE, SCRIBBLE, do

MORE = {
    "kind": "scribble",
    "scribbles": {"strokes": [{"points": [[35, 35, 30], [40, 35, 30]], "label": 2, "radius": 1}]},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A session with a wrong turn, a resized box, and a second object."""
    store = Store(tmp_path_factory.mktemp("store"))
    id = store.create(store.add_image(phantom(11)[0], "ann"), "ann")
    session = DurableSession(store, id)
    for step in (BOX, MORE, {"kind": "undo"}, SCRIBBLE, {"kind": "resize", "box": "28:92,28:92,20:40"}, PLANE, MORE):
        do(session, step)
    yield store, id
    store.close()


def test_replayed_by_itself_every_mask_is_the_same_bit_for_bit(recorded):
    store, id = recorded
    before = store.sessions()
    rows = list(replay(store, id))
    assert [row.kind for row in rows] == ["box", "scribble", "scribble", "resize", "box", "scribble"]
    assert all(row.same and row.dice == 1 and row.voxels == row.recorded > 0 for row in rows)
    assert store.sessions() == before


def test_what_was_undone_does_not_survive(recorded):
    store, id = recorded
    assert [entry.number for entry in surviving(store.entries(id))] == [1, 4, 5, 6, 7]


@pytest.mark.parametrize("method", ["grabcut", "geos", "crf"])
def test_another_method_gets_the_same_boxes_and_scribbles(recorded, method):
    store, id = recorded
    rows = list(replay(store, id, method))
    assert [(row.number, row.object) for row in rows] == [
        (1, "object 1"), (4, "object 1"), (5, "object 1"), (6, "slice"), (7, "slice"),
    ]  # fmt: skip
    assert not any(row.same for row in rows)
    assert all(0 <= row.dice <= 1 for row in rows)
    assert max(row.dice for row in rows) > 0.2
    assert all(row.recorded > 0 for row in rows)


def test_the_new_scribbles_alone_go_to_a_method(recorded, monkeypatch):
    store, id = recorded
    heard = []

    class Spy:
        def start(self, image, box):
            heard.append(("box", str(box)))
            return np.zeros(image.shape, bool)

        def refine(self, scribbles):
            heard.append(("scribbles", int((scribbles == 1).sum()), int((scribbles == 2).sum())))
            return scribbles == 1

    monkeypatch.setattr("bifseg.replay.make", lambda *_, **__: Spy())
    list(replay(store, id, "grabcut"))
    foreground = int((store.state(id).objects["object 1"].scribbles == 1).sum())
    background = int((store.state(id).objects["slice"].scribbles == 2).sum())
    assert heard == [
        ("box", "30:90,30:90,20:40"), ("scribbles", foreground, 0),
        ("box", "28:92,28:92,20:40"), ("scribbles", foreground, 0),
        ("box", "30:90,30:90,30"), ("scribbles", 0, background),
    ]  # fmt: skip


def test_what_cannot_be_replayed(recorded):
    store, _ = recorded
    with pytest.raises(UnknownError, match="no session"):
        replay(store, "nothing")
    with pytest.raises(ValueError, match="Unknown method 'magic'"):
        replay(store, recorded[1], "magic")
