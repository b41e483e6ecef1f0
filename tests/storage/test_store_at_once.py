"""Many processes and threads share one store, and what is acknowledged is there, whoever is killed."""

import contextlib
import hashlib
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from durable_sessions import PLANE, SCAN, do
from stored_sessions import append, files, scan

from bifseg.errors import Busy
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.server
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


@pytest.mark.server
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


def test_parts_of_one_interaction_are_written_at_once(store, monkeypatch):
    """One after the other, each waited for the disk three times: with ten slices up to 0.4 s."""
    id = store.create(store.add_image(SCAN, "ann"), "ann")
    session, both, put = DurableSession(store, id), threading.Barrier(2), store.blobs.put
    do(session, PLANE)

    def waiting(content):
        both.wait(60)  # broken where they come one by one
        return put(content)

    monkeypatch.setattr(store.blobs, "put", waiting)
    told = do(session, {"kind": "propagate", "to": [15, 18]})
    assert len(told["objects"]) == 3
