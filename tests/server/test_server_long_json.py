"""Long JSON holds up nobody: it is counted as it comes, and one user's bodies come one after the other."""

import asyncio
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from api_calls import API, BOX, begin, do, refused
from pydantic import ValidationError

from bifseg.server.access.turns import Turns
from bifseg.server.api.bodies.drawing import Correct
from bifseg.server.nninteractive import nnia

LONG = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def place(server):
    with server.client("ann") as ann:
        yield f"{API}/sessions/{begin(ann, ann.post(f'{API}/images/demo').json()['key'])}/scribble"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"scribbles": ' + b"[" * 20_000, 400, "too deep"),
        (b'{"scribbles": ' + b"[" * 9_000 + b"]" * 9_000 + b"}", 400, "too deep"),
        (b'{"scribbles": {"strokes": [' + b'{"points": [[NaN, 1]]},' * 900 + b'{"points": [[1, 1, 2]]}]}}', 422, ""),
        (b'{"a": "' + b"\xff" * 20_000 + b'"}', 400, "UTF-8"),
        (b'{"a": ' + b"9" * 20_000 + b"}", 400, "number"),
    ],
    ids=["open", "deep", "nan", "bytes", "number"],
)  # fmt: skip
def test_long_bodies_that_are_wrong_are_refused_in_words(server, place, body, status, words):
    with server.client("ann") as ann:
        answer = ann.post(place, content=body, headers=LONG)
        refused(answer, status, words)


def test_a_long_body_says_what_a_short_one_does(server, place):
    points = [[40 + k % 8 / 2, 41, 30] for k in range(1000)]
    stroke = {"points": points, "label": 1, "radius": 0.5}
    with server.client("ann") as ann:
        do(ann, place.split("/")[-2], "box", {**BOX, "refine": "none"})
        answer = ann.post(place, json={"scribbles": {"strokes": [stroke]}, "refine": "none"})
        assert answer.status_code == 200, answer.text
        (entry,) = ann.get(place.replace("scribble", "history"), params={"after": answer.json()["number"] - 1}).json()
        assert entry["request"]["scribbles"]["strokes"] == [stroke]
        stroke["points"] = [*points, [1, 2]]
        refused(ann.post(place, json={"scribbles": {"strokes": [stroke]}}), 422, "body.scribbles.strokes.0.points.1000")


def test_a_wrong_body_is_wrong_once():
    """Not 20,000 times, which would be told of one by one, and thrown away."""
    with pytest.raises(ValidationError) as error:
        Correct.model_validate({"scribbles": {"strokes": [{"points": [["x"]] * 1000}] * 1000}})
    assert error.value.error_count() == 1


def sent(server, user: str, path: str, body: bytes, length: int, kind: str = "application/json") -> socket.socket:
    """A connection that sent so much of a body."""
    connection = socket.create_connection(server.url.removeprefix("http://").split(":"), timeout=20)
    with server.client(user) as client:
        token = client.headers["authorization"]
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: {token}", f"Content-Type: {kind}"]
    connection.sendall("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode() + body)
    return connection


def test_too_many_parts_are_refused_before_the_rest_comes(server, place):
    with sent(server, "ann", place, b"[" * 40_000, 16_000_000) as connection:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_users_long_bodies_are_not_all_taken_in_at_once(server, place):
    """Each may have 16 MiB: hundreds of them, none of which ends, would fill the memory."""
    with ExitStack() as held:
        first = held.enter_context(sent(server, "ann", place, b" " * 20_000, 1_000_000))
        time.sleep(0.5)
        second = held.enter_context(sent(server, "ann", place, b" " * 200_000, 200_000))
        bob = held.enter_context(sent(server, "bob", place, b" " * 200_000, 200_000))
        assert bob.recv(1 << 16).startswith(b"HTTP/1.1 422 ")
        second.settimeout(1)
        with pytest.raises(TimeoutError):
            second.recv(1)
        first.close()
        second.settimeout(20)
        assert second.recv(1 << 16).startswith(b"HTTP/1.1 422 ")


def test_a_turn_may_last_longer_than_the_work():
    """What one user may hold up everybody with is a small part of the time."""

    async def play():
        turns, order = Turns(at_once=9, own=1, waiting=9), []

        async def work(user):
            await turns.begin(user)
            order.append((user, asyncio.get_running_loop().time()))
            turns.end(user, 0.2)

        await asyncio.gather(work("ann"), work("ann"), work("bob"))
        return order

    order = asyncio.run(play())
    assert [user for user, _ in order] == ["ann", "bob", "ann"]
    assert order[2][1] - order[0][1] >= 0.19


def test_params_of_a_form_are_short(server):
    """They are read on the event loop, and a list of 100,000 wrong names would be told of one by one."""
    with server.client("ann") as ann:
        for count, status, word in ((10_000, 422, "params"), (20_000, 400, "128KB")):
            params = '{"label_info":[' + '{"id":0},' * count + "{}]}"
            refused(ann.post("/monailabel/infer/bifseg", files={"params": (None, params)}), status, word)


@pytest.mark.parametrize("path", ["/monailabel/infer/bifseg", "/add_scribble_interaction"])
def test_what_comes_as_a_file_in_other_protocols_comes_in_turns(server, path):
    """Each may have 2 GiB, which lie on the disk."""
    turns = server.service.receiving
    with server.client("eve") as eve:
        lease = eve.post("/claim").json()["lease_token"]
        eve.post(
            "/set_image", headers={"X-Lease-Token": lease}, content=nnia.pack(np.arange(512.0).reshape(1, 8, 8, 8))
        )
    kind = f"multipart/form-data; boundary=a\r\nX-Lease-Token: {lease}"
    with sent(server, "eve", path, b"--a\r\n", 100, kind):
        until = time.monotonic() + 20
        while not turns._running.get("eve"):
            assert time.monotonic() < until
            time.sleep(0.05)
    while turns._running.get("eve"):
        assert time.monotonic() < until + 20
        time.sleep(0.05)
