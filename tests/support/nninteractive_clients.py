"""A server in a process that tests kill and start again, and what clients of the nnInteractive protocol see of it."""

import hashlib
import json
import socket
import subprocess
import sys

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import (
    nnInteractiveRemoteInferenceSession,
)

from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store

# A client whose server refuses it never closes its own connection.
UNCLOSED = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


SERVE = """
import sys
from pathlib import Path
from bifseg.server.app import build_app
from bifseg.server.run import run
from bifseg.server.settings import Limits, Settings
settings = Settings(Path(sys.argv[1]), port=int(sys.argv[2]), threads=1, limits=Limits(leases=3))
run(build_app(settings), settings)
"""
ORGAN = 4
FLAT = [[32, 33], [62, 120], [14, 80]]


class KillableServer:
    """A server in a process of its own, on one port and one store for good."""

    def __init__(self, folder) -> None:
        self.store = Store(folder)
        self.keys = {user: Tokens(self.store).create(user) for user in ("ann", "bob")}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.store.folder), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert "serving on" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) in (0, -15)
        self.process.stdout.close()
        self.store.close()

    def connect(self, user="ann") -> nnInteractiveRemoteInferenceSession:
        return nnInteractiveRemoteInferenceSession(self.url, self.keys[user])

    def facts(self, client) -> dict:
        digest = hashlib.sha256(client._lease_token.encode()).hexdigest()
        ((facts,),) = self.store.read("SELECT facts FROM client_leases WHERE token_hash = ?", (digest,))
        return json.loads(facts)

    def state(self, client):
        return self.store.state(self.facts(client)["session"])

    def mask(self, client) -> np.ndarray:
        if "session" not in self.facts(client):
            return np.zeros(client.target_buffer.shape, bool)
        return self.state(client).labels(client.target_buffer.shape) > 0

    def agree(self, client) -> np.ndarray:
        """The mask that both sides have."""
        mask = self.mask(client)
        np.testing.assert_array_equal(client.target_buffer, mask.astype(client.target_buffer.dtype))
        return mask


def begin(client, scan, dtype=np.uint8):
    client.set_do_autozoom(False)
    client.set_image(scan[0], {"spacing": scan[1]})
    client.set_target_buffer(np.zeros(scan[0].shape[1:], dtype))
    client.reset_interactions()


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def status(call, *args, **options):
    """How a call was refused: the status and the sentence."""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        call(*args, **options)
    detail = refused.value.response.json()["detail"]
    assert detail.endswith(".")
    assert "\n" not in detail
    return refused.value.response.status_code, detail
