"""The store: what is acknowledged is there, whoever is killed; nobody sees or changes what is another's."""

import contextlib
import errno
import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from stored_sessions import append, files, fill, one, scan, state_of

from bifseg.errors import Busy, NotFound, StorageFull
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box
from bifseg.storage import Store, contents
from bifseg.storage import store as module
from bifseg.storage.journal import History
from bifseg.storage.retention import sweep
from bifseg.storage.transfer import verify

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def id(store):
    return store.create(store.add_image(scan(), "ann"), "ann")


# ---- images


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_an_image_comes_back_as_it_was_mapped_from_the_disk(store, dtype):
    image = scan(dtype=dtype)
    key = store.add_image(image, "ann")
    back = store.image(key)
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert back.array.dtype == dtype
    assert not back.array.flags.writeable
    base = back.array
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    row = store.image_row(key, "ann")
    assert (row.shape, row.voxels, row.bytes) == (image.shape, image.array.size, image.array.nbytes)


def test_a_planar_image_stays_planar(store):
    image = Image(np.arange(30.0).reshape(5, 6))
    assert store.image(store.add_image(image, "ann")).planar


def test_an_image_is_stored_once_however_often_and_by_whom_it_comes(store):
    keys = {store.add_image(scan(), owner) for owner in ("ann", "bob", "ann")}
    assert len(keys) == len(files(store)) == 1
    assert store.add_image(Image(scan().array, (0.5, 1.5, 3.1)), "ann") not in keys  # elsewhere in the body
    assert len(files(store)) == 1
    assert [row.key for row in store.images("bob")] == list(keys)
    assert len(store.images("ann")) == 2


def headers(store: Store, key: str, owner: str) -> bytes | None:
    sha = store.image_row(key, owner).dicom
    return sha and store.blob(sha)


def test_three_users_with_the_same_voxels_each_have_the_headers_they_sent(store):
    """Else a DICOM-SEG carries the name of another user's patient."""
    sent = {"ann": b"of ann's patient", "bob": None, "eve": b"anonymous"}
    keys = {owner: store.add_image(scan(), owner, content) for owner, content in sent.items()}
    ids = {owner: store.create(key, owner) for owner, key in keys.items()}
    for owner, content in reversed(sent.items()):  # again, and in another order
        assert store.add_image(scan(), owner, content) == keys[owner]
    for owner, content in sent.items():
        assert headers(store, keys[owner], owner) == content
        assert headers(store, store.session(ids[owner]).image, owner) == content
        assert [row.key for row in store.images(owner)] == [keys[owner]]
        for other in sent.keys() - {owner}:
            with pytest.raises(NotFound):
                store.image_row(keys[owner], other)
            with pytest.raises(NotFound):
                store.create(keys[owner], other)
    assert len({store.image_row(key).blob for key in keys.values()}) == 1  # the voxels themselves are there once


def test_a_session_keeps_the_headers_that_it_was_begun_with(store):
    key = store.add_image(scan(), "ann", b"named")
    id = store.create(key, "ann")
    plain, anonymous = store.add_image(scan(), "ann"), store.add_image(scan(), "ann", b"anonymous")
    assert len({key, plain, anonymous}) == 3
    assert headers(store, store.session(id).image, "ann") == b"named"
    store.forget_image(plain, "ann")
    assert headers(store, key, "ann") == b"named"


def test_nobody_learns_since_when_others_have_an_image(store):
    key = store.add_image(scan(), "ann")
    with store.transaction() as connection:
        connection.execute("UPDATE images SET created = 5")
        connection.execute("UPDATE owners SET created = 5")
    before = time.time()
    store.add_image(scan(), "bob")
    assert store.image_row(key, "ann").created == store.images("ann")[0].created == 5
    assert store.image_row(key, "bob").created == store.images("bob")[0].created >= before


@pytest.mark.parametrize("array", [np.ones((4, 4, 4)), np.full((4, 4, 4), np.nan)])
def test_an_image_that_is_no_scan_leaves_nothing(store, array):
    with pytest.raises(ValueError, match=r"constant|NaN"):
        store.add_image(Image(array), "ann")
    assert files(store) == set()
    assert store.images("ann") == []


def test_an_image_goes_with_the_last_who_needs_it(store):
    key = store.add_image(scan(), "ann", b"headers")
    store.add_image(scan(), "bob", b"headers")
    id = store.create(key, "ann")
    with pytest.raises(Busy, match="used by sessions"):
        store.forget_image(key, "ann")
    store.forget_image(key, "bob")
    with pytest.raises(NotFound):
        store.image_row(key, "bob")
    store.delete(id)
    store.forget_image(key, "ann")
    assert files(store) == set()
    assert store.used() == 0


# ---- small contents


def test_arrays_and_bytes_come_back(store):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(store.array(store.add_array(array)), array)
    assert store.blob(store.add_blob(b"abc")) == b"abc"
    assert store.add_blob(b"abc") == store.add_blob(b"abc")
    assert store.used() == sum(store.blobs.path(sha).stat().st_size for sha in store.blobs)
    with pytest.raises(ValueError, match="magic"):
        store.array(store.add_blob(b"no array"))
    with pytest.raises(ValueError, match=r"pickle|Object"):
        store.add_array(np.array([{}], dtype=object))


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "0" * 64])
def test_what_is_not_there_and_what_cannot_be_a_name_is_unknown(store, name):
    for look in (store.blob, store.array, store.segment):
        with pytest.raises(NotFound):
            look(name)


# ---- whose it is


def test_what_is_another_users_does_not_exist(store, id):
    image = store.session(id).image
    with pytest.raises(NotFound, match="no image"):
        store.create(image, "bob")
    for act in (store.session, store.delete):
        with pytest.raises(NotFound, match="no session"):
            act(id, "bob")
    assert store.sessions("bob") == store.images("bob") == []
    assert [row.id for row in store.sessions("ann")] == [row.id for row in store.sessions()] == [id]


def test_a_session_keeps_what_it_was_begun_with(store):
    key = store.add_image(scan(), "ann")
    ids = [
        store.create(key, "ann", title="t", model="m", parameters={"lam": 2.5}, seed=7, client="c"),
        store.create(key, "ann"),
    ]
    first, second = map(store.session, ids)
    assert (first.title, first.model, first.seed, first.client) == ("t", "m", 7, "c")
    assert first.parameters["lam"] == 2.5
    assert (second.model, second.parameters, second.seed) == ("default", "fast", 0)
    assert len(set(ids)) == 2
    for parameters in ("slow", {"wish": 1}, {"sigma": -1}):
        with pytest.raises(ValueError, match=r"Unknown|sigma"):
            store.create(key, "ann", parameters=parameters)


def test_ids_begin_with_the_prefix_of_their_server(tmp_path):
    with contextlib.closing(Store(tmp_path, prefix="b7")) as store:
        assert store.create(store.add_image(scan(), "ann"), "ann").startswith("b7")


# ---- the journal


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


def test_halves_are_kept_as_numbers_that_can_be_computed_with(store):
    image = Image(scan().array.astype(np.float16), (1, 1, 1))
    kept = store.image(store.add_image(image, "ann")).array
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(kept, image.array)


def test_an_image_whose_file_is_deleted_in_between_is_written_again(store, monkeypatch):
    """With the last session of somebody who had the same voxels: no reason to refuse this one."""
    write, written = store.blobs.write, []

    def deleted(fill):
        written.append(write(fill))
        if len(written) == 1:
            store.blobs.delete(written[0])
        return written[-1]

    monkeypatch.setattr(store.blobs, "write", deleted)
    key = store.add_image(scan(), "ann")
    np.testing.assert_array_equal(store.image(key).array, scan().array)


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


def test_who_undoes_takes_the_session_from_one_that_was_too_slow(store, id):
    append(store, id)
    fence = store.claim(id, "slow", -1)  # over
    store.move(id, "me", "undo")
    with pytest.raises(Busy):
        store.append(id, fence, "submit", {}, state=None, summary={})
    assert [entry.kind for entry in store.entries(id)] == ["box", "undo"]


def test_an_array_in_pieces_is_the_same_as_one(store):
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    box = Box((0, 0, 0), array.shape)
    assert store.refer_pieces(iter([array.tobytes()[:7], array.tobytes()[7:]]), box) == store.refer(array, box)


def test_what_was_brought_in_vain_goes_and_what_is_used_stays(store, id):
    array, box = np.ones((2, 2, 2), np.uint8), Box((0, 0, 0), (2, 2, 2))
    one_, other = store.refer(array, box)["blob"], store.refer(2 * array, box)["blob"]
    with store.claimed(id, "worker", 60) as fence:
        store.append(id, fence, "submit", {}, state=None, summary={}, blobs=[other])
    store.withdraw([one_, other])
    assert (one_ in store.blobs, other in store.blobs) == (False, True)


def test_a_history_that_is_known_follows_the_journal(store, id, monkeypatch):
    monkeypatch.setattr(module, "STATES", 3)
    others = [store.create(store.add_image(scan(), "ann"), "ann") for _ in range(3)]
    for k in range(3):
        for session in (id, *others):
            append(store, session, k)
            assert store.history(session) == store.history(session, History())
    store.move(id, "me", "undo")
    assert store.history(id) == store.history(id, History())
    assert len(store._histories) == 1


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


# ---- who computes


def test_a_session_is_claimed_by_one_at_a_time(store, id):
    other = Store(store.folder)
    fence = store.claim(id, "one/worker", 60)
    with pytest.raises(Busy, match="Another process"):
        other.claim(id, "other/worker", 60)
    with pytest.raises(Busy, match="being worked on"):
        other.delete(id)
    store.renew(id, fence, 60)
    store.release(id, fence)
    later = other.claim(id, "other/worker", 60)
    assert later > fence
    with pytest.raises(Busy):
        store.renew(id, fence, 60)
    store.release(id, fence)  # of what is another's by now: nothing
    with pytest.raises(Busy):
        store.append(id, fence, "box", {}, state=None, summary={})
    assert other.append(id, later, "box", {}, state=None, summary={}) == 1
    with pytest.raises(NotFound):
        store.claim("nothing", "one/worker", 60)
    other.close()


def test_a_claim_ends_with_its_time(store, id):
    fence = store.claim(id, "one/worker", 0.05)
    time.sleep(0.1)
    assert store.claim(id, "other/worker", 60) == fence + 1


def test_a_claim_ends_with_its_process(store, id):
    code = (
        "import sys, time; from bifseg.storage import Store; store = Store(sys.argv[1])\n"
        "store.claim(sys.argv[2], store.processes.appear() + '/x', 600); print('claimed', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, store.folder, id], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        with pytest.raises(Busy):
            store.claim(id, "worker", 60)
        process.kill()
    assert store.claim(id, "worker", 60) == 2


def test_a_process_is_alive_from_the_moment_it_appears(tmp_path):
    """However often others look for the dead, and however many threads of it appear at once."""
    with contextlib.closing(Store(tmp_path)) as looking:
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                looking.processes.sweep()

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            for _ in range(40):
                with contextlib.closing(Store(tmp_path)) as store, ThreadPoolExecutor(4) as threads:
                    names = list(threads.map(lambda _, s=store: s.processes.appear(), range(4)))
                    assert len(set(names)) == 1
                    assert looking.processes.alive(names[0])
        finally:
            stop.set()
            watcher.join()


# ---- room


def test_nothing_above_the_quota(tmp_path):
    with contextlib.closing(Store(tmp_path, quota=20_000)) as store:
        key = store.add_image(scan(), "ann")
        with pytest.raises(StorageFull, match="may take"):
            store.add_blob(bytes(20_000))
        with pytest.raises(StorageFull):
            store.add_image(Image(np.arange(8000.0).reshape(20, 20, 20)), "ann")
        assert len(files(store)) == 1
        store.forget_image(key, "ann")
        store.add_blob(bytes(19_000))


def test_no_space_is_one_error_and_leaves_no_draft(store, id, monkeypatch):
    def fsync(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = files(store)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for put in (lambda: store.add_blob(b"more"), lambda: store.add_image(scan(1), "ann")):
            with pytest.raises(StorageFull, match="disk of the store is full"):
                put()
    assert files(store) == before
    assert not list(store.blobs.folder.glob(".*"))
    assert append(store, id) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no small file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_refuses_and_loses_nothing(small_disk, monkeypatch):
    monkeypatch.setattr(contents, "RESERVE", 0)  # others may fill the disk, too
    with contextlib.closing(Store(small_disk)) as store:
        id = store.create(store.add_image(scan(), "ann"), "ann")
        for k in range(5):
            append(store, id, k)
        before = files(store)
        filler = fill(small_disk)
        acts = (
            lambda: store.add_image(Image(np.random.default_rng(0).random((50, 50, 50))), "ann"),
            lambda: store.add_blob(bytes(100_000)),
            lambda: [append(store, id, k, request={"note": "x" * 20_000}) for k in range(200)],
        )
        for act in acts:
            with pytest.raises(StorageFull, match="disk of the store is full"):
                act()
        assert not list(store.blobs.folder.glob(".*"))
        acknowledged = store.history(id).number
        filler.unlink()
        assert append(store, id, 7) == acknowledged + 1
    with contextlib.closing(Store(small_disk)) as store:
        assert before <= files(store)
        entries = store.entries(id)
        assert [entry.number for entry in entries] == list(range(1, acknowledged + 2))
        assert all(store.segment(e.state["objects"]["object 1"]["segment"]).box == one().box for e in entries)


def test_contents_leave_room_to_delete_them(small_disk, monkeypatch):
    monkeypatch.setattr(contents, "RESERVE", 1 << 20)
    with contextlib.closing(Store(small_disk)) as store:
        id = store.create(store.add_image(scan(), "ann"), "ann")
        append(store, id)
        shas = []
        with pytest.raises(StorageFull, match="disk of the store is full"):
            shas.extend(store.add_blob(os.urandom(100_000)) for _ in range(100))
        with store.claimed(id, "worker", 60) as fence:
            store.append(id, fence, "submit", {}, state=None, summary={}, blobs=shas)
        store.delete(id)
        assert len(files(store)) == 1
        store.check_room(1 << 20)


# ---- many at once, and the end of some


def test_many_open_a_new_store_at_once(tmp_path):
    code = (
        "import sys; from bifseg.storage import Store; sys.stdin.readline(); "
        "print(Store(sys.argv[1]).add_blob(b'x'), flush=True)"
    )
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", code, tmp_path / "new"]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, **options)) for _ in range(4)]
        time.sleep(0.5)
        answers = []
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in processes:
            answers.append(process.communicate())
    assert {out.decode().strip() for out, _ in answers} == {hashlib.sha256(b"x").hexdigest()}, answers


def test_threads_and_stores_share_one_folder(store):
    key = store.add_image(scan(), "ann")
    stores = [store, Store(store.folder)]
    ids = [store.create(key, "ann") for _ in range(4)]

    def work(turn: int) -> None:
        for k in range(10):
            assert append(stores[turn % 2], ids[turn], k, who=f"worker {turn}") == k + 1
            assert stores[(turn + 1) % 2].history(ids[turn]).number == k + 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    for id in ids:
        assert [entry.request["k"] for entry in store.entries(id)] == list(range(10))
    assert len(files(store)) == 11  # ten segments, the same in all sessions, and the image
    stores[1].close()


def test_one_session_by_many_threads_has_no_number_twice(store, id):
    def work(turn: int) -> int:
        while True:
            with contextlib.suppress(Busy):
                return append(store, id, turn, who=f"worker {turn}")
            time.sleep(0.01)

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(work, range(16))) == list(range(1, 17))


APPENDING = f"""
import sys
sys.path.insert(0, {str(SUPPORT)!r})
from bifseg.storage import Store
from stored_sessions import append
store, id = Store(sys.argv[1]), sys.argv[2]
k = store.history(id).number
while True:
    k = append(store, id, k + 1, who=store.processes.appear() + "/x")
    print(k, flush=True)
"""


def test_killed_at_any_moment_nothing_acknowledged_is_lost(store, id):
    """Each round takes up where the one before was killed, without waiting for its claim to end."""
    chance, acknowledged = random.Random(6), 0
    for _ in range(6):
        command = [sys.executable, "-c", APPENDING, store.folder, id]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            first = process.stdout.readline()
            time.sleep(chance.uniform(0, 0.15))
            process.kill()
            numbers = list(map(int, (first + process.stdout.read()).split()))
        assert numbers[0] in (acknowledged + 1, acknowledged + 2)  # one may be there that nobody was told of
        acknowledged = numbers[-1]
        entries = store.entries(id)
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) in (acknowledged, acknowledged + 1)
        for entry in entries:
            about = entry.state["objects"]["object 1"]
            assert store.blobs.intact(about["segment"])
            assert store.segment(about["segment"]).milliseconds == {"cut": float(entry.number)}
    assert acknowledged >= 12


# ---- what is no store


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"not a database, but long enough to look at it" * 100)
    with pytest.raises(ValueError, match="damaged or no store"):
        Store(tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path):
    Store(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="version 99"):
        Store(tmp_path)


def test_only_its_owner_may_look_into_the_folder(store):
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_boxes_of_the_snapshot_fit_the_image():
    assert Box.of(one().box, scan().shape)


# ---- stores of 0.1


def first_version(folder: Path, uploads: list[tuple[str, bytes | None, float]], sessions: list[str]) -> str:
    """A store as 0.1 left it: one image, uploaded by users with headers or none at a time each: its key."""
    with contextlib.closing(Store(folder)) as store:
        key = store.add_image(scan(), "first")
        with store.transaction() as connection:
            connection.execute("DELETE FROM owners")
            for owner, content, at in uploads:
                connection.execute("INSERT OR REPLACE INTO owners VALUES (?, ?, ?)", (key, owner, at))
                if content is not None:
                    sha = store.blobs.put(content)
                    store.record(connection, sha)
                    connection.execute("UPDATE blobs SET created = ? WHERE sha = ?", (at + 0.01, sha))
                    connection.execute("UPDATE images SET dicom = ?", (sha,))
            for k, owner in enumerate(sessions):
                row = (f"s{k}", owner, key, "", "default", '"fast"', 0, "api", 1.0, 1.0)
                connection.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
                connection.execute("INSERT OR REPLACE INTO datastore VALUES (?, 'a name', ?)", (owner, key))
                facts = f'{{"image": "{key}"}}'
                connection.execute("INSERT INTO client_leases VALUES (?, ?, 1, 1, 1, ?)", (f"t{k}", owner, facts))
            connection.execute("INSERT INTO tokens (id, user, hash, created) VALUES ('a', 'ann', 'b', 1)")
            connection.execute("ALTER TABLE tokens DROP COLUMN admin")
            connection.execute("PRAGMA user_version = 1")
    return key


@pytest.mark.parametrize(
    ("uploads", "keeps"),
    [
        ([("ann", b"a", 100)], "ann"),
        ([("ann", b"a", 100), ("ann", None, 200)], "ann"),  # her own, with which she began
        ([("ann", b"a", 100), ("bob", None, 200)], "ann"),
        ([("ann", b"a", 100), ("bob", b"b", 200)], "bob"),  # ann's own are lost already; bob's are not hers
        ([("ann", None, 100), ("bob", b"b", 200)], "bob"),
        ([("ann", b"a", 100), ("bob", None, 100.5)], None),  # either may have sent them
        ([("ann", b"a", 100), ("bob", None, 200), ("ann", None, 300)], None),
    ],
)
def test_headers_in_a_store_of_0_1_stay_with_whom_they_are_known_to_be_of(tmp_path, uploads, keeps):
    users = sorted({owner for owner, *_ in uploads})
    old = first_version(tmp_path, uploads, users)
    sent = [content for _, content, _ in uploads if content is not None][-1]
    with contextlib.closing(Store(tmp_path)) as store:
        for k, owner in enumerate(users):
            (row,) = store.images(owner)
            assert store.session(f"s{k}", owner).image == row.key
            assert headers(store, row.key, owner) == (sent if owner == keeps else None)
            assert (row.key == old) == (owner != keeps)
            np.testing.assert_array_equal(store.image(row.key).array, scan().array)
            assert store.read("SELECT image FROM datastore WHERE owner = ?", (owner,))[0]["image"] == row.key
            assert row.key in store.read("SELECT facts FROM client_leases WHERE user = ?", (owner,))[0]["facts"]
            assert store.add_image(scan(), owner, sent if owner == keeps else None) == row.key  # found again
        assert store.read("SELECT user, admin FROM tokens")[0]["admin"] == 0
    with contextlib.closing(Store(tmp_path)) as store:  # and once is enough
        assert {len(store.images(owner)) for owner in users} == {1}


def test_headers_that_came_after_the_only_users_upload_are_of_one_who_is_gone(tmp_path):
    key = first_version(tmp_path, [("ann", None, 100), ("bob", b"b", 200)], ["ann"])
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection, connection:
        connection.execute("DELETE FROM owners WHERE owner = 'bob'")
    with contextlib.closing(Store(tmp_path)) as store:
        assert headers(store, key, "ann") is None


def test_a_migration_that_breaks_off_changes_nothing(tmp_path, monkeypatch):
    key = first_version(tmp_path, [("ann", b"a", 100)], ["ann"])
    monkeypatch.setattr("bifseg.storage.migration._part", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT key, dicom IS NULL FROM images").fetchall() == [(key, 0)]


def test_one_user_has_a_share_and_others_do_not_suffer(tmp_path):
    size = scan().array.nbytes
    with contextlib.closing(Store(tmp_path, quota=100 * size, share=3 * size)) as store:
        keys = [store.add_image(scan(k), "ann") for k in range(3)]
        with pytest.raises(StorageFull, match="You may keep"):
            store.add_image(scan(3), "ann")
        for k in range(3):
            store.add_image(scan(k), "bob")  # which ann has, too: no gift, and no hint that she has them
        with pytest.raises(StorageFull, match="You may keep"):
            store.add_image(scan(4), "bob")
        store.forget_image(keys[0], "ann")
        store.add_image(scan(3), "ann")
        for k in range(5):
            store.add_image(scan(k), "local")  # who has the server alone
        id = store.create(store.images("bob")[0].key, "bob")
        append(store, id, 1)
        sql = "SELECT sum(bytes) FROM refs JOIN blobs ON sha = blob WHERE session = ?"
        assert store.taken("bob") == 3 * size + store.read(sql, (id,))[0][0]
