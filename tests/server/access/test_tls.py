"""A server that was started with a certificate speaks HTTPS alone."""

import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time

import httpx
import pytest
import trustme
from guarded_app import bearer

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
