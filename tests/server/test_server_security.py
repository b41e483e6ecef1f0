"""Who gets in: tokens, the guard in front of everything, rate limits, and TLS."""

import asyncio
import hashlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
import warnings

import httpx
import pytest
import trustme
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from bifseg.errors import NotFound
from bifseg.server.access import guard
from bifseg.server.access.guard import Guard, User
from bifseg.server.access.ratelimit import NAMES, RateLimit
from bifseg.server.access.tokens import Tokens
from bifseg.server.settings import Limits, Settings
from bifseg.storage import Store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have a successor of httpx
    from starlette.testclient import TestClient

LOOSE = Limits(requests_per_second=1000, upload_bytes=1 << 20)


class Body(BaseModel):
    text: str


@pytest.fixture
def tokens(store):
    return Tokens(store)


def client(tokens, *, address="10.0.0.7", **told):
    """A client of a small application behind the guard, which runs on loopback without tokens unless told."""
    app = FastAPI()
    app.state.ran = 0

    @app.get("/whoami")
    @app.get("/healthz")
    @app.get("/metrics")
    def whoami(request: Request) -> dict:
        return {"user": getattr(request.state, "user", None)}

    @app.get("/api/v1/who")
    def who(user: User) -> dict:
        return {"user": user}

    @app.post("/api/v1/images")
    @app.post("/small")
    async def upload(request: Request) -> dict:
        app.state.ran += 1
        return {"bytes": len(await request.body())}

    @app.post("/typed")
    async def typed(body: Body) -> dict:
        app.state.ran += 1
        return {"length": len(body.text)}

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>", headers={"Content-Security-Policy": "default-src 'self'"})

    @app.get("/monailabel/auth/")
    def auth() -> dict:
        return {}

    @app.post("/monailabel/auth/token")
    async def login(request: Request) -> dict:
        if tokens.user((await request.body()).decode()) is None:
            raise guard.HTTPException(401, "wrong") if hasattr(guard, "HTTPException") else _unauthorised()
        return {}

    told = {"limits": LOOSE, **told}
    app.add_middleware(Guard, settings=Settings(tokens._store.folder, **told), tokens=tokens)
    made = TestClient(app, base_url="http://localhost:1527", client=(address, 1))
    made.ran = lambda: app.state.ran
    return made


def _unauthorised():
    from fastapi import HTTPException

    return HTTPException(401, "wrong")


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def refused(answer, status, words):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    detail = answer.json()["detail"]
    assert words in detail
    assert "\n" not in detail
    return answer


# ---- tokens


def test_a_token_names_its_user_and_only_its_digest_is_kept(tokens, store):
    token = tokens.create("ann@ward-3.example")
    assert re.fullmatch(r"bifseg_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", token)
    assert tokens.user(token) == "ann@ward-3.example"
    secret = token.split("_", 2)[2]
    with store.transaction() as connection:  # so that nothing is left in the write-ahead log alone
        connection.execute("SELECT 1")
    kept = b"".join(path.read_bytes() for path in store.folder.glob("store.sqlite*"))
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in kept
    assert secret.encode() not in kept
    assert tokens.create("ann@ward-3.example") != token


@pytest.mark.parametrize("user", ["", "a b", "a/b", "ä", "a\n", "x" * 65, "a=b", '"'])
def test_an_impossible_name_is_refused(tokens, user):
    with pytest.raises(ValueError, match="a name has up to 64 letters"):
        tokens.create(user)
    assert tokens.list() == []


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_an_impossible_life_is_refused(tokens, days):
    with pytest.raises(ValueError, match="shall live"):
        tokens.create("ann", days)


def test_what_is_no_token_is_nobodys(tokens):
    token = tokens.create("ann")
    _, id, secret = token.split("_", 2)
    other = tokens.create("bob").split("_", 2)[2]
    wrong = "A" if secret[-1] != "A" else "B"
    for text in (
        "", "bifseg", f"bifseg_{id}_", f"bifseg_{id}_{secret[:-1]}{wrong}", f"bifseg_{id}_{secret}x", f"x{token}",
        f"bifseg_{id}_{other}", f"bifseg_00000000_{secret}", f"{token}\n", f"bifseg_{id.upper()}x_{secret}",
        f"bifseg_{id}_{hashlib.sha256(secret.encode()).hexdigest()[:43]}", "bifseg_' OR 1=1 --_x", "x" * 100_000,
    ):  # fmt: skip
        assert tokens.user(text) is None, text[:80]


def test_a_revoked_token_is_nobodys_at_once(tokens, store):
    first, second, bobs = tokens.create("ann"), tokens.create("ann"), tokens.create("bob")
    elsewhere = Tokens(store)  # as another process would
    assert elsewhere.user(first) == "ann"
    assert tokens.revoke(first.split("_")[1]) == 1
    assert [elsewhere.user(t) for t in (first, second, bobs)] == [None, "ann", "bob"]
    assert tokens.revoke("ann") == 1  # the first is already
    assert [elsewhere.user(t) for t in (first, second, bobs)] == [None, None, "bob"]
    for name in ("ann", "nobody", "%", "' OR 1=1 --"):
        with pytest.raises(NotFound, match="no live token"):
            tokens.revoke(name)
    assert elsewhere.user(bobs) == "bob"
    assert [(row.user, row.live) for row in tokens.list()] == [("ann", False), ("ann", False), ("bob", True)]


def test_a_token_expires(tokens, store):
    token = tokens.create("ann", days=0.5)
    (row,) = tokens.list()
    assert row.expires - row.created == pytest.approx(43_200)
    assert tokens.user(token) == "ann"
    with store.transaction() as connection:
        connection.execute("UPDATE tokens SET expires = ?", (time.time() - 1,))
    assert tokens.user(token) is None
    assert not tokens.list()[0].live


def test_the_last_use_is_noted_at_most_once_a_minute(tokens, store):
    token = tokens.create("ann")
    assert tokens.list()[0].last_used is None
    tokens.user(token)
    used = tokens.list()[0].last_used
    assert abs(used - time.time()) < 10
    tokens.user(token)
    assert tokens.list()[0].last_used == used
    with store.transaction() as connection:
        connection.execute("UPDATE tokens SET last_used = ?", (used - 61,))
    tokens.user(token)
    assert tokens.list()[0].last_used > used - 61


def test_who_has_a_token_gets_in_though_the_store_cannot_be_written(tokens, store):
    """As on a full disk: else nobody could come in and delete something."""
    token = tokens.create("ann")
    with store.transaction() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON tokens BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
    assert tokens.user(token) == "ann"
    assert tokens.list()[0].last_used is None


def test_tokens_are_asked_for(tokens, store):
    loopback = Settings(store.folder)
    assert [Settings(store.folder, host=host).loopback for host in ("localhost", "::1", "[::1]", "127.8.8.8")] == [
        True
    ] * 4
    assert not tokens.asked_for(loopback)
    assert tokens.asked_for(Settings(store.folder, require_tokens=True))
    for host in ("0.0.0.0", "::", "192.168.1.4", "host.example"):
        assert tokens.asked_for(Settings(store.folder, host=host)), host
    token = tokens.create("ann")
    assert tokens.asked_for(loopback)
    tokens.revoke(token.split("_")[1])
    assert Tokens(store).asked_for(loopback)  # to revoke the last one does not open the server


def test_another_process_makes_the_first_token(tokens, store, monkeypatch):
    monkeypatch.setattr("bifseg.server.access.tokens.RECALLED", 0.05)
    assert not tokens.any()
    Tokens(store).create("ann")
    time.sleep(0.1)
    assert tokens.any()


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
    http = client(tokens, limits=Limits(requests_per_second=1))
    assert [http.get("/monailabel/auth/").status_code for _ in range(5)] == [200] * 4 + [429]


def test_who_asks_too_often_waits(tokens):
    headers = {user: bearer(tokens.create(user)) for user in ("ann", "bob")}
    http = client(tokens, limits=Limits(requests_per_second=2))
    answers = [http.get("/whoami", headers=headers["ann"]) for _ in range(20)]
    assert [answer.status_code for answer in answers[:8]] == [200] * 8
    late = refused(next(answer for answer in answers if answer.status_code != 200), 429, "too often")
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


# ---- rate limits


def test_a_bucket_refills_evenly_up_to_its_size():
    now = 0.0
    limit = RateLimit(rate=2, burst=3, clock=lambda: now)
    assert [limit.wait("ann") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    assert limit.wait("bob") == 0
    now = 0.25
    assert limit.wait("ann") == 0.25
    now = 0.5
    assert [limit.wait("ann"), limit.wait("ann")] == [0, 0.5]
    now = 1000.0
    assert limit.left("ann") == 3
    assert [limit.wait("ann") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_slow_limit_lets_one_through():
    limit = RateLimit(rate=0.1, burst=0.4, clock=lambda: 0.0)
    assert [limit.wait("ann"), limit.wait("ann")] == [0, 10]


def test_names_beyond_number_take_no_memory():
    limit = RateLimit(rate=1, burst=1, clock=lambda: 0.0)
    assert limit.wait("first") == 0
    for k in range(NAMES):
        limit.wait(f"{k}")
    assert len(limit._left) == NAMES
    assert limit.wait(f"{NAMES - 1}") == 1
    assert limit.wait("first") == 0  # long forgotten


# ---- the server as it is started


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    """``bifseg serve`` with a certificate of its own: its address, folder, whom clients trust, and what it said."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    for k, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(folder / "cert.pem", append=k > 0)
    command = [sys.executable, "-m", "bifseg", "serve", "--data", folder / "store", "--port", "0", "--threads", "1"]
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--tls-cert", folder / "cert.pem", "--tls-key", folder / "key.pem"],
            stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    killer = threading.Timer(600, process.kill)
    killer.start()
    try:
        said = process.stdout.readline().decode()
        port = int(re.fullmatch(r"bifseg: serving on https://127\.0\.0\.1:(\d+)\n", said)[1])
        yield port, folder, ssl.create_default_context(cafile=folder / "ca.pem"), folder / "errors"
    finally:
        killer.cancel()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def test_a_server_with_a_certificate_speaks_https_alone(certified):
    port, folder, trusted, _ = certified
    token = Tokens(Store(folder / "store")).create("ann")  # as `bifseg token create` does, beside the running server
    time.sleep(2.1)
    for name in ("localhost", "127.0.0.1"):
        with httpx.Client(base_url=f"https://{name}:{port}", verify=trusted, timeout=60) as http:
            assert http.get("/healthz").json() == {"ok": True}
            assert http.get("/api/v1/sessions").status_code == 401
            own = {**bearer(token), "Origin": f"https://{name}:{port}"}
            assert http.get("/api/v1/sessions", headers=own).status_code == 200
            foreign = {**bearer(token), "Origin": f"http://{name}:{port}"}
            assert http.get("/api/v1/sessions", headers=foreign).status_code == 403
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{port}/healthz", timeout=60)
    old = ssl.create_default_context(cafile=folder / "ca.pem")
    old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA")
    with pytest.raises(httpx.ConnectError, match="SSL"):
        httpx.get(f"https://127.0.0.1:{port}/healthz", verify=old, timeout=60)
