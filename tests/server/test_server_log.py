"""What the server says of itself holds nothing of a patient, whatever goes wrong."""

import logging
import socket
import threading
import time

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from bifseg.server.log import RequestLog
from bifseg.server.metrics import Metrics

PATIENT = "Anna-Mueller-1970"


@pytest.fixture
def served(caplog):
    """A small application whose routes fail, behind the log, on a real uvicorn; and all that any logger said."""
    app, metrics = FastAPI(), Metrics()

    @app.get("/scan/{name}")
    def scan(name: str):
        raise RuntimeError(f"no such patient: {name}")

    @app.get("/half/{name}")
    def half(name: str):
        def pieces():
            yield b"begun"
            raise RuntimeError(f"no such patient: {name}")

        return StreamingResponse(pieces())

    async def outermost(scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith("/early"):
            raise RuntimeError(scope["path"])
        await app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            RequestLog(outermost, metrics), log_config=None, access_log=False, http="h11", ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        with caplog.at_level(logging.INFO):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", caplog, metrics
        server.should_exit = True
        thread.join(20)


def said(caplog):
    formatter = logging.Formatter()  # with tracebacks, as handlers write them
    # The client's own words, and a log that `run` turns off (test_cli_serve looks at what a process really writes).
    others = ("httpx", "uvicorn.access")
    return "\n".join(formatter.format(record) for record in caplog.records if record.name not in others)


def test_errors_are_told_by_kind_and_place_alone(served):
    url, caplog, metrics = served
    assert httpx.get(f"{url}/scan/{PATIENT}?born={PATIENT}", timeout=60).status_code == 500
    early = httpx.get(f"{url}/early/{PATIENT}", timeout=60)
    assert (early.status_code, early.json()) == (500, {"detail": "The server failed; nothing was changed."})
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/half/{PATIENT}", timeout=60)
    log = said(caplog)
    assert PATIENT not in log
    assert log.count("error=RuntimeError at=test_server_log.py:") == 3
    assert "route=/scan/{name} status=500" in log
    assert 'route="/scan/{name}",status="500"' in metrics.text({}).decode()


def test_a_method_that_nobody_knows_is_not_written(served):
    """Whoever had no token could write 60 kB into the log with each request, or what they liked without blanks."""
    url, caplog, _ = served
    method = PATIENT.upper() + "A" * 1000
    assert httpx.request(method, f"{url}/scan/x", timeout=60).status_code == 405
    until = time.monotonic() + 30
    while "method=other" not in said(caplog):  # it is written after the answer was sent
        assert time.monotonic() < until
        time.sleep(0.01)
    assert method not in said(caplog)
