"""What one user wants without measure costs the others little, and leaves nothing behind."""

import asyncio
import socket
import time
import zlib
from base64 import b64encode
from types import SimpleNamespace

import pytest
from api_calls import API, BOX, begin, do, refused
from serving import serving
from starlette.requests import ClientDisconnect

from bifseg.server.access.turns import Turns
from bifseg.server.api.file_replies import FileReply, file_reply
from bifseg.server.settings import Limits, Settings

LIMITS = Limits(requests_per_second=10_000, requests_at_once=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("greed") / "store"
    with serving(Settings(folder, threads=1, quota=64 << 20, share=4 << 20, limits=LIMITS)) as server:
        yield server


@pytest.fixture(scope="module")
def id(ann):
    return begin(ann, ann.post(f"{API}/images/demo").json()["key"])


def mask(value: int, box: str = "30:90,30:90,20:40", size: int = 60 * 60 * 20) -> dict:
    return {"box": box, "deflate": b64encode(zlib.compress(bytes([value]) * size)).decode()}


def stored(server) -> set[str]:
    return set(server.service.store.blobs)


def test_a_user_has_so_many_requests_at_once_and_others_theirs(server, ann):
    host, port = server.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port)), timeout=20) for _ in range(3)]
    lines = [f"POST {API}/images?name=a.nii HTTP/1.1", "Host: localhost", "Content-Length: 9"]
    head = "\r\n".join([*lines, f"Authorization: {ann.headers['authorization']}", "", ""])
    for connection in slow:
        connection.sendall(head.encode())
    turns, until = server.service.receiving, time.monotonic() + 20
    while len(turns._waiting.get("ann", ())) < 1 and time.monotonic() < until:  # two are heard, and one waits
        time.sleep(0.05)
    refused(ann.get(f"{API}/server"), 429, "3 of your requests")
    with server.client("ben") as ben:
        assert ben.get(f"{API}/server").status_code == 200
    assert ann.get("/healthz").status_code == 200
    for connection in slow:
        connection.close()
    while ann.get(f"{API}/server").status_code == 429:
        assert time.monotonic() < until + 20


def test_a_mask_that_came_in_vain_is_not_kept(server, ann, id):
    before = stored(server)
    body = {"scribbles": {"labels": mask(1)}}
    refused(ann.post(f"{API}/sessions/{id}/scribble", json=body), 400)  # there is no object yet
    box = {**BOX, "initial": mask(1), "name": "a", "scribbles": {"labels": mask(9)}}
    assert ann.post(f"{API}/sessions/{id}/box", json=box).status_code == 400
    stale = ann.post(f"{API}/sessions/{id}/submit", json={"labels": mask(5)}, headers={"If-Match": '"77"'})
    assert stale.status_code == 412
    assert stored(server) == before


def test_a_mask_that_came_twice_is_kept(server, ann, id):
    do(ann, id, "submit", {"labels": mask(3)})
    answer = ann.post(f"{API}/sessions/{id}/submit", json={"labels": mask(3)}, headers={"If-Match": '"77"'})
    assert answer.status_code == 412
    entry = ann.get(f"{API}/sessions/{id}/history").json()[-1]
    assert entry["request"]["labels"]["blob"] in stored(server)


def test_a_mask_counts_before_it_is_written(server, ann, id):
    """128 x 128 x 64 zeros are a kilobyte on their way, and a megabyte here."""
    before = stored(server)
    whole = mask(1, "0:128,0:128,0:64", 128 * 128 * 64)
    for k in range(8):
        answer = ann.post(f"{API}/sessions/{id}/submit", json={"labels": whole, "title": str(k)})
        whole["deflate"] = b64encode(zlib.compress(bytes([k]) + b"\1" * (128 * 128 * 64 - 1))).decode()
        if answer.status_code != 200:
            break
    refused(answer, 507, "You may keep")
    assert len(stored(server) - before) <= 4


def test_a_long_history_comes_in_its_order(server):
    with server.client("cas") as cas:
        _history(cas)


def _history(ann):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    for k in range(45):
        do(ann, id, "submit", {"labels": mask(1, "0:2,0:2,0:2", 8), "title": str(k)})
    told = ann.get(f"{API}/sessions/{id}/history")
    assert [entry["request"]["title"] for entry in told.json()] == [str(k) for k in range(45)]
    assert told.headers["ETag"] == '"45"'
    later = ann.get(f"{API}/sessions/{id}/history", params={"after": 43}).json()
    assert [entry["number"] for entry in later] == [44, 45]
    assert ann.get(f"{API}/sessions/{id}/history", params={"after": 45}).json() == []


def test_what_takes_seconds_is_made_elsewhere_than_what_takes_milliseconds(server):
    service = server.service
    assert service.lane(512 * 512) is service.quick
    assert service.lane(512 * 512 * 400) is service.heavy


def test_a_file_that_is_read_slowly_is_one_of_few(tmp_path):
    """Each lies on the disk until it is read, without a name, in nobody's share."""

    path = tmp_path / "file"
    path.write_bytes(bytes(9))

    async def gone(message):
        raise OSError

    async def play():
        service = SimpleNamespace(sending=Turns(at_once=9, own=1, waiting=1), heavy=Turns(at_once=9, own=9, waiting=9))

        async def reply(user):
            return await file_reply(service.heavy, service, user, lambda: FileReply(path.open("rb"), "text/plain"))

        first = await reply("ann")
        second = asyncio.create_task(reply("ann"))
        other = await asyncio.wait_for(reply("bob"), 5)
        await asyncio.sleep(0.1)
        assert not second.done()
        with pytest.raises(ClientDisconnect):
            await first({"type": "http", "asgi": {"spec_version": "2.4"}}, None, gone)
        for read in (other, await asyncio.wait_for(second, 5)):
            with pytest.raises(ClientDisconnect):
                await read({"type": "http", "asgi": {"spec_version": "2.4"}}, None, gone)

    asyncio.run(play())
