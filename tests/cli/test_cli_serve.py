"""`bifseg serve` as a process: how it starts, what it refuses to start as, and how it ends."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from program import COLD, IDLE, MAIN, Program

from bifseg.cli import main
from bifseg.io.images import write_image
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

BIFSEG = Path(sys.executable).with_name("bifseg")
BOX = {"box": "30:90,30:90,20:40"}
LONG = {"rounds": 40, "iterations": 20, "samples": 2048, "connectivity": 1}


class Process(Program):
    """A server on a free port; its address is what it prints first."""

    def __init__(self, *options: object, command: Sequence[object] = (BIFSEG,)) -> None:
        super().__init__(*command, "serve", "--port", "0", "--threads", "1", *options)
        if not self.line.startswith("bifseg: serving on "):
            raise self.failed()
        self.url = self.line.split()[-1]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    image, _ = phantom(11)
    write_image(path, image.array, image)
    return path


def begin(http, scan, **options):
    image = http.post("/api/v1/images", params={"name": "scan.nii.gz"}, content=scan.read_bytes()).json()["key"]
    return http.post("/api/v1/sessions", json={"image": image, **options}).json()["id"]


def test_a_killed_worker_is_not_noticed_and_work_in_progress_is_finished_at_the_end(scan, tmp_path):
    with Process("--data", tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=60) as http:
        id = begin(http, scan)
        assert http.post(f"/api/v1/sessions/{id}/box", json=BOX).status_code == 200
        before = http.get(f"/api/v1/sessions/{id}/mask").content
        (children,) = Path(f"/proc/{server.pid}/task").glob(f"{server.pid}/children")
        killed = children.read_text().split()
        for child in killed:
            os.kill(int(child), signal.SIGKILL)
        assert http.post(f"/api/v1/sessions/{id}/refine").status_code == 200
        assert http.post(f"/api/v1/sessions/{id}/undo").status_code == 200
        assert http.get(f"/api/v1/sessions/{id}/mask").content == before
        assert np.frombuffer(before, np.uint8).size

        id = begin(http, scan, parameters=LONG)
        replies = []
        other = threading.Thread(
            target=lambda: replies.append(httpx.post(f"{server.url}/api/v1/sessions/{id}/box", json=BOX, timeout=60))
        )
        other.start()
        until = time.monotonic() + 30
        while 'bifseg_pool{what="running"} 1.0' not in http.get("/metrics").text and time.monotonic() < until:
            time.sleep(0.01)
        http.close()
        code, _ = server.stop()
        other.join()
    assert code == 0
    assert replies[0].status_code == 200
    store = Store(tmp_path / "data")
    assert [entry.kind for entry in store.entries(id)] == ["box"]
    traces = {path.name.partition("-")[0] for path in (tmp_path / "data" / "processes").iterdir()}
    assert traces <= set(killed)  # a sweep takes theirs; all others took their own
    store.close()
    assert "route=/" in server.log
    assert "Traceback" not in server.log


def test_two_servers_on_one_store_take_turns(scan, tmp_path):
    """Each request of one user to the other server, as a balancer would: one session, no step lost."""
    command, data = (sys.executable, "-c", COLD + MAIN), tmp_path / "data"
    with Process("--data", data, command=command) as one, Process("--data", data, command=command) as two:
        clients = [httpx.Client(base_url=server.url, timeout=60) for server in (one, two)]
        id = begin(clients[0], scan)
        stroke = {"points": [[50, 50, 30], [60, 60, 30]], "label": 1, "radius": 2}
        told = []
        for k, (kind, body) in enumerate(
            [("box", BOX)] + [("scribble", {"scribbles": {"strokes": [stroke]}}), ("undo", None), ("redo", None)] * 2
        ):
            reply = clients[k % 2].post(f"/api/v1/sessions/{id}/{kind}", json=body)
            assert reply.status_code == 200, reply.text
            told.append(reply.json())
        assert [t["number"] for t in told] == list(range(1, 8))
        masks = [client.get(f"/api/v1/sessions/{id}/labels").content for client in clients]
        assert masks[0] == masks[1]

        def scribble(client, number):
            points = [[40 + number, 60, 30]]
            body = {"scribbles": {"strokes": [{"points": points, "label": 1}]}}
            return client.post(f"/api/v1/sessions/{id}/scribble", json=body)

        replies = []
        threads = [
            threading.Thread(target=lambda c=client, n=n: replies.append(scribble(c, n)))
            for n in range(3)
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [reply.status_code for reply in replies] == [200] * 6
        numbers = [entry["number"] for entry in clients[0].get(f"/api/v1/sessions/{id}/history").json()]
        assert numbers == list(range(1, 14))
        for client in clients:
            client.close()


def test_nothing_is_kept_on_the_disk_where_nothing_may_be(scan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    memory = Path("/dev/shm")
    if not memory.is_dir():
        pytest.skip("this machine has no memory file system")
    before = set(memory.glob("bifseg-*"))
    with Process("--no-disk") as server:
        with httpx.Client(base_url=server.url, timeout=60) as http:
            id = begin(http, scan)
            assert http.post(f"/api/v1/sessions/{id}/box", json=BOX).status_code == 200
            assert http.get(f"/api/v1/sessions/{id}/labels", params={"format": "nrrd"}).status_code == 200
        written = [path for path in _opened(server.pid) if path.startswith("/") and ".sqlite" in path]
        assert written
        assert all(path.startswith("/dev/shm/bifseg-") for path in written)
        assert server.stop()[0] == 0
    assert set(memory.glob("bifseg-*")) == before
    assert list(tmp_path.iterdir()) == []


def _opened(pid):
    """The files a process holds; it may close some while they are listed."""
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(handle.readlink())


def test_other_addresses_need_a_token(scan, tmp_path):
    data = tmp_path / "data"
    store = Store(data)
    token = Tokens(store).create("ann")
    store.close()
    with Process("--data", data, "--host", "0.0.0.0", command=(sys.executable, "-c", IDLE + MAIN)) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{url}/healthz", timeout=60).json() == {"ok": True}
        assert httpx.get(f"{url}/api/v1/sessions", timeout=60).status_code == 401
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
            id = begin(http, scan, title="Anna Müller 1970")
            assert http.get(f"/api/v1/sessions/{id}").json()["title"] == "Anna Müller 1970"
        server.stop()
    assert token not in server.log
    assert "Anna" not in server.log
    assert id not in server.log


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "one of --data FOLDER and --no-disk"),
        (["--data", "DATA", "--no-disk"], "one of --data FOLDER and --no-disk"),
        (["--data", "DATA", "--host", "0.0.0.0"], "nobody has a token yet"),
        (["--data", "DATA", "--host", "no.such.host.invalid"], "nobody has a token yet"),
        (["--data", "DATA", "--port", "70000"], "cannot listen"),
        (["--data", "DATA", "--port", "TAKEN"], "cannot listen"),
        (["--data", "DATA", "--tls-cert", "FILE"], "both --tls-cert and --tls-key"),
        (["--data", "DATA", "--tls-cert", "FILE", "--tls-key", "FILE"], "cannot be used"),
        (["--data", "DATA", "--tls-cert", "no.pem", "--tls-key", "FILE"], "no.pem does not exist"),
        (["--data", "DATA", "--model", "no.safetensors"], "does not exist"),
        (["--data", "DATA", "--workers", "0"], "between 1 and 64"),
        (["--data", "DATA", "--prefix", "a/b"], "letters and digits"),
        (["--data", "FILE"], "is a file"),
        (["--data", "DATA", "--quota", "-1"], "--quota is -1"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(capsys, tmp_path, options, words):
    import socket

    (tmp_path / "file").write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        names = {"DATA": str(tmp_path / "data"), "FILE": str(tmp_path / "file"), "TAKEN": port}
        code = main(["serve", *(names.get(option, option) for option in options)])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
