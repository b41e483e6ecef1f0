"""What is forged to look like something else: invisible names, session files with impossible settings, two lengths."""

import io
import json
import socket
import zipfile

import pytest
from api_calls import API, BOX, begin, do, refused


@pytest.fixture(scope="module")
def id(ann):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    do(ann, id, "box", {**BOX, "refine": "none"})
    return id


@pytest.mark.parametrize(
    "name", [" ", "\u3000", "\u200b", "a\u200bb", "\ufeffa", "\u00ad", "\u2800", "\U000e0041", "\u200d"]
)
def test_a_name_is_seen(ann, id, name):
    body = {"name": "object 1", "to": name}
    assert ann.post(f"{API}/sessions/{id}/rename", json=body).status_code == 422


@pytest.mark.parametrize(
    "name", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "left kidney", "\u00e4 2", "\u809d\u81d3"]
)
def test_a_name_is_of_any_script(ann, id, name):
    do(ann, id, "rename", {"name": "object 1", "to": name})
    do(ann, id, "undo")


def changed(archive: bytes, change) -> bytes:
    told = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(told, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "manifest.json":
                manifest = json.loads(content)
                change(manifest["session"])
                content = json.dumps(manifest).encode()
            new.writestr(name, content)
    return told.getvalue()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"title": "a\u202eb"}, "title"), ({"client": "x\nlevel=error"}, "client"),
        ({"parameters": {"rounds": 10**9}}, "rounds"), ({"parameters": {"iterations": 10**9}}, "iterations"),
    ],
)  # fmt: skip
def test_a_file_brings_nothing_that_could_not_begin_here(ann, id, about, words):
    archive = ann.get(f"{API}/sessions/{id}/export").content
    count = len(ann.get(f"{API}/sessions").json())
    answer = ann.post(f"{API}/sessions/import", content=changed(archive, lambda session: session.update(about)))
    refused(answer, 400, words)
    assert len(ann.get(f"{API}/sessions").json()) == count
    assert ann.post(f"{API}/sessions/import", content=changed(archive, lambda session: None)).status_code == 201


def test_a_request_of_two_lengths_is_refused(server, ann):
    """A proxy that believes one of them takes the rest for another request."""
    host, port = server.url.removeprefix("http://").split(":")
    lines = ["POST /api/v1/images/demo HTTP/1.1", "Host: localhost", f"Authorization: {ann.headers['authorization']}"]
    body = "0\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "Content-Length: 5", "Transfer-Encoding: chunked", "", body]).encode())
        told = b""
        while part := connection.recv(1 << 16):
            told += part
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1 ") == 1
    assert b"in two ways" in told
