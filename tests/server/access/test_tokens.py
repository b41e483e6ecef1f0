"""Tokens name their users; only digests are kept; what is revoked or expired is nobody's."""

import hashlib
import re
import time

import pytest

from bifseg.errors import NotFound
from bifseg.server.access.tokens import Tokens
from bifseg.server.settings import Settings


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
