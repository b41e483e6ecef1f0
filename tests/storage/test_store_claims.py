"""One at a time works on a session; a claim ends with its time and with its process."""

import contextlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from durable_sessions import BOX, SCAN, drain
from stored_sessions import append

from bifseg.errors import Busy, NotFound
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession


def test_who_undoes_takes_the_session_from_one_that_was_too_slow(store, id):
    append(store, id)
    fence = store.claim(id, "slow", -1)  # over
    store.move(id, "me", "undo")
    with pytest.raises(Busy):
        store.append(id, fence, "submit", {}, state=None, summary={})
    assert [entry.kind for entry in store.entries(id)] == ["box", "undo"]


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


def test_who_claims_does_not_wait_for_the_disk_and_who_writes_does(store, id):
    said = []
    (connection,) = store._database._free
    connection.set_trace_callback(said.append)
    fence = store.claim(id, "one/worker", 60)
    store.renew(id, fence, 60)
    store.append(id, fence, "submit", {}, state=None, summary={})
    store.release(id, fence)
    store.move(id, "me", "undo")
    connection.set_trace_callback(None)
    modes = [line.rpartition(" ")[2] for line in said if line.startswith("PRAGMA synchronous")]
    assert modes == ["NORMAL", "NORMAL", "FULL", "NORMAL", "FULL"]
    assert said.count("COMMIT") == 5


@pytest.mark.parametrize(("claimed", "each"), [(60.0, 0), (0.0, 1)])
def test_a_claim_is_renewed_when_a_quarter_of_its_time_is_over(store, monkeypatch, claimed, each):
    monkeypatch.setattr("bifseg.storage.durable.CLAIMED", claimed)
    renewed, renew = [], store.renew
    monkeypatch.setattr(store, "renew", lambda *given: (renewed.append(given), renew(*given)))
    session = DurableSession(store, store.create(store.add_image(SCAN, "ann"), "ann"))
    steps, _ = drain(session, BOX)
    assert len(renewed) == each * len(steps)


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
