"""The store: what is another's does not exist; what is no store is refused, and one of 0.1 is migrated."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from stored_sessions import headers, one, scan

from bifseg.errors import NotFound
from bifseg.prompts.interaction import Box
from bifseg.storage import Store

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
