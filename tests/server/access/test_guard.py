"""The guard in front of everything: who asks, from where, how often and how much."""

import asyncio
import json

import pytest
from guarded_app import LOOSE, bearer, client, refused

from bifseg.server.access import guard, holding
from bifseg.server.access.guard import Guard
from bifseg.server.settings import Limits, Settings

# ---- who asks


def test_on_loopback_without_tokens_everybody_is_local(tokens):
    assert client(tokens).get("/api/v1/who").json() == {"user": "local"}
    assert client(tokens).get("/metrics").json() == {"user": "local"}


def test_a_token_is_asked_for_and_believed(tokens):
    token = tokens.create("ann")
    http = client(tokens)
    for path in ("/api/v1/who", "/metrics", "/nothing", "/healthz/", "/%2Fhealthz", "/healthz/../whoami"):
        answer = refused(http.get(path), 401, "asks for a token")
        assert answer.headers["www-authenticate"] == 'Bearer realm="bifseg"'
    assert http.get("/healthz").json() == {"user": None}
    assert http.get("/api/v1/who", headers=bearer(token)).json() == {"user": "ann"}
    assert http.get("/api/v1/who", headers={"Authorization": f"bearer  {token}"}).json() == {"user": "ann"}
    cookie = {"Cookie": f"theme=dark; bifseg_token={token}"}
    assert http.get("/api/v1/who", headers=cookie).json() == {"user": "ann"}
    for headers in (bearer(token[:-1]), bearer("x"), {"Cookie": "bifseg_token=x"}, {"Authorization": f"Bearer{token}"}):
        assert http.get("/api/v1/who", headers=headers).status_code == 401
    for headers in ({"Authorization": f"Basic {token}"}, {"Cookie": f"other={token}"}, {"X-User": "ann"}):
        refused(http.get("/api/v1/who", headers=headers), 401, "asks for a token")
    refused(http.get(f"/api/v1/who?token={token}"), 401, "asks for a token")


def test_a_revoked_token_is_refused_at_once(tokens):
    token, http = tokens.create("ann"), client(tokens)
    assert http.get("/whoami", headers=bearer(token)).status_code == 200
    tokens.revoke("ann")
    refused(http.get("/whoami", headers=bearer(token)), 401, "wrong, expired or revoked")
    refused(http.get("/whoami"), 401, "asks for a token")


def test_who_guesses_is_slowed_down_but_not_colleagues_at_the_same_address(tokens):
    token, http = tokens.create("ann"), client(tokens)
    wrong = bearer("bifseg_00000000_" + "A" * 43)
    assert [http.get("/whoami", headers=wrong).status_code for _ in range(11)] == [401] * 10 + [429]
    answer = refused(http.get("/whoami", headers=wrong), 429, "wrong tokens")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert http.get("/whoami", headers=bearer(token)).json() == {"user": "ann"}
    assert http.get("/whoami").status_code == 401  # no guess


def test_logins_are_counted(tokens):
    token, http = tokens.create("ann"), client(tokens)
    path = "/monailabel/auth/token"
    assert [http.get("/monailabel/auth/").status_code for _ in range(30)] == [200] * 30
    assert http.post(path, content=token).status_code == 200
    assert [http.post(path, content="guess").status_code for _ in range(11)] == [401] * 9 + [429] * 2
    assert http.get("/whoami", headers=bearer(token)).status_code == 200


def test_logins_are_limited_by_address(tokens):
    tokens.create("ann")
    http = client(tokens, limits=Limits(requests_per_second=1, requests_in_burst=4))
    assert [http.get("/monailabel/auth/").status_code for _ in range(5)] == [200] * 4 + [429]


def test_who_asks_too_often_waits(tokens, monkeypatch):
    monkeypatch.setattr(holding, "HELD", 0.2)
    headers = {user: bearer(tokens.create(user)) for user in ("ann", "bob")}
    http = client(tokens, limits=Limits(requests_per_second=2, requests_in_burst=8))
    answers = [http.get("/whoami", headers=headers["ann"]) for _ in range(20)]
    assert [answer.status_code for answer in answers[:8]] == [200] * 8
    late = refused(next(answer for answer in answers if answer.status_code != 200), 429, "too often")
    assert late.elapsed.total_seconds() > 0.2  # no connection asks again at once
    assert late.headers["retry-after"] == "1"
    assert http.get("/whoami", headers=headers["bob"]).status_code == 200
    assert http.get("/healthz").status_code == 200


# ---- from where


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1527", "[::1]:9", "10.1.2.3", "seg.example", "Seg.Example:443"]
)
def test_a_name_of_the_server(tokens, host):
    assert client(tokens, hosts=("seg.Example",)).get("/whoami", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "evil.example:1527", "seg.example.evil", "[::1", "127.0.0.1.evil",
     "evil@localhost", "localhost/evil", "localhost#evil", "127.1", "0x7f.1", "localhost:port", "a b"],
)  # fmt: skip
def test_another_name_is_refused(tokens, host):
    """So that no page gets in by having its own name point here (DNS rebinding)."""
    http = client(tokens, hosts=("seg.example",))
    refused(http.get("/whoami", headers={"Host": host}), 421, "is not called")
    assert http.get("/healthz", headers={"Host": host}).status_code == 200


def test_pages_of_other_servers_are_refused(tokens):
    http = client(tokens, origins=("https://reader.example",))
    for origin in ("http://localhost:1527", "https://reader.example"):
        answer = http.get("/whoami", headers={"Origin": origin})
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]
    for origin in (
        "null", "", "http://localhost", "https://localhost:1527", "http://127.0.0.1:1527", "http://evil.example",
        "https://reader.example.evil", "https://reader.example/", "*",
    ):  # fmt: skip
        for method in ("GET", "POST", "OPTIONS"):
            answer = http.request(method, "/whoami", headers={"Origin": origin})
            refused(answer, 403, "Pages of other servers")
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_replies_say_what_browsers_may_do_with_them(tokens):
    http = client(tokens)
    for answer in (http.get("/whoami"), http.get("/nothing"), http.get("/whoami", headers={"Host": "x"})):
        for name, value in guard.HEADERS.items():
            assert answer.headers.get_list(name) == [value]
    assert guard.HEADERS["Content-Security-Policy"].startswith("default-src 'none'")
    assert http.get("/page").headers.get_list("content-security-policy") == ["default-src 'self'"]


# ---- how much


def _chunks(count, size=1 << 16):
    for _ in range(count):
        yield b"a" * size


def test_a_body_that_says_it_is_too_large_is_not_read(tokens):
    http = client(tokens)
    answer = http.post("/api/v1/images", content=b"", headers={"Content-Length": str((1 << 20) + 1)})
    refused(answer, 413, "at most 1 MiB")
    refused(http.post("/small", content=b"", headers={"Content-Length": str((64 << 20) + 1)}), 413, "at most 64 MiB")
    assert http.ran() == 0
    assert http.post("/api/v1/images", content=b"a" * (1 << 20)).json() == {"bytes": 1 << 20}


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "1 2", "9" * 5000, "+5"])
def test_a_length_that_is_none(tokens, length):
    http = client(tokens)
    answer = http.post("/api/v1/images", content=b"", headers={"Content-Length": length})
    refused(answer, 400, "Content-Length")
    assert http.ran() == 0


def test_a_body_without_a_length_is_counted(tokens, monkeypatch):
    http = client(tokens)
    assert http.post("/api/v1/images", content=_chunks(16)).json() == {"bytes": 1 << 20}
    refused(http.post("/api/v1/images", content=_chunks(17)), 413, "1 MiB")
    monkeypatch.setattr(guard, "OTHER_BYTES", 1 << 17)
    assert http.post("/small", content=_chunks(2)).json() == {"bytes": 1 << 17}
    refused(http.post("/small", content=_chunks(3)), 413, "larger")


def test_a_typed_body_without_a_length_is_counted(tokens, monkeypatch):
    """FastAPI makes 400 of everything that goes wrong while it reads one."""
    monkeypatch.setattr(guard, "OTHER_BYTES", 1 << 17)
    http = client(tokens)
    told = {"Content-Type": "application/json"}
    body = [b'{"text": "', *_chunks(1), b'"}']
    assert http.post("/typed", content=iter(body), headers=told).json() == {"length": 1 << 16}
    refused(http.post("/typed", content=iter([body[0], *_chunks(3), body[2]]), headers=told), 413, "larger")
    assert http.ran() == 1


def test_reading_stops_at_the_limit(tokens):
    """A body without end is not taken in: at most one piece more than the limit."""
    taken, sent = 0, []

    async def app(scope, receive, send):
        while (await receive())["more_body"]:
            pass

    async def receive():
        nonlocal taken
        taken += 1 << 16
        return {"type": "http.request", "body": bytes(1 << 16), "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/v1/images", "scheme": "http", "client": ("10.0.0.7", 1),
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    asyncio.run(Guard(app, Settings(tokens._store.folder, limits=LOOSE), tokens)(scope, receive, send))
    assert taken == (1 << 20) + (1 << 16)
    assert (sent[0]["status"], json.loads(sent[1]["body"])["detail"][:8]) == (413, "The body")


def test_only_http_gets_in(tokens):
    reached = []

    async def app(scope, receive, send):
        reached.append(scope["type"])

    guarded = Guard(app, Settings(tokens._store.folder), tokens)
    for kind in ("websocket", "lifespan", "other"):
        asyncio.run(guarded({"type": kind}, None, None))
    assert reached == ["lifespan"]
