import numpy as np
import pytest
from durable_sessions import BOX, PLANE, SCAN, SCRIBBLE, do

from bifseg.errors import NotFound
from bifseg.evaluation.replay import replay, surviving
from bifseg.networks.checkpoint import DEFAULT, SHIPPED
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession

pytestmark = pytest.mark.usefixtures("coarse")

MORE = {
    "kind": "scribble",
    "scribbles": {"strokes": [{"points": [[17, 17, 15], [20, 17, 15]], "label": 2, "radius": 1}]},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A session with a wrong turn, a resized box, and a second object."""
    store = Store(tmp_path_factory.mktemp("store"))
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    session = DurableSession(store, id)
    for step in (BOX, MORE, {"kind": "undo"}, SCRIBBLE, {"kind": "resize", "box": "14:46,14:46,10:20"}, PLANE, MORE):
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

    monkeypatch.setattr("bifseg.evaluation.replay.make", lambda *_, **__: Spy())
    list(replay(store, id, "grabcut"))
    foreground = int((store.state(id).objects["object 1"].scribbles == 1).sum())
    background = int((store.state(id).objects["slice"].scribbles == 2).sum())
    assert heard == [
        ("box", BOX["box"]), ("scribbles", foreground, 0),
        ("box", "14:46,14:46,10:20"), ("scribbles", foreground, 0),
        ("box", PLANE["box"]), ("scribbles", 0, background),
    ]  # fmt: skip


def names_and_calls(store, id, monkeypatch):
    """What a method would be told in a replay, and which object each row is of."""
    heard = []

    class Spy:
        def start(self, image, box):
            heard.append(str(box))
            return np.ones(image.shape, bool)

        def refine(self, scribbles):
            heard.append(int(np.count_nonzero(scribbles)))
            return np.ones(scribbles.shape, bool)

    monkeypatch.setattr("bifseg.evaluation.replay.make", lambda *_, **__: Spy())
    return [(row.number, row.object) for row in replay(store, id, "grabcut")], heard


def test_renamed_removed_and_selected_objects_keep_their_methods(store, monkeypatch):
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    session = DurableSession(store, id)
    steps = [
        {**BOX, "refine": "none"}, {**PLANE, "refine": "none"}, {"kind": "rename", "name": "object 1", "to": "liver"},
        {"kind": "select", "name": "liver"}, {**MORE, "refine": "none"},
        {"kind": "remove", "name": "slice"}, {**PLANE, "refine": "none"},
    ]  # fmt: skip
    for step in steps:
        do(session, step)
    rows, heard = names_and_calls(store, id, monkeypatch)
    assert rows == [(1, "object 1"), (2, "slice"), (5, "liver"), (7, "slice")]
    marked = int(np.count_nonzero(store.state(id).objects["liver"].scribbles))
    assert heard == [BOX["box"], PLANE["box"], marked, PLANE["box"]]


def test_a_part_is_an_object_to_other_methods_and_erasers_are_nothing(store, monkeypatch):
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    session = DurableSession(store, id)
    eraser = {"points": [[18, 17, 15]], "label": 0, "radius": 5}
    elsewhere = {"points": [[35, 35, 15]], "label": 1}
    steps = [
        {**PLANE, "refine": "none"}, {**MORE, "refine": "none"},
        {"kind": "scribble", "scribbles": {"strokes": [eraser]}, "refine": "none"},
        {"kind": "propagate", "to": 16}, {"kind": "select", "name": "slice"},
        {"kind": "scribble", "scribbles": {"strokes": [elsewhere]}, "refine": "none"},
        {"kind": "scribble", "scribbles": {"strokes": [{**eraser, "points": [[35, 35, 15]]},
                                                       {**elsewhere, "points": [[25, 20, 15]]}]}, "refine": "none"},
    ]  # fmt: skip
    for step in steps:
        do(session, step)
    assert [row.same for row in replay(store, id)] == [True] * 7
    rows, heard = names_and_calls(store, id, monkeypatch)
    assert rows == [(1, "slice"), (2, "slice"), (4, "slice @16"), (6, "slice"), (7, "slice")]
    assert heard[0] == PLANE["box"]
    assert heard[2:] == [PLANE["box"][:-2] + "16", 1, 1]


def test_what_belongs_to_other_objects_is_not_the_methods(store, monkeypatch):
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    session = DurableSession(store, id)
    do(session, {**PLANE, "refine": "none"})
    do(session, {**BOX, "name": "all", "refine": "none"})
    names_and_calls(store, id, monkeypatch)
    taken = int(store.state(id).objects["slice"].mask.sum())
    last = list(replay(store, id, "grabcut"))[-1]
    assert taken > 0
    assert last.voxels == 30 * 30 * 10 - taken


def test_arrays_and_given_masks_are_replayed(store):
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    mask = np.zeros((10, 10, 4), np.uint8)
    mask[2:8, 2:8] = 1
    given = {"blob": store.add_array(mask), "box": "20:30,20:30,13:17"}
    session = DurableSession(store, id)
    do(session, {**BOX, "initial": given, "refine": "none"})
    do(session, {"kind": "scribble", "scribbles": {"labels": given}})
    before = set(store.blobs)
    assert all(row.same for row in replay(store, id))
    assert set(store.blobs) == before


def test_a_changed_record_is_not_the_same(store):
    """What says "same" does look: another seed, and so another classifier, is found."""
    id = store.create(store.add_image(SCAN, "ann"), "ann", seed=1)
    session = DurableSession(store, id)
    do(session, PLANE)
    do(session, SCRIBBLE)
    assert [row.same for row in replay(store, id)] == [True, True]
    with store.transaction() as connection:
        connection.execute("UPDATE sessions SET seed = 2")
    assert not all(row.same for row in replay(store, id))


def test_a_model_that_the_server_knows_by_name(store, tmp_path):
    file = tmp_path / "mine.safetensors"
    file.write_bytes((SHIPPED / f"{DEFAULT[2]}.safetensors").read_bytes())
    id = store.create(store.add_image(SCAN, "ann"), "ann", model="mine")
    models = {"mine": file}
    do(DurableSession(store, id, models=models), PLANE)
    assert [row.same for row in replay(store, id, models=models)] == [True]
    assert [row.number for row in replay(store, id, "network", models=models)] == [1]
    with pytest.raises(FileNotFoundError, match="Unknown model 'mine'"):
        list(replay(store, id))


def test_a_journal_that_does_not_lead_where_it_says(store):
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    do(DurableSession(store, id), PLANE)
    with store.transaction() as connection:
        connection.execute("UPDATE entries SET request = json_set(request, '$.name', 'other')")
    with pytest.raises(ValueError, match="entry 1 does not lead to the object 'slice'"):
        list(replay(store, id))


def test_what_cannot_be_replayed(recorded):
    store, _ = recorded
    with pytest.raises(NotFound, match="no session"):
        replay(store, "nothing")
    with pytest.raises(ValueError, match="Unknown method 'magic'"):
        replay(store, recorded[1], "magic")
