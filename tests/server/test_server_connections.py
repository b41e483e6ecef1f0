"""Connections: how many, how long in silence, and whose word on addresses is believed. uvicorn runs as `run` has it."""

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from bifseg.server import run as runs
from bifseg.server.access import connections
from bifseg.server.settings import Limits, Settings

LIMITS = Limits(connections_per_address=5, seconds_of_headers=0.6, seconds_of_silence=0.6)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.contextmanager
def listening(settings, monkeypatch):
    """A server of a small application that answers with the client's address, after its body; its port."""
    monkeypatch.setattr(connections, "LOOK", 0.1)

    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (message := await receive()).get("more_body"):
            pass
        body = scope["client"][0].encode() if scope["path"] != "/large" else bytes(64 << 20)
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    app.state = SimpleNamespace(service=SimpleNamespace(watchers=SimpleNamespace(close=lambda: None)))
    made = []

    class Kept(runs.Server):
        def __init__(self, *told):
            super().__init__(*told)
            made.append(self)

    monkeypatch.setattr(runs, "Server", Kept)
    monkeypatch.setattr(runs, "_signals_ignored", contextlib.nullcontext)
    ready, places = threading.Event(), []
    thread = threading.Thread(
        target=runs.run, args=(app, settings), kwargs={"listening": lambda place: (places.append(place), ready.set())}
    )
    thread.start()
    assert ready.wait(20)
    try:
        yield int(places[0].rpartition(":")[2])
    finally:
        made[0].should_exit = True
        thread.join(20)


@pytest.fixture
def port(tmp_path, monkeypatch):
    with listening(Settings(tmp_path / "store", port=0, limits=LIMITS), monkeypatch) as port:
        yield port


def connected(port, *sent):
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    for part in sent:
        made.sendall(part)
    return made


def test_a_body_that_drips_is_closed(port):
    """A byte is no silence; but by bytes a connection could be kept for days."""
    start = time.monotonic()
    with connected(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n") as made:
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                made.sendall(b"a")
                time.sleep(0.1)
        assert time.monotonic() - start < 8


def test_a_body_that_comes_is_not(port):
    with connected(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n") as made:
        for _ in range(20):
            made.sendall(bytes(1000))
            time.sleep(0.1)
        assert made.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", GET, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"],
    ids=["nothing", "a line", "headers", "a body"],
)
def test_who_does_not_go_on_is_closed(port, sent):
    start = time.monotonic()
    with connected(port, sent) as made, contextlib.suppress(ConnectionResetError):
        assert made.recv(100) == b""
    assert 0.3 < time.monotonic() - start < 20
    assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).text == "127.0.0.1"


def test_headers_that_come_by_drops_are_closed_and_so_are_those_of_a_second_request(port):
    for first in (b"", GET + b"\r\n"):
        with connected(port, first) as made:
            if first:
                said = b""
                while b"127.0.0.1" not in said:
                    said += made.recv(1000)
            start = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() - start < 40:
                    made.sendall(b"G")
                    time.sleep(0.05)
            assert time.monotonic() - start < 20


def test_who_does_not_read_is_closed(port):
    with connected(port, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n") as made:
        time.sleep(2)
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while part := made.recv(1 << 20):
                got += len(part)
        assert got < 64 << 20


def test_one_address_has_so_many_connections(tmp_path, monkeypatch):
    patient = Settings(tmp_path / "patient", port=0, limits=Limits(connections_per_address=5))
    with listening(patient, monkeypatch) as port, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(port))
        answer = httpx.get(f"http://127.0.0.1:{port}/", timeout=60)
        assert answer.status_code == 429
        assert answer.json()["detail"].startswith("Too many connections")
        assert answer.headers["retry-after"] == "5"
        stack.close()
        time.sleep(0.5)
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200


def test_another_address_is_believed_of_named_proxies_alone(tmp_path, monkeypatch, port):
    said = {"X-Forwarded-For": "10.9.8.7"}
    assert httpx.get(f"http://127.0.0.1:{port}/", headers=said, timeout=60).text == "127.0.0.1"
    settings = Settings(tmp_path / "behind", port=0, proxies=("127.0.0.1",), limits=LIMITS)
    with listening(settings, monkeypatch) as behind:
        assert httpx.get(f"http://127.0.0.1:{behind}/", headers=said, timeout=60).text == "10.9.8.7"
        with contextlib.ExitStack() as stack:  # all come by the proxy
            for _ in range(9):
                stack.enter_context(connected(behind))
            assert httpx.get(f"http://127.0.0.1:{behind}/", headers=said, timeout=60).status_code == 200
