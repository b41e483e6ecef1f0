"""Who may connect, and for how long: keys, heartbeats, leases that end, and no more clients than the server takes."""

import hashlib
import time

import httpx
import pytest
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)
from nninteractive_clients import FLAT, UNCLOSED, begin

from bifseg.server.nninteractive.leases import Leases
from bifseg.server.settings import Limits

pytestmark = UNCLOSED


# ---- who may connect


def test_a_wrong_key_and_none_are_refused_and_health_is_open(server):
    for key in ("wrong", None):
        with pytest.raises(httpx.HTTPStatusError) as refused:
            nnInteractiveRemoteInferenceSession(server.url, key)
        assert refused.value.response.status_code == 401
    assert httpx.get(f"{server.url}/healthz", timeout=60).json() == {"ok": True}
    with server.connect() as client:
        assert client.ping()


def test_the_client_hears_what_it_may_offer(server):
    with server.connect() as client:
        assert all(client.supported_interactions[way] for way in ("points", "bbox2d", "bbox3d", "scribble", "lasso"))
        assert client.supports_undo
        assert client.supports_initial_label
        assert client.license == "Apache-2.0"
        assert client.do_autozoom is False
        assert client.preferred_scribble_thickness == [2, 2, 2]
        assert (client.idle_timeout_seconds, client.liveness_timeout_seconds) == (600, 60)


# ---- leases


def test_heartbeats_and_expiry(server, scan):
    with server.connect() as client:
        begin(client, scan)
        digest = hashlib.sha256(client._lease_token.encode()).hexdigest()
        assert client.heartbeat() == pytest.approx(600, abs=5)
        _age(server, digest, touched=300)
        assert client.heartbeat() == pytest.approx(300, abs=5)
        assert client.lease_status()["remaining_seconds"] == pytest.approx(300, abs=5)
        client.set_do_autozoom(False)
        assert client.lease_status()["remaining_seconds"] == pytest.approx(600, abs=5)
        _age(server, digest, touched=601)
        with pytest.raises(SessionExpiredError, match="connect again"):
            client.add_point_interaction([32, 95, 45], True)
    with server.connect() as client:
        _age(server, hashlib.sha256(client._lease_token.encode()).hexdigest(), heard=61)
        with pytest.raises(SessionExpiredError):
            client.heartbeat()


def _age(server, digest, **seconds):
    with server.store.transaction() as connection:
        for name, value in seconds.items():
            sql = f"UPDATE client_leases SET {name} = ? WHERE token_hash = ?"
            connection.execute(sql, (time.time() - value, digest))


def test_a_server_that_was_down_for_long_keeps_no_dead_leases(server):
    with server.connect() as one, server.connect() as other:
        digests = [hashlib.sha256(client._lease_token.encode()).hexdigest() for client in (one, other)]
        server.kill()
        _age(server, digests[0], heard=500, touched=10)
        _age(server, digests[1], heard=700)
        server.start()
        assert one.heartbeat() > 0
        with pytest.raises(SessionExpiredError):
            other.heartbeat()


def test_clients_live_while_a_server_takes_long_to_start(store):
    """They could not be heard meanwhile: on a busy machine workers take longer to start than a client may be silent."""
    leases = Leases(store, Limits())
    token = leases.claim("ann")
    with store.transaction() as connection:
        connection.execute("UPDATE client_leases SET heard = heard - 100")
    leases.hear_all()
    assert leases.hear(token, "ann", act=False).user == "ann"


def test_no_more_clients_than_the_server_takes(server):
    clients = [server.connect() for _ in range(3)]
    with pytest.raises(ServerAtCapacityError, match="3 clients are connected"):
        server.connect("bob")
    reply = httpx.post(f"{server.url}/claim", headers={"Authorization": f"Bearer {server.keys['bob']}"}, timeout=60)
    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    clients.pop().close()
    clients.append(server.connect("bob"))
    for client in clients:
        client.close()


def test_a_lease_is_its_users_alone(server, client):
    client.add_bbox_interaction(FLAT, True)
    headers = {"X-Lease-Token": client._lease_token, "Authorization": f"Bearer {server.keys['bob']}"}
    for path in ("/undo", "/heartbeat", "/predict", "/reset_interactions"):
        assert httpx.post(f"{server.url}{path}", headers=headers, timeout=60).status_code == 410
    assert httpx.post(f"{server.url}/release", headers=headers, timeout=60).json() == {"released": False}
    del headers["X-Lease-Token"]
    assert httpx.post(f"{server.url}/undo", headers=headers, timeout=60).status_code == 410
    server.agree(client)
    assert client.heartbeat() > 0
