"""The page's door: what opens without a token, how a token becomes a cookie, and the images that the page draws."""

import gzip
import http.client
import time
from http.cookies import SimpleCookie
from types import SimpleNamespace

import httpx
import nibabel
import numpy as np
import pytest
from serving import serving

from bifseg.imaging.image import Image
from bifseg.imaging.orientation import RAS
from bifseg.io import images
from bifseg.prompts.interaction import Box
from bifseg.server import built as built_page
from bifseg.server import page
from bifseg.server.access import tokens
from bifseg.server.access.tokens import Tokens
from bifseg.server.settings import Limits, Settings
from bifseg.storage import Store

API = "/api/v1"
SCAN = Image(
    np.random.default_rng(4).integers(-900, 900, (9, 8, 7)).astype(np.int16), (0.7, 1.3, 2.5), (3, -4, 5),
    np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]]),
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page, and beside it what nobody may read."""
    folder = tmp_path_factory.mktemp("server") / "static"
    (folder / "assets" / "folder").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>bifseg</title>")
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "index-Ab3.js").write_text("let a")
    (folder / "assets" / "index-Ab3.css").write_text("a {}")
    (folder / "assets" / "folder" / "secret").write_text("secret")
    (folder / "secret").write_text("secret")
    (folder.parent / "secret").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, built):
    limits = Limits(requests_per_second=10_000)
    settings = Settings(tmp_path_factory.mktemp("page") / "store", require_tokens=True, threads=1, limits=limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built_page, "STATIC", built)
        with serving(settings, computes=False) as server:
            yield server


@pytest.fixture
def anyone(server):
    with server.client() as http:
        yield http


def from_another(address):
    """Headers by which a proxy on this machine says whom it speaks for; each address has its own count of guesses."""
    return {"X-Forwarded-For": address}


# ---- files


def test_the_page_opens_without_a_token(anyone):
    reply = anyone.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert "<title>bifseg" in reply.text
    policy = reply.headers.get_list("content-security-policy")
    assert policy == [page.POLICY["Content-Security-Policy"]]
    for rule in ("default-src 'self'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"):
        assert rule in policy[0].split("; ")
    assert anyone.get(f"{API}/sessions").status_code == 401


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("/assets/index-Ab3.js", "text/javascript; charset=utf-8"),
        ("/assets/index-Ab3.css", "text/css; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ],
)
def test_files_of_the_page(anyone, name, media):
    reply = anyone.get(name)
    assert (reply.status_code, reply.headers["content-type"]) == (200, media)
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert ("immutable" in reply.headers["cache-control"]) == name.startswith("/assets")
    assert "worker-src 'self' blob:" in reply.headers["content-security-policy"]
    head = anyone.head(name)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(reply.content))


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../secret", "/assets/../../secret", "/assets/..%2fsecret", "/assets/..%2f..%2fsecret",
        "/assets/%2e%2e/secret", "/assets/%2e%2e%2fsecret", "/assets//secret", "/assets/..%5csecret", "/assets/folder",
        "/assets/folder/secret", "/assets/folder%2fsecret", "/assets/%00", "/assets/", "/assets/..", "/assets/.",
        "/assets/%2fetc%2fpasswd", "/assets/index-Ab3.js/", "/secret", "/static/secret", "/assets/*", "/%2e%2e/secret",
    ],
)  # fmt: skip
def test_no_other_file_can_be_read(server, path):
    """As a client sends it that does not tidy up its paths."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=20)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        content = reply.read()
    finally:
        connection.close()
    assert reply.status in (401, 404, 307), content
    assert b"secret" not in content
    assert b"let a" not in content


def test_a_page_that_was_not_built_says_so(anyone, monkeypatch, tmp_path):
    monkeypatch.setattr(built_page, "STATIC", tmp_path)
    reply = anyone.get("/")
    assert (reply.status_code, reply.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "make app" in reply.text
    assert anyone.get("/assets/index-Ab3.js").status_code == 404
    assert anyone.get("/icon.svg").json() == {"detail": "The page has no such file."}


def test_the_page_is_for_known_hosts_only(anyone):
    for path in ("/", "/assets/index-Ab3.js", "/enter"):
        assert anyone.get(path, headers={"Host": "evil.example"}).status_code == 421


def test_who_loads_the_page_too_often_waits_and_colleagues_do_not(tmp_path, built, monkeypatch):
    monkeypatch.setattr(built_page, "STATIC", built)
    limits = Limits(requests_per_second=1, requests_in_burst=4)
    settings = Settings(tmp_path / "store", require_tokens=True, threads=1, limits=limits)
    with serving(settings, computes=False) as server, server.client() as http, server.client("local") as user:
        codes = [http.get("/").status_code for _ in range(6)]
        assert codes[:4] == [200] * 4
        assert 429 in codes[4:]  # it comes after a second, in which one more may be asked
        assert user.get(f"{API}/sessions").status_code == 200
        assert http.get("/", headers=from_another("10.0.0.3")).status_code == 200


# ---- from a token to a cookie


def cookie_of(reply):
    (morsel,) = SimpleCookie(reply.headers["set-cookie"]).values()
    return morsel


def test_a_token_becomes_a_cookie(server, anyone):
    token = server.service.tokens.create("ann")
    reply = anyone.post("/enter", json={"token": token})
    assert (reply.status_code, reply.content) == (204, b"")
    morsel = cookie_of(reply)
    assert morsel.value == token
    assert (morsel["path"], morsel["samesite"].lower(), morsel["httponly"]) == ("/", "strict", True)
    assert (morsel["max-age"], morsel["secure"], morsel["domain"]) == (str(30 * 86_400), "", "")
    assert anyone.get(f"{API}/server").json()["user"] == "ann"
    server.service.tokens.revoke("ann")
    assert anyone.get(f"{API}/server").status_code == 401


def test_over_https_the_cookie_stays_there(server, anyone):
    token = server.service.tokens.create("ann")
    reply = anyone.post("/enter", json={"token": token}, headers={"X-Forwarded-Proto": "https"})
    assert cookie_of(reply)["secure"] is True


def test_a_link_lets_one_browser_in(server):
    once = server.service.tokens.create_once("local")
    with server.client() as first, server.client() as second:
        assert first.get(f"{API}/sessions", headers={"Authorization": f"Bearer {once}"}).status_code == 401
        reply = first.post("/enter", json={"token": once})
        assert reply.status_code == 204
        assert cookie_of(reply).value != once
        assert first.get(f"{API}/server").json()["user"] == "local"
        again = second.post("/enter", json={"token": once}, headers=from_another("10.0.0.4"))
        assert again.status_code == 401
        assert again.json() == {"detail": "This link was used already or is too old; type bifseg app again."}
        assert "set-cookie" not in again.headers
        assert second.get(f"{API}/server").status_code == 401
    row = server.service.tokens.list()[-1]
    assert (row.user, row.expires - row.created) == ("local", 30 * 86_400)


def test_a_link_is_too_old_after_ten_minutes(store, monkeypatch):
    now = 1000.0
    # Its own clock alone: an event loop in another thread would sleep for hours by this one.
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=time.time, monotonic=lambda: now))
    known = Tokens(store)
    late, early = known.create_once("local"), known.create_once("local")
    now += 599
    assert known.user(known.exchange(early, 1)) == "local"
    now += 1
    assert known.exchange(late, 1) is None
    assert len(known.list()) == 1


def test_wrong_tokens_do_not_get_in_and_are_counted(server, anyone):
    headers = from_another("10.0.0.5")
    wrong = ["", "x", "bifseg_00000000_" + "A" * 43, "once_" + "A" * 43, "Å", "once_"] * 2
    replies = [anyone.post("/enter", json={"token": token}, headers=headers) for token in wrong]
    assert [reply.status_code for reply in replies] == [401] * 10 + [429] * 2
    assert replies[0].json() == {"detail": "The token is wrong, expired or revoked."}
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert not any("set-cookie" in reply.headers for reply in replies)
    right = server.service.tokens.create_once("local")
    assert anyone.post("/enter", json={"token": right}, headers=headers).status_code == 204  # no guess


def test_an_expired_token_does_not_get_in(server, anyone):
    token = server.service.tokens.create("ann", days=1e-6)
    time.sleep(0.2)
    assert anyone.post("/enter", json={"token": token}, headers=from_another("10.0.0.6")).status_code == 401


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token": 1}', b'{"token": "x", "user": "ann"}', b'{"token": "%b"}'])
def test_what_is_no_token_is_refused(anyone, body):
    told = {"Content-Type": "application/json"}
    reply = anyone.post("/enter", content=body.replace(b"%b", b"a" * 201), headers=told)
    assert (reply.status_code, list(reply.json())) == (422, ["detail"])


def test_servers_of_one_machine_do_not_log_each_other_out(server, tmp_path):
    """A browser sends the cookies of all ports of a host; each server takes its own, and the common name as well."""
    (tmp_path / "link").symlink_to(tmp_path / "one")
    stores = [Store(tmp_path / name) for name in ("one", "two", "link")]
    names = [Tokens(store).cookie for store in stores]
    for store in stores:
        store.close()
    assert names[0] != names[1]
    assert names[0] == names[2]
    token = server.service.tokens.create("ann")
    own = server.service.tokens.cookie
    for sent in (
        f"{names[0]}=bifseg_other; {own}={token}", f"bifseg_token=other; {own}={token}", f"bifseg_token={token}",
    ):  # fmt: skip
        reply = httpx.get(f"{server.url}{API}/server", headers={"Cookie": sent}, timeout=20)
        assert reply.json()["user"] == "ann", sent
    reply = httpx.get(f"{server.url}{API}/server", headers={"Cookie": f"{names[0]}={token}"}, timeout=20)
    assert reply.status_code == 401


def test_pages_of_other_servers_cannot_use_the_cookie(server, anyone):
    """Another port of this machine is the same site to a browser: only the origin tells the two apart."""
    token = server.service.tokens.create("ann")
    assert anyone.post("/enter", json={"token": token}).status_code == 204
    before = len(anyone.get(f"{API}/images").json())
    for origin in ("http://127.0.0.1:1", "http://evil.example", "null"):
        for method, path in (("POST", f"{API}/images/demo"), ("DELETE", f"{API}/sessions/x"), ("POST", "/enter")):
            reply = anyone.request(method, path, json={"token": token}, headers={"Origin": origin})
            assert reply.status_code == 403
            assert "set-cookie" not in reply.headers
    assert len(anyone.get(f"{API}/images").json()) == before
    assert anyone.delete(f"{API}/sessions/x", headers={"Origin": server.url}).status_code == 404


# ---- images


@pytest.fixture(scope="module")
def image(ann, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    images.write_image(path, SCAN.array, SCAN)
    return ann.post(f"{API}/images", params={"name": "scan.nii.gz"}, content=path.read_bytes()).json()


def test_an_image_comes_in_canonical_order(ann, image):
    assert image["axes"] == [3, -1, 2]
    assert ann.get(f"{API}/images/{image['key']}").json()["axes"] == [3, -1, 2]
    reply = ann.get(f"{API}/images/{image['key']}/canonical")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert "content-encoding" not in reply.headers
    assert int(reply.headers["content-length"]) == len(reply.content) == 352 + 2 * SCAN.array.size
    file = nibabel.Nifti1Image.from_bytes(reply.content)
    expected = nibabel.as_closest_canonical(nibabel.Nifti1Image(SCAN.array, RAS @ SCAN.affine))
    np.testing.assert_array_equal(np.asanyarray(file.dataobj), np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(file.affine, expected.affine, atol=1e-4)


@pytest.mark.parametrize("box", ["0:1,0:2,0:3", "1,0:2,0:2"])
def test_a_part_of_it_has_the_same_voxels_at_the_same_places(ann, image, box):
    path = f"{API}/images/{image['key']}/canonical"
    whole, part = (nibabel.Nifti1Image.from_bytes(ann.get(path, params=given).content) for given in ({}, {"box": box}))
    slices = Box.parse(box, whole.shape).slices
    np.testing.assert_array_equal(np.asanyarray(part.dataobj), np.asanyarray(whole.dataobj)[slices])
    np.testing.assert_allclose(part.affine, whole.slicer[slices].affine, atol=1e-4)
    for wrong in ("0:1,0:2", "0:1,0:2,0:9999"):
        assert ann.get(path, params={"box": wrong}).status_code == 400


def test_it_is_packed_on_its_way_to_another_machine(server, ann, image):
    path = f"{API}/images/{image['key']}/canonical"
    plain = ann.get(path).content
    with ann.stream("GET", path, headers=from_another("10.0.0.9")) as reply:
        assert reply.headers["content-encoding"] == "gzip"
        packed = b"".join(reply.iter_raw())
    assert gzip.decompress(packed) == plain
    reply = ann.get(path, headers={**from_another("10.0.0.9"), "Accept-Encoding": "identity"})
    assert "content-encoding" not in reply.headers
    assert reply.content == plain


def test_it_is_its_owners(server, image):
    with server.client("bob") as http:
        assert http.get(f"{API}/images/{image['key']}/canonical").status_code == 404


def test_the_demos_scan_is_kept_once(server, ann):
    first, second = (ann.post(f"{API}/images/demo") for _ in range(2))
    assert first.status_code == second.status_code == 201
    assert first.json()["key"] == second.json()["key"]
    assert first.json()["shape"] == [128, 128, 64]
    assert [one["key"] for one in ann.get(f"{API}/images").json()].count(first.json()["key"]) == 1
    with server.client("bob") as http:
        assert http.get(f"{API}/images").json() == []
        assert http.post(f"{API}/images/demo").json()["key"] == first.json()["key"]
