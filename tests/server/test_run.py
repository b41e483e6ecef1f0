"""What the process of a server is told before it serves."""

import gc
import signal

import pytest
from fastapi import FastAPI

from bifseg.server import run as process
from bifseg.server.settings import Settings


@pytest.fixture
def unfrozen():
    """Tests of this process have their garbage looked for again."""
    yield
    gc.unfreeze()


def test_what_is_there_before_it_serves_is_not_looked_through_for_garbage(tmp_path, monkeypatch, unfrozen):
    app, kept, looked = FastAPI(), [[]], []
    app.state.service = type("Service", (), {"watchers": type("Watchers", (), {"close": None})})
    monkeypatch.setattr(process, "start_log", lambda: None)
    monkeypatch.setattr(process.sys, "setswitchinterval", lambda seconds: None)
    monkeypatch.setattr(process, "share_heaps", lambda: None)

    def serve(server, sockets):
        looked.extend(gc.get_objects())
        sockets[0].close()

    monkeypatch.setattr(process.Server, "run", serve)
    before = signal.getsignal(signal.SIGINT)
    process.run(app, Settings(data=tmp_path, port=0))
    assert signal.getsignal(signal.SIGINT) == before
    assert gc.get_freeze_count() > 10_000
    assert not any(found is kept or found is app for found in looked)
