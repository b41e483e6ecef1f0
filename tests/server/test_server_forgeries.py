"""What is forged to look like something else: invisible names, session files with impossible settings, two lengths."""

import hashlib
import io
import json
import socket
import zipfile
from dataclasses import replace

import pytest
from api_calls import API, BOX, begin, do, refused

from bifseg.storage.snapshot import pack, unpack


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


@pytest.mark.parametrize("number", [{"iterations": 10**6}, {"rounds": 10**6}])
def test_an_object_brings_no_numbers_that_could_not_begin_here(ann, id, number):
    """It held a worker for 120 s, which heard of no cancellation and had to be killed."""
    archive = ann.get(f"{API}/sessions/{id}/export").content
    answer = ann.post(f"{API}/sessions/import", content=forged(archive, number))
    refused(answer, 400, f"object.{next(iter(number))}")
    assert ann.post(f"{API}/sessions/import", content=forged(archive, {"iterations": 1000})).status_code == 201


def forged(archive: bytes, parameters: dict) -> bytes:
    """A session file whose only object has other numbers."""
    told = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(told, "w") as new:
        manifest = json.loads(old.read("manifest.json"))
        about = manifest["entries"][0]["state"]["objects"]["object 1"]
        segment = unpack(old.read(f"blobs/{about['segment']}"))
        content = pack(replace(segment, parameters=segment.parameters.but(**parameters)))
        name = hashlib.sha256(content).hexdigest()
        new.writestr(f"blobs/{manifest['image']['blob']}", old.read(f"blobs/{manifest['image']['blob']}"))
        new.writestr(f"blobs/{name}", content)
        about["segment"], manifest["blobs"], manifest["entries"] = name, [name], manifest["entries"][:1]
        new.writestr("manifest.json", json.dumps(manifest))
    return told.getvalue()
