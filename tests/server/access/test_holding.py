"""What is refused is answered at once for a while, and then after a while: a flood of it costs others little."""

import asyncio
import time

import pytest
from guarded_app import bearer, client, refused

from bifseg.server.access import holding
from bifseg.server.access.holding import Holding
from bifseg.server.settings import Limits

LIMITS = Limits(requests_per_second=0.01, requests_in_burst=3)


@pytest.fixture
def seconds(monkeypatch):
    """Of which a request is held."""
    monkeypatch.setattr(holding, "HELD", 0.3)
    return 0.3


@pytest.mark.parametrize(
    ("status", "words", "headers"),
    [
        (401, "asks for a token", {}), (421, "not called", {"Host": "evil.example"}),
        (403, "Pages of other servers", {"Origin": "https://evil.example"}),
        (413, "at most", {"Content-Length": str(1 << 40)}), (400, "no number", {"Content-Length": "-1"}),
    ],
)  # fmt: skip
def test_without_a_token_nobody_is_refused_again_and_again_at_once(tokens, seconds, status, words, headers):
    """Sixty connections without a token took other users' replies from 0.05 to 0.8 s; only wrong tokens were held."""
    token = tokens.create("ann")
    http = client(tokens, limits=LIMITS)
    late = [refused(http.get("/whoami", headers=headers), status, words).elapsed.total_seconds() for _ in range(5)]
    assert min(late[3:]) > seconds > max(late[:3])
    answer = http.get("/whoami", headers=bearer(token))
    assert answer.json() == {"user": "ann"}
    assert answer.elapsed.total_seconds() < seconds


def test_whoever_asks_whether_it_is_well_hears_so_a_little_later(tokens, seconds):
    http = client(tokens, limits=LIMITS)
    answers = [http.get("/healthz") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    late = [answer.elapsed.total_seconds() for answer in answers]
    assert min(late[3:]) > seconds > max(late[:3])
    tokens.create("ann")
    assert refused(http.get("/whoami"), 401, "token").elapsed.total_seconds() < seconds  # counts by itself


def test_the_more_are_held_the_longer(monkeypatch):
    monkeypatch.setattr(holding, "HELD", 0.2)
    monkeypatch.setattr(holding, "MANY", 2)
    held = Holding(LIMITS)

    async def never():
        await asyncio.Event().wait()

    async def one():
        start = time.monotonic()
        await held.hold("a", never, counted=True)
        return time.monotonic() - start

    async def several():
        return await asyncio.gather(*(one() for _ in range(6)))

    first, _, second, _, third, _ = asyncio.run(several())
    assert 0.2 <= first < second < third
    assert third >= 0.6
    assert not held._held


def test_whoever_hangs_up_is_held_no_longer(monkeypatch):
    monkeypatch.setattr(holding, "HELD", 600.0)
    messages = [{"type": "http.request", "body": b"a" * 10, "more_body": True}, {"type": "http.disconnect"}]

    async def receive():
        return messages.pop(0)

    asyncio.run(asyncio.wait_for(Holding(LIMITS).hold("a", receive, counted=True), 60))
    assert not messages


def test_of_a_body_that_does_not_end_little_is_read(monkeypatch):
    monkeypatch.setattr(holding, "HELD", 0.2)
    read = []

    async def receive():
        read.append(1 << 12)
        return {"type": "http.request", "body": bytes(1 << 12), "more_body": True}

    asyncio.run(Holding(LIMITS).hold("a", receive, counted=True))
    assert sum(read) <= holding.READ + (1 << 12)
