"""Who has a session on the screen hears at once what others do to it."""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from api_calls import API, BOX, begin, do
from serving import no_workers

from bifseg.server import run as process
from bifseg.server.app import build_app
from bifseg.server.settings import Settings

QUICK = {**BOX, "refine": "none"}


@pytest.fixture
def id(ann):
    return begin(ann, ann.post(f"{API}/images/demo").json()["key"])


def numbers(response):
    """What the events of a stream say, as they come."""
    lines = response.iter_lines()
    return (json.loads(line.removeprefix("data: "))["number"] for line in lines if line.startswith("data: "))


def test_a_step_is_told_within_a_moment_whoever_did_it(server, ann, id):
    with server.client("ann") as other, other.stream("GET", f"{API}/sessions/{id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        coming = numbers(response)
        assert next(coming) == 0
        for number, (kind, body) in enumerate([("box", QUICK), ("undo", None), ("redo", None)], 1):
            assert do(ann, id, kind, body)["number"] == number
            since = time.monotonic()
            assert next(coming) == number
            assert time.monotonic() - since < 1


def test_a_step_of_another_process_is_told_within_seconds(server, ann, id, monkeypatch):
    monkeypatch.setattr("bifseg.server.api.events.LOOK", 0.1)
    with server.client("ann") as other, other.stream("GET", f"{API}/sessions/{id}/events") as response:
        coming = numbers(response)
        assert next(coming) == 0
        monkeypatch.setattr(server.service.watchers, "tell", lambda session: None)
        do(ann, id, "box", QUICK)
        assert next(coming) == 1


def test_the_stream_ends_with_the_session_and_with_the_token(server, ann, monkeypatch):
    monkeypatch.setattr("bifseg.server.api.events.LOOK", 0.1)

    def watched(end):
        """What a stream tells until it ends, for what is done meanwhile."""
        id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
        with server.client("ann") as other, other.stream("GET", f"{API}/sessions/{id}/events") as response:
            told = numbers(response)
            first = next(told)
            end(id, other.headers["authorization"].split("_")[1])
            return [first, *told]

    assert watched(lambda id, _: ann.delete(f"{API}/sessions/{id}").raise_for_status()) == [0]
    assert watched(lambda _, token: server.service.tokens.revoke(token)) == [0]


def test_nobody_watches_what_is_not_theirs(server, id):
    with server.client("bob") as bob:
        assert bob.get(f"{API}/sessions/{id}/events").status_code == 404


def test_who_watches_does_not_hold_up_the_end_of_the_server(tmp_path):
    settings, address = Settings(tmp_path / "store", port=0, threads=1), []
    app = build_app(settings)
    app.state.service.pool = no_workers()
    with ThreadPoolExecutor() as threads:
        servers = []

        class Kept(process.Server):
            def __init__(self, *options):
                super().__init__(*options)
                servers.append(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "Server", Kept)
            patch.setattr(process, "_signals_ignored", contextlib.nullcontext)
            running = threads.submit(process.run, app, settings, listening=address.append)
            until = time.monotonic() + 60
            while not address and time.monotonic() < until:
                time.sleep(0.05)
            with httpx.Client(base_url=address[0], timeout=60) as http:
                id = begin(http, http.post(f"{API}/images/demo").json()["key"])
                with http.stream("GET", f"{API}/sessions/{id}/events") as response:
                    assert next(numbers(response)) == 0
                    since = time.monotonic()
                    servers[0].should_exit = True
                    running.result(60)
    assert time.monotonic() - since < settings.grace / 3


def test_undo_says_whose_step_it_would_take_back(ann, id):
    assert ann.get(f"{API}/sessions/{id}").json()["undoes"] is None
    assert do(ann, id, "box", QUICK)["undoes"] == 1
    assert do(ann, id, "rename", {"name": "object 1", "to": "liver"})["undoes"] == 2
    assert do(ann, id, "undo")["undoes"] == 1
    assert do(ann, id, "redo")["undoes"] == 2
    do(ann, id, "undo")
    assert do(ann, id, "rename", {"name": "object 1", "to": "spleen"})["undoes"] == 6
