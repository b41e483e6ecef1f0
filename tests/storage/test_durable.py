import time
from dataclasses import replace

import numpy as np
import pytest
from durable_sessions import BOX, PLANE, SCAN, SCRIBBLE, STROKE, do, drain

from bifseg.errors import Busy, KeyReused, NotFound, StorageFull
from bifseg.evaluation.replay import replay
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box, Stroke
from bifseg.prompts.painting import effort, rasterise
from bifseg.session.session import Session
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.storage.snapshot import pack


@pytest.fixture
def id(store):
    return store.create(store.add_image(SCAN, "ann"), "ann")


def same(a, b):
    assert list(a.objects) == list(b.objects)
    assert a.current == b.current
    for one, other in zip(a.objects.values(), b.objects.values(), strict=True):
        for name in ("packed", "scribbles", "grid_probability", "grid_weights"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        for name in ("name", "box", "model", "parameters", "given", "rounds", "milliseconds", "part_of"):
            assert getattr(one, name) == getattr(other, name)
        assert (one.start is None) == (other.start is None)
        for before, after in ((one.classifier, other.classifier), (one.start or {}, other.start or {})):
            assert before.keys() == after.keys()
            for name, weights in before.items():
                np.testing.assert_array_equal(weights, after[name])


def test_a_durable_session_is_a_session_and_comes_back_bit_for_bit_at_every_step(store, id):
    durable, plain = DurableSession(store, id), Session(SCAN)
    steps, told = drain(durable, BOX)
    assert [step["round"] for step in steps] == [0, 1]
    assert steps[-1]["last"]
    plain.box(Box.parse(BOX["box"]))
    do(durable, SCRIBBLE)
    plain.scribble([Stroke(**STROKE)])
    do(durable, PLANE)
    plain.box(Box.parse(PLANE["box"]), "slice")
    do(durable, {"kind": "select", "name": "object 1"})
    plain.select("object 1")
    do(durable, {"kind": "resize", "box": "14:46,14:45,9:21"})
    plain.resize(Box.parse("14:46,14:45,9:21"))
    do(durable, {"kind": "refine"})
    plain.refine()
    do(durable, {"kind": "rename", "name": "slice", "to": "plane"})
    plain.rename("slice", "plane")
    told = do(durable, {"kind": "remove", "name": "plane"})
    plain.remove("plane")
    assert told["current"] == "object 1"
    assert told["objects"][0]["voxels"] == plain.mask.sum()

    other = Store(store.folder)  # as another process sees it
    while True:
        state = other.state(id)
        np.testing.assert_array_equal(state.labels(SCAN.shape), plain.labels)
        if state.current:
            segment = state.objects[state.current]
            np.testing.assert_array_equal(segment.probability(), plain.probability()[segment.box.slices])
            np.testing.assert_array_equal(segment.uncertainty(), plain.uncertainty()[segment.box.slices])
        told = do(DurableSession(other, id), {"kind": "undo"})
        assert told["changed"] == plain.undo()
        if not told["changed"]:
            break
    assert told["objects"] == []
    while do(DurableSession(other, id), {"kind": "redo"})["changed"]:
        assert plain.redo()
    np.testing.assert_array_equal(other.state(id).labels(SCAN.shape), plain.labels)
    other.close()


def test_a_session_goes_on_as_if_its_process_had_never_changed(store, id):
    """Every interaction by a session that knows nothing but the store, against one that lives through all."""
    twin = store.create(store.session(id).image, "ann")
    alive = DurableSession(store, twin)
    for interaction in (BOX, SCRIBBLE, {"kind": "undo"}, SCRIBBLE, PLANE, {"kind": "undo"}, {"kind": "refine"}):
        do(alive, interaction)
        do(DurableSession(store, id), interaction)
        a, b = store.state(id), store.state(twin)
        np.testing.assert_array_equal(a.labels(SCAN.shape), b.labels(SCAN.shape))
        for one, other in zip(a.objects.values(), b.objects.values(), strict=True):
            np.testing.assert_array_equal(one.grid_probability, other.grid_probability)
    assert [entry.kind for entry in store.entries(id)] == [entry.kind for entry in store.entries(twin)]


def test_parts_and_erasers_go_on_as_if_their_process_had_never_changed(store, id):
    twin = store.create(store.session(id).image, "ann")
    alive, plain = DurableSession(store, twin), Session(SCAN)
    stroke = {**STROKE, "points": [[35, 25, 15], [37, 30, 15]], "label": 2}
    eraser = {"points": [[36, 27, 15]], "label": 0, "radius": 4}
    here, there = ({**eraser, "points": [[27, 27, z]]} for z in (15, 18))
    steps = [
        PLANE, {"kind": "scribble", "scribbles": {"strokes": [STROKE, stroke]}},
        {"kind": "scribble", "scribbles": {"strokes": [eraser]}}, {"kind": "propagate", "to": 17},
        {"kind": "propagate", "to": 18, "name": "top"},
        {"kind": "scribble", "scribbles": {"strokes": [{**STROKE, "points": [[25, 25, 18], [30, 30, 18]]}]}},
        {"kind": "scribble", "scribbles": {"strokes": [there]}}, {"kind": "undo"}, {"kind": "refine"},
        {"kind": "rename", "name": "slice", "to": "liver"}, {"kind": "select", "name": "liver"},
        {"kind": "scribble", "scribbles": {"strokes": [here]}}, {"kind": "remove", "name": "slice @17"},
        {"kind": "tidy", "fill_holes": True, "drop_islands": 0.3},
    ]  # fmt: skip
    for step in steps:
        do(alive, step)
        told = do(DurableSession(store, id), step)
        a, b = store.state(id), store.state(twin)
        np.testing.assert_array_equal(a.labels(SCAN.shape), b.labels(SCAN.shape))
        for one, other in zip(a.objects.values(), b.objects.values(), strict=True):
            assert pack(replace(one, milliseconds={})) == pack(replace(other, milliseconds={}))
    assert [(one["name"], one["part_of"]) for one in told["objects"]] == [("liver", None), ("top", "liver")]
    assert [one["tidy"] for one in told["objects"]] == [{"fill_holes": 0.005, "drop_islands": 0.3}] * 2
    assert (store.state(id).objects["top"].start is None, store.state(id).objects["liver"].start) == (False, None)
    plain.box(Box.parse(PLANE["box"]), "liver")
    plain.scribble([Stroke(**STROKE), Stroke(**stroke)])
    plain.scribble([Stroke(**eraser)])
    plain.propagate(18, "top")
    plain.scribble([Stroke(**{**STROKE, "points": [[25, 25, 18], [30, 30, 18]]})])
    plain.refine()
    plain.select("liver")
    plain.scribble([Stroke(**here)])
    plain.tidy(fill_holes=True, drop_islands=0.3)
    np.testing.assert_array_equal(plain.labels, store.state(id).labels(SCAN.shape))
    assert all(row.same for row in replay(store, id))


def test_the_version_of_an_object_changes_with_its_bits_alone(store, id):
    session, versions = DurableSession(store, id), []
    for step in (
        PLANE, {"kind": "propagate", "to": 16}, {"kind": "select", "name": "slice"}, SCRIBBLE, {"kind": "undo"},
        {"kind": "rename", "name": "slice", "to": "liver"},
    ):  # fmt: skip
        versions.append({one["box"]: one["version"] for one in do(session, step)["objects"]})
    first, part = PLANE["box"], PLANE["box"][:-2] + "16"
    assert all(len(version) == 16 and int(version, 16) for told in versions for version in told.values())
    assert versions[0][first] == versions[1][first] == versions[2][first] == versions[4][first]
    assert versions[3][first] != versions[2][first]
    assert versions[1][part] == versions[2][part] == versions[3][part] == versions[4][part]
    assert versions[5][first] != versions[4][first]


def test_two_processes_take_turns_on_one_session(store, id):
    one, other = DurableSession(store, id), DurableSession(Store(store.folder), id)
    do(one, BOX)
    do(other, SCRIBBLE)
    do(one, {"kind": "undo"})
    assert do(other, {"kind": "redo"})["number"] == 4
    same(store.state(id), other.store.state(id))
    rounds = one.apply(SCRIBBLE)
    next(rounds)
    with pytest.raises(Busy, match="Another process works on the session"):
        do(other, SCRIBBLE)
    rounds.close()
    assert do(other, SCRIBBLE)["number"] == 5
    other.store.close()


def test_who_lost_the_claim_cannot_write(store, id):
    slow, quick = DurableSession(store, id), DurableSession(store, id)
    do(slow, BOX)
    rounds = slow.apply(SCRIBBLE)
    next(rounds)
    with store.transaction() as connection:  # as if it had been silent for too long
        connection.execute("UPDATE claims SET expires = 0")
    do(quick, SCRIBBLE)
    with pytest.raises(Busy):
        list(rounds)
    assert [entry.kind for entry in store.entries(id)] == ["box", "scribble"]


def test_an_interaction_that_comes_twice_is_done_once(store, id):
    session = DurableSession(store, id)
    do(session, BOX, "a")
    first = do(session, SCRIBBLE, "b")
    again = do(DurableSession(store, id), SCRIBBLE, "b")
    assert again.pop("repeated")
    assert first["changed"]
    assert again == {**first, "changed": False}
    assert len(store.entries(id)) == 2


def test_a_key_that_comes_with_another_interaction_is_refused(store, id):
    """Else the second is silently not done."""
    session = DurableSession(store, id)
    do(session, BOX, "a")
    do(session, SCRIBBLE, "b")
    do(session, {"kind": "undo"}, "c")
    for other, key in (
        (SCRIBBLE, "a"), ({**BOX, "box": "8:24,8:24,5:11"}, "a"), ({"kind": "refine"}, "b"), ({"kind": "undo"}, "b"),
        (BOX, "c"), ({"kind": "redo"}, "c"), ({"kind": "submit"}, "a"),
    ):  # fmt: skip
        with pytest.raises(KeyReused, match="with another interaction before"):
            do(session, other, key)
    assert len(store.entries(id)) == 3
    assert do(session, dict(reversed(SCRIBBLE.items())), "b")["repeated"]  # the order of what it says says nothing
    assert do(session, {"kind": "undo"}, "c")["repeated"]
    assert len(store.entries(id)) == 3


def test_to_stop_is_to_cancel_and_an_error_changes_nothing(store, id):
    session = DurableSession(store, id)
    do(session, BOX)
    before = store.state(id)
    rounds = session.apply(SCRIBBLE)
    next(rounds)
    rounds.close()
    outside = {"kind": "scribble", "scribbles": {"strokes": [{"points": [[5, 5, 5]], "label": 1}]}}
    with pytest.raises(ValueError, match="outside the box"):
        do(session, outside)
    same(store.state(id), before)
    assert do(session, SCRIBBLE)["number"] == 2


def test_arrays_come_as_references(store, id):
    session = DurableSession(store, id)
    mask = np.zeros((10, 10, 4), np.uint8)
    mask[2:8, 2:8] = 1
    given = {"blob": store.add_array(mask), "box": "20:30,20:30,13:17"}
    do(session, {**BOX, "initial": given, "refine": "none"})
    whole = np.zeros(SCAN.shape, bool)
    whole[22:28, 22:28, 13:17] = True
    np.testing.assert_array_equal(store.state(id).labels(SCAN.shape) > 0, whole)
    assert store.state(id).objects["object 1"].given
    do(session, {"kind": "scribble", "scribbles": {"labels": given}, "refine": "crf"})
    assert not store.state(id).objects["object 1"].given
    assert (store.state(id).labels(SCAN.shape) > 0)[whole].all()
    do(session, {"kind": "submit", "labels": given, "title": "final"})
    assert store.entries(id)[-1].request == {"labels": given, "title": "final"}
    store.delete(id)
    assert given["blob"] not in store.blobs


@pytest.mark.parametrize(
    ("interaction", "sentence"),
    [
        ({"kind": "wish"}, "Unknown interaction 'wish'"),
        ({}, "Unknown interaction"),
        ({"kind": "box"}, "begins with a box, or with scribbles"),
        ({"kind": "box", "box": "1:2"}, "axes"),
        ({**BOX, "box": "15:45,15:45,10:200"}, "outside the image"),
        ({**BOX, "refine": "magic"}, "Unknown refinement"),
        ({**BOX, "initial": 7}, "stored array is given as"),
        ({"kind": "scribble"}, "draw a box first"),
        ({"kind": "select", "name": "x"}, "no object named"),
        ({"kind": "propagate", "to": 3}, "draw a box first"),
        ({"kind": "rename", "name": 3}, "needs 'name', a text"),
        ({**BOX, "scribbles": {}}, "give one of the two"),
        ({**BOX, "scribbles": {"strokes": []}}, "no strokes"),
        ({**BOX, "scribbles": {"strokes": [{"label": 1}]}}, "stroke needs points"),
        ({**BOX, "scribbles": {"strokes": [{"points": [["a", 1, 2]]}]}}, "could not convert"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(store, id, interaction, sentence):
    with pytest.raises(ValueError, match=sentence):
        do(DurableSession(store, id), interaction)
    assert store.entries(id) == []


def test_arrays_that_do_not_fit_and_are_not_there(store, id):
    session = DurableSession(store, id)
    wrong = {"blob": store.add_array(np.zeros((2, 2, 2), np.uint8)), "box": "0:4,0:4,0:4"}
    with pytest.raises(ValueError, match="needs uint8"):
        do(session, {**BOX, "initial": wrong})
    with pytest.raises(NotFound, match="no blob"):
        do(session, {**BOX, "initial": {"blob": "0" * 64, "box": "0:4,0:4,0:4"}})
    with pytest.raises(NotFound, match="no session"):
        DurableSession(store, "nothing")


@pytest.mark.parametrize("to", [None, "16", 15.5, 32, -1])
def test_a_plane_that_is_none_is_refused(store, id, to):
    session = DurableSession(store, id)
    do(session, {**PLANE, "refine": "none"})
    with pytest.raises(ValueError, match=r"There is no plane .* along z; the image has 0 to 31"):
        do(session, {"kind": "propagate", "to": to})
    assert len(store.entries(id)) == 1


def test_a_full_store_computes_nothing(tmp_path):
    store = Store(tmp_path, quota=SCAN.array.nbytes + 1000)
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    with store.transaction() as connection:
        connection.execute("UPDATE blobs SET bytes = ?", (store.quota,))
    with pytest.raises(StorageFull, match="may take"):
        do(DurableSession(store, id), BOX)
    store.close()


def test_a_session_of_another_model_keeps_its_masks(store, id, monkeypatch):
    do(DurableSession(store, id), BOX)
    mask = store.state(id).labels(SCAN.shape)
    from bifseg.session import crops as module

    shipped = module.load_model
    monkeypatch.setattr(module, "load_model", lambda name, dimension: shipped("pcnet" if dimension == 3 else "pnet"))
    later = DurableSession(store, id)
    with pytest.raises(ValueError, match=r"begun with another model.*its mask stays as it is"):
        do(later, SCRIBBLE)
    np.testing.assert_array_equal(store.state(id).labels(SCAN.shape), mask)


def test_strokes_that_would_hold_a_worker_are_refused_at_once(store):
    """20,000 points of radius 100 took 125 s, in which nobody could cancel and others waited."""
    wide = Image(np.random.default_rng(0).integers(0, 99, (220, 220, 60)).astype(np.int16))
    session = DurableSession(store, store.create(store.add_image(wide, "ann"), "ann"))
    points = np.random.default_rng(1).uniform((0, 0, 0), (219, 219, 59), (20_000, 3)).tolist()
    much = {"strokes": [{"points": points, "label": 1, "radius": 100}]}
    box = {"kind": "box", "box": "20:80,20:80,10:30", "refine": "none"}
    do(session, box)
    for interaction in (
        {"kind": "scribble", "scribbles": much}, {**box, "name": "b", "scribbles": much},
        {"kind": "resize", "box": box["box"], "scribbles": much},
    ):  # fmt: skip
        start = time.process_time()
        with pytest.raises(ValueError, match=r"over [\d.e+]+ million voxels; at most 300 are"):
            do(session, interaction)
        assert time.process_time() - start < 3
    assert len(store.entries(session.id)) == 1


def test_the_effort_of_strokes_bounds_what_is_painted():
    rng = np.random.default_rng(0)
    image = Image(np.zeros((30, 40, 20)), (1, 0.5, 2))
    for _ in range(20):
        strokes = [
            Stroke(rng.uniform((0, 0, 0), (29, 39, 19), (rng.integers(1, 5), 3)), 1, rng.uniform(0, 9))
            for _ in range(3)
        ]
        painted = np.count_nonzero(rasterise(strokes, image).labels)
        assert painted <= effort(strokes, image)
    single = [Stroke([(15, 20, 10)], 1, 100.0)]
    assert (
        np.count_nonzero(rasterise(single, image).labels) == 30 * 40 * 20 <= effort(single, image) <= 2 * 30 * 40 * 20
    )
