"""A token that is revoked ends what it began: uploads that still come, and answers that are still read."""

import socket
import time

import numpy as np
from api_calls import API

from bifseg.imaging.image import Image
from bifseg.server.access import guard


def opened(server, token: str, line: str, *lines: str) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    connection.settimeout(20)
    connection.connect((host, int(port)))
    connection.sendall("\r\n".join([line, "Host: localhost", f"Authorization: {token}", *lines, "", ""]).encode())
    return connection


def test_an_upload_is_not_taken_to_its_end(server, monkeypatch):
    monkeypatch.setattr(guard, "WATCH", 0.1)
    with server.client("una") as una:
        token = una.headers["authorization"]
    line = f"POST {API}/images?name=a.nii.gz HTTP/1.1"
    with opened(server, token, line, "Content-Length: 1000") as connection:
        connection.sendall(b"a" * 500)
        time.sleep(0.3)
        server.service.tokens.revoke("una")
        connection.sendall(b"a" * 500)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
    assert server.service.store.images("una") == []


def test_a_download_is_not_read_to_its_end(server, monkeypatch):
    monkeypatch.setattr(guard, "WATCH", 0.1)
    array = np.random.default_rng(0).integers(0, 1 << 15, (256, 256, 128)).astype(np.int16)
    key = server.service.store.add_image(Image(array), "uwe")
    with server.client("uwe") as uwe:
        token = uwe.headers["authorization"]
    with opened(server, token, f"GET {API}/images/{key}/voxels?format=nii HTTP/1.1") as connection:
        got = len(connection.recv(1 << 16))
        server.service.tokens.revoke("uwe")
        time.sleep(0.3)
        try:
            while part := connection.recv(1 << 20):
                got += len(part)
        except ConnectionResetError:
            pass
    assert got < array.nbytes
    until = time.monotonic() + 10
    while server.service.sending._running:  # and it is nobody's turn any more
        assert time.monotonic() < until
        time.sleep(0.05)
