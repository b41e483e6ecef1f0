"""Long JSON holds up nobody: it is parsed beside the event loop, and one user's bodies come one after the other."""

import asyncio
import json

import pytest
from api_calls import API, begin, refused

from bifseg.server.access.turns import Turns
from bifseg.server.api import request as requests

LONG = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def place(server):
    with server.client("ann") as ann:
        yield f"{API}/sessions/{begin(ann, ann.post(f'{API}/images/demo').json()['key'])}/scribble"


@pytest.mark.parametrize(
    "text", ["[1, 2.5, -1e3, null, true]", '{"a": ["\\u00e4", {"b": []}]}', '"x"', " 5 ", "[NaN]", '{"a": 1, "a": 2}']
)
def test_long_json_is_read_as_short_json_is(text):
    assert repr(requests._yielding()(text)) == repr(json.loads(text))


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


def test_a_turn_lasts_longer_than_the_work(monkeypatch):
    """What one user may hold up everybody with is a small part of the time."""

    async def play():
        turns, order = Turns(at_once=9, own=1, waiting=9), []

        async def work(user):
            async with turns.spaced(user, 4):
                order.append((user, asyncio.get_running_loop().time()))
                await asyncio.sleep(0.05)

        await asyncio.gather(work("ann"), work("ann"), work("bob"))
        return order

    order = asyncio.run(play())
    assert [user for user, _ in order] == ["ann", "bob", "ann"]
    assert order[2][1] - order[0][1] >= 0.24
