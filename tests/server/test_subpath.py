"""Behind a proxy that passes its sub-path on."""

import asyncio

import httpx
import pytest

from bifseg.cli import main
from bifseg.server.app import build_app
from bifseg.server.settings import Settings


class Client:
    """Asks a server that is not started: no worker is needed for these answers."""

    def __init__(self, data, **settings):
        self.app = build_app(Settings(data=data, root_path="/tools/bifseg", **settings))

    def get(self, path):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                return await http.get(f"http://127.0.0.1{path}")

        return asyncio.run(ask())


@pytest.fixture
def client(tmp_path):
    return Client(tmp_path)


@pytest.mark.parametrize("prefix", ["", "/tools/bifseg"])
def test_the_same_is_answered_with_and_without_the_prefix(client, prefix):
    assert client.get(f"{prefix}/healthz").status_code == 200
    assert client.get(f"{prefix}/openapi.json").json()["info"]["title"] == "bifseg"
    assert client.get(f"{prefix}/nothing").status_code == 404


def test_the_page_is_at_the_slash(client):
    answer = client.get("/tools/bifseg")
    assert (answer.status_code, answer.headers["location"]) == (308, "/tools/bifseg/")
    assert client.get("/tools/bifsegs/healthz").status_code == 404


def test_the_guard_sees_the_path_that_is_served(tmp_path):
    """A prefix opens no door: what needs a token without it needs one with it."""
    client = Client(tmp_path / "b", require_tokens=True)
    for path in ("/api/v1/images", "//api/v1/images", "/tools/bifseg/api/v1/images", "/healthz/../api/v1/images"):
        for prefix in ("", "/tools/bifseg"):
            assert client.get(f"{prefix}{path}").status_code in (401, 404)
    assert client.get("/tools/bifseg/api/v1/images").status_code == 401


@pytest.mark.parametrize("path", ["tools", "/a b", "/a/../b", "/a//b", "/\u00e4", "/a?b"])
def test_a_prefix_that_is_none(path, tmp_path, capsys):
    assert main(["serve", "--data", str(tmp_path), "--root-path", path]) == 2
    assert "/tools/bifseg" in capsys.readouterr().err
