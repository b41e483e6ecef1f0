"""The journal in the store is what was appended; a history that is known follows it."""

import contextlib
import json
import tracemalloc

import numpy as np
import pytest
from stored_sessions import append, one, scan, state_of

from bifseg.storage import store as module
from bifseg.storage.journal import History
from bifseg.storage.snapshot import pack


def test_the_journal_is_what_was_appended(store, id):
    array = store.add_array(np.ones((2, 2, 2), np.uint8))
    assert append(store, id, 1, key="a") == 1
    assert append(store, id, 2, kind="scribble", request={"scribbles": {"labels": {"blob": array}}}) == 2
    assert append(store, id, kind="undo") == 3
    first, second, third = store.entries(id)
    assert (first.kind, first.key, second.kind, third.kind, third.state) == ("box", "a", "scribble", "undo", None)
    assert second.request == {"scribbles": {"labels": {"blob": array}}}
    assert first.created <= second.created <= third.created == store.session(id).touched
    assert [entry.number for entry in store.entries(id, after=1)] == [2, 3]
    assert store.find(id, "a") == first
    assert store.find(id, "b") is None
    history = store.history(id)
    assert (history.state, history.can_redo) == (first.state, True)
    assert store.history(id, store.history(id)) == history
    assert store.state(id).objects["object 1"].milliseconds == {"cut": 1.0}


def test_an_entry_needs_all_that_it_refers_to(store, id):
    with store.claimed(id, "worker", 60) as fence, pytest.raises(ValueError, match="no longer holds"):
        store.append(id, fence, "box", {}, state=None, summary={}, blobs=["0" * 64])
    assert store.entries(id) == []


def test_a_transaction_is_all_or_nothing(store, id):
    with contextlib.suppress(KeyboardInterrupt), store.transaction() as connection:
        connection.execute("UPDATE sessions SET title = 'changed'")
        raise KeyboardInterrupt
    assert store.session(id).title == ""


def test_an_undo_is_one_transaction(store, id, monkeypatch):
    """Each waits for the disk: of three, who looks for a moment waits three times."""
    append(store, id)
    begun, transaction = [], store.transaction

    def counted():
        begun.append(1)
        return transaction()

    monkeypatch.setattr(store, "transaction", counted)
    monkeypatch.setattr(store.claims._database, "transaction", counted)
    assert store.move(id, "me", "undo")["changed"]
    assert len(begun) == 1


def test_a_history_that_is_known_follows_the_journal(store, id, monkeypatch):
    monkeypatch.setattr(module, "SEGMENTS", 3)
    others = [store.create(store.add_image(scan(), "ann"), "ann") for _ in range(3)]
    for k in range(3):
        for session in (id, *others):
            append(store, session, k)
            assert store.history(session) == store.history(session, History())
    store.move(id, "me", "undo")
    assert store.history(id) == store.history(id, History())
    assert len(store._histories) == 1


def test_a_history_counts_by_what_its_states_name():
    """An object has a part in each of two thousand planes, and every step of it names them all."""
    about = {"segment": "0" * 64, "box": "0:2,0:2,0", "voxels": 1}
    whole = {"objects": {f"object 1 @{k}": about for k in range(2000)}, "current": None}
    assert History().after((k, "select", whole) for k in range(1, 11)).size == 1 + 10 * 2001


def test_histories_in_memory_are_small():
    """What a server knows of the journals of all sessions that were used: it is there beside 64 MiB of segments."""
    tidy = {"fill_holes": 0.0, "drop_islands": 0.0}
    about = {"segment": "0" * 64, "box": "20:80,40:100,30", "voxels": 1246, "tidy": tidy}
    text = json.dumps({"objects": {"object 1": about}, "current": "object 1"})
    tracemalloc.start()
    try:
        history = History().after((k, "scribble", json.loads(text)) for k in range(1, 1001))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held / history.size * module.SEGMENTS < 24 << 20


def test_segments_in_memory_are_bounded(store, monkeypatch):
    """By what they take in memory: scribbles, which a file keeps as those few voxels, are a whole box."""
    assert one().nbytes >= one().scribbles.nbytes + one().grid_probability.nbytes
    monkeypatch.setattr(module, "CACHED", 3 * one().nbytes)
    shas = [state_of(store, k)[1][0] for k in range(8)]
    loaded = [store.segment(sha) for sha in shas]
    assert [segment.milliseconds["cut"] for segment in loaded] == list(range(8))
    assert store.segment(shas[-1]) is loaded[-1]
    assert store.segment(shas[0]) is not loaded[0]
    assert len(store._segments) <= 3


def test_what_segments_tell_of_themselves_counts_in_memory(store, monkeypatch):
    """Nine thousand rounds that say nothing take 27 kB of a file, and 600 kB of memory."""
    monkeypatch.setattr(module, "CACHED", 1 << 20)
    for k in range(8):
        store.segment(store.add_blob(pack(one(rounds=({},) * 9_000, milliseconds={"cut": k}))))
    assert len(store._segments) <= 2
