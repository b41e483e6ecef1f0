"""What is deleted goes when nobody needs it, and its file only when nothing says any more that it is there."""

import contextlib
import sqlite3
import time

import numpy as np
import pytest
from stored_sessions import append, files, scan

from bifseg.prompts.interaction import Box
from bifseg.storage.retention import sweep
from bifseg.storage.transfer import verify


def test_deleting_keeps_what_others_use(store):
    key = store.add_image(scan(), "ann")
    ids = [store.create(key, "ann") for _ in range(2)]
    for k, id in enumerate(ids):
        append(store, id, 0)  # the same segment in both
        append(store, id, k + 1)
    shared = store.entries(ids[0])[0].state["objects"]["object 1"]["segment"]
    store.delete(ids[0])
    assert shared in store.blobs
    assert store.segment(shared).name == "object 1"
    assert len(files(store)) == 3
    assert store.state(ids[1]).objects["object 1"].milliseconds == {"cut": 2.0}
    store.delete(ids[1])
    assert len(files(store)) == 1  # the image, which ann may use again
    assert store.read("SELECT count(*) FROM entries")[0][0] == 0


def deletions(store):
    """What can be deleted: a session, an image, all that is old."""
    id = store.create(store.add_image(scan(), "ann", b"headers"), "ann")
    append(store, id, 7)
    lone = store.add_image(scan(1), "ann", b"others")
    return {
        "session": lambda: store.delete(id),
        "image": lambda: store.forget_image(lone, "ann"),
        "sweep": lambda: sweep(store, keep_days=0, now=time.time() + 10),
    }


@pytest.mark.parametrize("what", ["session", "image", "sweep"])
def test_a_file_goes_only_when_nothing_says_any_more_that_it_is_there(store, monkeypatch, what):
    """Else a kill in between leaves a session that lacks a content: refine 404, and the export fails."""
    delete, seen = deletions(store)[what], []

    def killed(sha):
        with contextlib.closing(sqlite3.connect(store.folder / "store.sqlite")) as other:  # sees what is committed
            seen.append(other.execute("SELECT count(*) FROM blobs WHERE sha = ?", (sha,)).fetchone()[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.blobs, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            delete()
    assert seen == [0]
    assert list(verify(store)) == []
    known = {row["sha"] for row in store.read("SELECT sha FROM blobs")}
    assert known < files(store)
    sweep(store, now=time.time() + 7200)
    assert files(store) == known
    assert list(verify(store)) == []


def test_a_content_that_comes_back_while_it_is_deleted_stays(store, monkeypatch):
    delete, begin = deletions(store)["image"], store._database.transaction
    calls, back = [], []

    @contextlib.contextmanager
    def transaction():
        calls.append(1)
        if len(calls) == 2:  # it is forgotten, and its file is still there
            time.sleep(0.02)
            back.append(
                store.blobs.write(lambda file: np.lib.format.write_array(file, scan(1).array, allow_pickle=False))
            )
        with begin() as connection:
            yield connection

    monkeypatch.setattr(store, "transaction", transaction)
    delete()
    assert back[0] in store.blobs


def test_what_was_brought_in_vain_goes_and_what_is_used_stays(store, id):
    array, box = np.ones((2, 2, 2), np.uint8), Box((0, 0, 0), (2, 2, 2))
    one_, other = store.refer(array, box)["blob"], store.refer(2 * array, box)["blob"]
    with store.claimed(id, "worker", 60) as fence:
        store.append(id, fence, "submit", {}, state=None, summary={}, blobs=[other])
    store.withdraw([one_, other])
    assert (one_ in store.blobs, other in store.blobs) == (False, True)
