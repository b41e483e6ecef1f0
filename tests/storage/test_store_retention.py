"""What a sweep deletes and, above all, what it never does."""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from stored_sessions import append, files, scan

from bifseg.storage import Store
from bifseg.storage.retention import DAY, GRACE, sweep, usage
from bifseg.storage.transfer import verify

NOW = 2e9  # long after the tests ran


def touch(store, id, days: float, now: float = NOW) -> None:
    """As if a session, and its image, had last been used so many days ago."""
    with store.transaction() as connection:
        connection.execute("UPDATE sessions SET touched = ? WHERE id = ?", (now - days * DAY, id))
        connection.execute("UPDATE owners SET created = 0")
        connection.execute("UPDATE images SET created = 0")


def lease(store, facts: str, touched: float, heard: float = 0) -> None:
    with store.transaction() as connection:
        connection.execute(
            "INSERT INTO client_leases (token_hash, user, created, touched, heard, facts) "
            "VALUES ('h', 'ann', 0, ?, ?, ?)",
            (touched, heard, facts),
        )


def test_old_sessions_go_with_all_that_only_they_use(store):
    ids = [store.create(store.add_image(scan(k), "ann", b"headers %d" % k), "ann") for k in range(3)]
    for k, one in enumerate(ids):
        append(store, one, 0)
        append(store, one, 1)
        touch(store, one, days=(5, 31, 29.9)[k])
    before = store.used()
    swept = sweep(store, keep_days=30, now=NOW)
    assert (swept.sessions, swept.images) == (1, 1)
    assert swept.bytes == before - store.used() > 0
    assert {row.id for row in store.sessions()} == {ids[0], ids[2]}
    assert len(store.images("ann")) == 2
    assert list(verify(store)) == []
    assert store.state(ids[0]).current == "object 1"
    assert sweep(store, keep_days=30, now=NOW).sessions == 0
    sweep(store, keep_days=0, now=NOW)
    assert files(store) == set()
    assert usage(store) == {
        "bytes": 0, "quota": None, "free": pytest.approx(usage(store)["free"], rel=0.1),
        "sessions": 0, "entries": 0, "images": 0, "blobs": 0,
    }  # fmt: skip


def test_without_an_age_nothing_that_is_in_use_goes(store, id):
    append(store, id)
    touch(store, id, days=1000)
    before = files(store)
    swept = sweep(store, now=NOW)
    assert (swept.sessions, swept.images, swept.blobs) == (0, 0, 0)
    assert files(store) == before


def test_a_claimed_session_stays_until_its_claim_ends(store, id):
    append(store, id)
    touch(store, id, days=1000, now=time.time())
    with store.claimed(id, "worker", 60) as fence:
        assert sweep(store, keep_days=1).sessions == 0
        assert store.append(id, fence, "submit", {}, state=None, summary={}) == 2
    touch(store, id, days=1000, now=time.time())
    assert sweep(store, keep_days=1).sessions == 1


def test_a_session_touched_while_the_sweep_looks_stays(store, id, monkeypatch):
    """The list of old sessions was made, and then somebody went on with one of them."""
    append(store, id)
    touch(store, id, days=1000)
    read = store.read

    def late(sql, arguments=()):
        rows = read(sql, arguments)
        if "FROM sessions LEFT JOIN claims" in sql:
            touch(store, id, days=0)
        return rows

    monkeypatch.setattr(store, "read", late)
    assert sweep(store, keep_days=1, now=NOW).sessions == 0
    assert store.session(id)


@pytest.mark.parametrize(("touched", "heard"), [(NOW - 60, 0), (0, NOW - 60)])
def test_what_a_client_holds_stays(store, id, touched, heard):
    touch(store, id, days=1000)
    lone = store.add_image(scan(1), "ann")
    touch(store, id, days=1000)
    lease(store, f'{{"session": "{id}", "image": "{lone}"}}', touched, heard)
    assert sweep(store, keep_days=1, now=NOW).sessions == 0
    assert {row.key for row in store.images("ann")} == {store.session(id).image, lone}
    swept = sweep(store, keep_days=1, now=NOW + 3 * DAY)
    assert (swept.sessions, swept.images) == (1, 2)


def test_an_image_stays_with_those_who_need_it(store, id):
    image = store.session(id).image
    store.add_image(scan(), "bob")
    touch(store, id, days=0)
    swept = sweep(store, keep_days=1, now=NOW)
    assert swept.images == 0
    assert store.images("bob") == []  # who has no session with it
    assert store.image(image).shape == scan().shape


def test_an_image_that_came_again_is_new(store, id):
    touch(store, id, days=1000)
    store.delete(id)
    store.add_image(scan(), "ann")
    assert sweep(store, keep_days=1).images == 0
    assert len(store.images("ann")) == 1


def test_what_nothing_refers_to_goes_after_an_hour(store, id):
    append(store, id)
    used = files(store)
    known, unknown = store.add_blob(b"known"), store.blobs.put(b"unknown")
    draft = store.blobs.folder / ".0123.part"
    draft.write_bytes(b"half")
    assert sweep(store).blobs == 0
    assert sweep(store, now=time.time() + GRACE - 60).blobs == 0
    assert files(store) == used | {known, unknown}
    assert draft.exists()
    assert sweep(store, now=time.time() + GRACE + 60).blobs == 2
    assert files(store) == used
    assert not draft.exists()
    assert list(verify(store)) == []


def test_what_was_put_again_gets_another_hour(store, id):
    """An array that nobody used for long is sent again: the sweep must not take it before its interaction comes."""
    array = np.ones((2, 2, 2), np.uint8)
    sha, other = store.add_array(array), store.blobs.put(b"segment")
    with store.transaction() as connection:
        connection.execute("UPDATE blobs SET created = 0")
    for name in (sha, other):
        os.utime(store.blobs.path(name), (0, 0))
    assert store.add_array(array) == sha
    assert store.blobs.put(b"segment") == other
    assert sweep(store).blobs == 0
    assert {sha, other} <= files(store)


def test_many_orphans_go_in_many_transactions(store, id):
    shas = {store.blobs.put(b"%d" % k) for k in range(70)} | {store.add_blob(b"known %d" % k) for k in range(70)}
    assert sweep(store, now=time.time() + 2 * GRACE).blobs == len(shas) == 140
    assert not shas & files(store)


def test_traces_of_dead_processes_go_and_those_of_live_ones_stay(store):
    code = (
        "import sys; from bifseg.storage import Store; print(Store(sys.argv[1]).processes.appear()); sys.stdout.flush()"
    )
    code += "; import os; os.kill(os.getpid(), 9)"
    out = subprocess.run([sys.executable, "-c", code, store.folder], capture_output=True, text=True).stdout
    with contextlib.closing(Store(store.folder)) as alive:
        name = alive.processes.appear()
        assert {path.name for path in (store.folder / "processes").iterdir() if not path.suffix} == {out.strip(), name}
        sweep(store)
        assert {path.name for path in (store.folder / "processes").iterdir()} == {name, f"{name}.lock"}


@pytest.mark.server
def test_a_sweep_beside_work_takes_nothing_that_is_acknowledged(store, id):
    """Sweeps that take every orphan, however young, while a process appends: it may be refused, but loses nothing."""
    code = (
        "import sys, time; from bifseg.storage import Store, retention\nretention.GRACE = -60\n"
        "store = Store(sys.argv[1])\nstore.blobs.sweep = lambda before: None\nprint('ready', flush=True)\n"
        "while True: retention.sweep(store, keep_days=1); time.sleep(0.002)"
    )
    done, refused = [], []
    with subprocess.Popen([sys.executable, "-c", code, store.folder], stdout=subprocess.PIPE) as process:
        try:
            process.stdout.readline()
            start = time.monotonic()
            while (lasted := time.monotonic() - start) < 3 or (len(done) <= 5 and lasted < 60):
                try:
                    done.append(append(store, id, len(done) + len(refused)))
                except ValueError as error:
                    refused.append(str(error))
        finally:
            process.kill()
    assert done == list(range(1, len(done) + 1))
    assert len(done) > 5
    assert all("send it again" in sentence for sentence in refused)
    assert list(verify(store)) == []


def test_usage_counts(store, id):
    append(store, id)
    told = usage(store)
    assert {name: told[name] for name in ("sessions", "entries", "images", "blobs")} == {
        "sessions": 1, "entries": 1, "images": 1, "blobs": 2,
    }  # fmt: skip
    assert told["bytes"] == sum(store.blobs.path(sha).stat().st_size for sha in store.blobs)


@pytest.mark.parametrize("days", [-1, float("nan")])
def test_a_negative_age_is_refused(store, days):
    with pytest.raises(ValueError, match="give 0 or more"):
        sweep(store, keep_days=days)
