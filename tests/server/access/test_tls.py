"""A server that was started with a certificate speaks HTTPS alone."""

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import httpx
import pytest
import trustme
from guarded_app import bearer
from program import IDLE, MAIN

from bifseg.server.access.connections import place_of
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store


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
    command = [sys.executable, "-c", IDLE + MAIN, "serve", "--data", folder / "store", "--port", "0", "--threads", "1"]
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows' loop accepts by itself")
def test_connections_that_do_not_begin_tls_are_counted_too(certified):
    """They are no protocol's yet, and each takes a descriptor: 1,100 of them, and nobody came in any more."""
    port, _, trusted, _ = certified
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(400)]
        until, closed = time.monotonic() + 20, 0
        while closed < 100 and time.monotonic() < until:
            ready = select.select(silent, [], [], 1)[0]
            closed = sum(end(connection) for connection in ready)
        assert 100 <= closed < 200
    until = time.monotonic() + 20
    while True:  # as soon as the server noticed that they are gone
        with contextlib.suppress(httpx.TransportError):
            assert httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trusted, timeout=60).status_code == 200
            break
        assert time.monotonic() < until


def end(connection):
    """Whether the other end closed a connection on which something happened."""
    with contextlib.suppress(ConnectionResetError):
        return not connection.recv(1, socket.MSG_PEEK)
    return True


def test_an_address_of_ipv6_is_its_network():
    assert place_of("2001:db8:1:2:3::4") == place_of("2001:db8:1:2:ffff::") != place_of("2001:db8:1:3::4")
    assert place_of("192.0.2.7") == "192.0.2.7"
    assert place_of("fe80::1%eth0") == "fe80::/64"
