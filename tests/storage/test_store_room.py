"""A full disk, quota or share refuses what is new and loses nothing."""

import contextlib
import errno
import os
import subprocess

import numpy as np
import pytest
from stored_sessions import append, files, fill, one, scan

from bifseg.errors import StorageFull
from bifseg.imaging.image import Image
from bifseg.storage import Store, contents


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
        journal = "SELECT length(request) + length(state) FROM entries WHERE session = ?"
        assert store.taken("bob") == 3 * size + sum(store.read(one, (id,))[0][0] for one in (sql, journal))


def test_a_journal_counts_to_its_owners_share(tmp_path):
    """Each step names all objects: with two thousand parts, one who selects fills the disk by gigabytes an hour."""
    with contextlib.closing(Store(tmp_path, share=100_000)) as store:
        id = store.create(store.add_image(scan(), "ann"), "ann")
        before = store.taken("ann")
        state = {"objects": {f"object @{k}": {"segment": "0" * 64} for k in range(1000)}, "current": None}
        fence = store.claim(id, f"{store.processes.appear()}/a", 60)
        store.append(id, fence, "select", {"name": "object @1"}, state=state, summary={})
        assert store.taken("ann") > before + 64_000
        store.append(id, fence, "select", {"name": "object @2"}, state=state, summary={})
        store.recount("ann")
        with pytest.raises(StorageFull, match="You may keep"):
            store.check_share("ann", 1)
        assert store.taken("ben") == 0


def test_what_is_on_its_way_counts_until_it_is_there(tmp_path):
    with contextlib.closing(Store(tmp_path, share=50_000)) as store:
        store.add_image(scan(), "ann")
        with store.coming("ann") as first, store.coming("ann") as second:
            first(20_000)
            with pytest.raises(StorageFull, match="You may keep"):
                second(29_000)
            store.check_share("ann", 20_000)  # which is the same, unpacked
        with store.coming("ann") as again, store.coming("ben") as other, store.coming("local") as nobodys:
            again(29_000)
            other(49_000)
            nobodys(1 << 30)
        assert not store._coming


def test_headers_count_to_their_owners_share(tmp_path):
    """Of a series with one small slice there may be gigabytes."""
    with contextlib.closing(Store(tmp_path, share=50_000)) as store:
        with pytest.raises(StorageFull, match="You may keep"):
            store.add_image(scan(), "ann", bytes(60_000))
        before = store.taken("ann")
        store.add_image(scan(), "ann", bytes(20_000))
        assert store.taken("ann") == before + scan().array.nbytes + 20_000
