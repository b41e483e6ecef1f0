"""The unmodified nnInteractive client against a real server, whose process is killed and started again on the way.

After every call the client's buffer is compared with the mask of its session in the store, voxel by voxel.
"""

import hashlib
import json
import re
import socket
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)
from nnInteractive.inference.remote.serialization import pack_array

from bifseg.imaging.intensity import unit_range
from bifseg.server.access.tokens import Tokens
from bifseg.server.nninteractive.leases import Leases
from bifseg.server.settings import Limits
from bifseg.storage import Store
from bifseg.training.synthetic.phantom import phantom

# A client whose server refuses it never closes its own connection.
pytestmark = pytest.mark.filterwarnings(
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
WHOLE = [[15, 51], [60, 128], [10, 90]]  # its box, (z, y, x) as clients send images
FLAT = [[32, 33], [62, 120], [14, 80]]


@pytest.fixture(scope="module")
def scan():
    """What a client has: image (1, z, y, x), spacing, and where the organ is."""
    image, labels = phantom(11)
    return image.array.T[None], image.spacing[::-1], labels.T == ORGAN


class Served:
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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("served") / "store")
    yield server
    server.close()


@pytest.fixture
def client(server, scan):
    with server.connect() as client:
        begin(client, scan)
        yield client


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


# ---- whole sessions


def test_a_session_in_a_volume(server, client, scan):
    """Two flat boxes become a 3D box; scribbles for and against; points; and all of it undone."""
    organ, masks = scan[2], []
    assert client.original_image_shape == scan[0].shape
    changed = client.add_bbox_interaction(FLAT, True)
    assert changed == FLAT
    assert dice(server.agree(client)[32], organ[32]) > 0.7
    masks.append(server.agree(client))
    (segment,) = server.state(client).objects.values()
    assert segment.box.dimension == 2

    client.add_bbox_interaction([[15, 51], [60, 128], [40, 41]], True)
    masks.append(server.agree(client))
    (segment,) = server.state(client).objects.values()
    assert str(segment.box) == "15:51,60:128,14:80"

    wrong = np.argwhere(masks[-1] & ~organ)
    crop = [[int(a), int(a) + 3] for a in wrong[len(wrong) // 2] - 1]
    client.add_scribble_interaction(np.ones((3, 3, 3), np.uint8), False, interaction_bbox=crop)
    masks.append(server.agree(client))
    assert not masks[-1][tuple(slice(*pair) for pair in crop)].any()

    inside = np.argwhere(organ).mean(0).astype(int)
    whole = np.zeros(organ.shape, np.uint8)
    whole[inside[0], inside[1], inside[2] - 8 : inside[2] + 8] = 1
    client.add_scribble_interaction(whole & organ, True)
    masks.append(server.agree(client))
    assert masks[-1][(whole & organ) > 0].all()

    client.add_point_interaction(inside, True)
    masks.append(server.agree(client))
    assert masks[-1][tuple(inside)]
    client.add_point_interaction([20, 62, 15], False)
    masks.append(server.agree(client))
    assert not masks[-1][20, 62, 15]

    for before in [*masks[-2::-1], np.zeros_like(organ)]:
        assert client.undo()
        np.testing.assert_array_equal(server.agree(client), before)
    assert client.undo() is False
    assert client._last_paste_bbox is None
    client.add_bbox_interaction(FLAT, True)
    np.testing.assert_array_equal(server.agree(client), masks[0])


@pytest.mark.parametrize("dtype", [bool, np.int32])
def test_a_box_in_one_go_into_a_buffer_of_any_type(server, scan, dtype):
    with server.connect() as client:
        begin(client, scan, dtype)
        assert client.add_bbox_interaction(WHOLE, True) == WHOLE
        assert dice(server.agree(client), scan[2]) > 0.5
        client.reset_interactions()
        assert not server.agree(client).any()


def test_a_first_scribble_point_and_lasso_make_their_own_boxes(server, client, scan):
    organ = scan[2]
    scribble = np.zeros(organ.shape, np.uint8)
    scribble[30, 85:105, 45] = scribble[30, 95, 30:60] = 1
    client.add_scribble_interaction(scribble, True)
    assert server.agree(client)[scribble > 0].all()
    assert str(next(iter(server.state(client).objects.values())).box) == "30,83:107,27:63"
    client.add_scribble_interaction(np.roll(scribble, 4, axis=0), True)  # on another plane: a volume
    assert server.agree(client)[34, 95, 45]
    assert next(iter(server.state(client).objects.values())).box.dimension == 3
    first = server.facts(client)["session"]

    client.reset_interactions()
    centre = [int(at) for at in np.argwhere(organ).mean(0)]
    client.add_point_interaction(centre, True)
    assert server.agree(client)[tuple(centre)]
    assert server.facts(client)["session"] != first

    client.reset_interactions()
    lasso = np.zeros(organ.shape, np.uint8)
    lasso[30] = organ[30]
    client.add_lasso_interaction(lasso, True)
    assert dice(server.agree(client)[30], organ[30]) > 0.8
    client.add_lasso_interaction(np.roll(lasso, 40, axis=2), False)
    assert not (server.agree(client)[30] & (np.roll(lasso, 40, axis=2)[30] > 0)).any()


def test_prompts_wait_for_a_prediction_where_the_client_says_so(server, client):
    client.add_bbox_interaction(FLAT, True, run_prediction=False)
    assert client._last_paste_bbox is None
    assert not client.target_buffer.any()
    client.add_point_interaction([32, 95, 45], True, run_prediction=False)
    assert not client.target_buffer.any()
    assert client._predict() == FLAT
    assert server.agree(client)[32, 95, 45]
    entries = server.store.entries(server.facts(client)["session"])
    assert [entry.kind for entry in entries] == ["box", "scribble", "refine"]
    assert [len(entry.summary["rounds"]) > 0 for entry in entries] == [False, False, True]
    client.reset_interactions()
    assert client._predict() is None


def test_a_given_mask_begins_a_session(server, client, scan):
    given = np.zeros(scan[2].shape, np.uint8)
    given[28:36] = scan[2][28:36]
    assert client.add_initial_seg_interaction(given) is None
    np.testing.assert_array_equal(server.agree(client), given > 0)
    client.add_point_interaction([40, 95, 45], True)
    assert server.agree(client)[40, 95, 45]
    client.undo()
    np.testing.assert_array_equal(server.agree(client), given > 0)
    client.add_initial_seg_interaction(given, run_prediction=True)
    assert dice(server.agree(client), given > 0) > 0.7
    client.add_initial_seg_interaction(np.zeros_like(given))
    assert not server.agree(client).any()


def test_a_mask_brings_its_session_back_with_scribbles_classifier_and_undo(server, scan):
    with server.connect() as client:
        begin(client, scan)
        client.add_bbox_interaction(FLAT, True)
        first = server.agree(client)
        client.add_point_interaction([32, 95, 45], True)
        client.add_point_interaction([32, 64, 16], False)
        last, session, segment = (
            server.agree(client), server.facts(client)["session"], next(iter(server.state(client).objects.values())),
        )  # fmt: skip
        with server.connect("bob") as other:  # to whom it does not belong
            begin(other, scan)
            other.add_initial_seg_interaction(last.astype(np.uint8))
            server.agree(other)
            assert server.facts(other)["session"] != session
        with server.connect() as second:  # while the first client works on it
            begin(second, scan)
            second.add_initial_seg_interaction(last.astype(np.uint8))
            assert server.facts(second)["session"] != session
            server.store.delete(server.facts(second)["session"])
    with server.connect() as client:
        begin(client, scan)
        client.add_initial_seg_interaction(last.astype(np.uint8))
        assert server.facts(client)["session"] == session
        again = next(iter(server.state(client).objects.values()))
        np.testing.assert_array_equal(again.scribbles, segment.scribbles)
        for name, weights in segment.classifier.items():
            np.testing.assert_array_equal(again.classifier[name], weights)
        assert client.undo()
        assert client.undo()
        np.testing.assert_array_equal(server.agree(client), first)


def test_a_killed_server_goes_on_with_the_same_client_where_it_was(server, client):
    """Killed between prompts and in the middle of one: what was answered is there, undo included."""
    client.add_bbox_interaction(FLAT, True)
    first = server.agree(client)
    server.kill()
    assert not client.ping()
    with pytest.raises(httpx.HTTPError):
        client.add_point_interaction([32, 95, 45], True)
    server.start()
    assert client.heartbeat() > 500
    client.add_point_interaction([32, 95, 45], True)
    second = server.agree(client)
    assert second[32, 95, 45]

    entries = len(server.store.entries(server.facts(client)["session"]))
    digest = pack_array(np.ones((1, 3, 3), np.uint8))
    meta = {"include_interaction": False, "interaction_bbox": [[32, 33], [63, 66], [15, 18]]}
    headers = {**client._http.headers, "X-Meta": json.dumps(meta)}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/add_scribble_interaction",
            content=digest,
            headers=headers,
            timeout=httpx.Timeout(5, read=0.005),
        )
    server.kill()
    server.start()
    assert len(server.store.entries(server.facts(client)["session"])) in (entries, entries + 1)
    while len(server.store.entries(server.facts(client)["session"])) > entries:
        client.undo()  # its reply was lost; this one is not
        server.agree(client)
        entries += 2
    np.testing.assert_array_equal(server.agree(client), second)
    assert client.undo()
    np.testing.assert_array_equal(server.agree(client), first)


def test_a_lost_reply_does_no_harm(server, client):
    """The server does something that the client never hears of; the next reply brings the two together."""
    client.add_bbox_interaction(FLAT, True)
    httpx.post(f"{server.url}/undo", headers=client._http.headers, timeout=60)
    assert client.target_buffer.any()
    client.add_bbox_interaction([[32, 33], [20, 60], [20, 60]], True)
    server.agree(client)


def test_a_session_that_was_deleted_is_begun_anew(server, client):
    client.add_bbox_interaction(FLAT, True)
    server.store.delete(server.facts(client)["session"])
    assert client.undo() is False
    client.add_bbox_interaction(FLAT, True)
    server.agree(client)


def test_flat_and_colour_images(server):
    image, _ = phantom(11)
    plane = (255 * unit_range(image.array[:, :, 32].T)).astype(np.uint8)
    with server.connect() as client:
        for scan in (plane[None, None], np.repeat(plane[None, None], 3, 0), plane[None, None].astype(np.float16)):
            begin(client, (scan, (1, 1, 1)))
            client.add_point_interaction([0, 95, 45], True)
            assert server.agree(client)[0, 95, 45]
        assert server.store.image(server.facts(client)["image"]).array.dtype == np.float32
        two = np.stack([plane, plane])[None]
        begin(client, (two, (1, 1, 1)))
        client.add_bbox_interaction([[0, 2], [60, 120], [15, 80]], True)
        assert next(iter(server.state(client).objects.values())).box.dimension == 2
        server.agree(client)


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
    with server.connect() as client:
        digest = hashlib.sha256(client._lease_token.encode()).hexdigest()
        server.kill()
        _age(server, digest, heard=500, touched=10)
        server.start()
        assert client.heartbeat() > 0
        server.kill()
        _age(server, digest, heard=700)
        server.start()
        with pytest.raises(SessionExpiredError):
            client.heartbeat()


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


# ---- what is refused


def test_what_must_come_first_does(server, scan):
    with server.connect() as client:
        assert status(client.add_bbox_interaction, FLAT, True) == (400, "There is no image yet; set_image comes first.")
        assert status(client.set_target_buffer, np.zeros((3, 3, 3)))[0] == 400
        client.set_image(scan[0], {"spacing": scan[1]})
        assert status(client.add_bbox_interaction, FLAT, True)[1].startswith("There is no buffer yet")
        assert client.undo() is False
        client.set_target_buffer(np.zeros(scan[0].shape[1:], np.uint8))
        assert "The first prompt marks" in status(client.add_bbox_interaction, FLAT, False)[1]


@pytest.mark.parametrize(
    ("image", "properties", "code", "message"),
    [
        (np.full((1, 8, 8, 8), np.nan), {}, 400, "512 voxels that are NaN"),
        (np.ones((1, 8, 8, 8)), {}, 400, "one value|constant|same"),
        (np.ones((2, 8, 8, 8)), {}, 400, "2 channels"),
        (np.ones((3, 8, 8, 8)), {}, 400, "3 channels of float64"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1]}, 400, "X-Meta.image_properties.spacing"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1, -1]}, 400, "greater than 0"),
        (np.arange(512).reshape(1, 8, 8, 8), {"spacing": [1, 1, float("nan")]}, 400, "X-Meta"),
    ],
)
def test_an_image_that_cannot_be_is_refused(server, image, properties, code, message):
    with server.connect() as client:
        got, detail = status(client.set_image, image, properties)
        assert got == code
        assert re.search(message, detail)


def test_frames_and_words_that_cannot_be_are_refused(server, client, scan):
    mask = pack_array(np.ones((2, 2, 2), np.uint8))
    header = {"Content-Type": "application/octet-stream"}

    def post(path, content, meta="{}"):
        reply = httpx.post(
            f"{server.url}{path}",
            content=content,
            headers={**client._http.headers, **header, "X-Meta": meta},
            timeout=60,
        )
        return reply.status_code, reply.json()["detail"]

    crop = '{"interaction_bbox": [[0, 2], [0, 2], [0, 2]]}'
    assert post("/set_image", mask.replace(b"NNIA\x01", b"NNIA\x02", 1)) == (
        400, "The array has the version 2 of NNIA; this server reads version 1.",
    )  # fmt: skip
    assert post("/set_image", mask)[1].startswith("The image has the shape (2, 2, 2); it needs four axes")
    assert post("/set_image", b"")[0] == 400
    assert post("/set_image", mask[:-1])[0] == 400
    assert post("/add_scribble_interaction", mask)[1].endswith("does not fit the image (64, 128, 128).")
    assert "does not fit interaction_bbox" in post("/add_scribble_interaction", mask, crop.replace("2]", "3]"))[1]
    assert post("/add_scribble_interaction", mask, "{nonsense")[1].startswith("X-Meta: Invalid JSON")
    assert post("/add_scribble_interaction", mask, '{"include_interaction": 7}')[1].startswith("X-Meta.include_inter")
    assert post("/add_lasso_interaction", mask, crop.replace("[[0, 2]", "[[90, 92]"))[1].startswith(
        "The prompt marks no"
    )
    assert post("/add_scribble_interaction", pack_array(np.zeros((2, 2, 2), np.uint8)), crop)[0] == 400
    client.target_buffer = None  # else the client itself stumbles
    assert status(client.add_initial_seg_interaction, np.ones((2, 2, 2), np.uint8))[0] == 400
    huge = bytearray(pack_array(np.zeros((1, 100, 100, 1), np.uint8)))
    huge[21:29] = huge[29:37] = (100_000).to_bytes(8, "little")
    assert post("/set_image", bytes(huge))[0] == 413
    assert post("/add_scribble_interaction", bytes(huge))[0] == 413
    client.target_buffer = np.zeros(scan[2].shape, np.uint8)
    assert not server.agree(client).any()


def test_prompts_that_cannot_be_are_refused_and_change_nothing(server, client):
    client.add_bbox_interaction(FLAT, True)
    mask = server.agree(client)
    assert status(client.add_bbox_interaction, [[70, 80], [0, 9], [0, 9]], True)[0] == 400
    assert status(client.add_bbox_interaction, [[9, 5], [0, 9], [0, 9]], True)[0] == 400
    assert status(client.add_bbox_interaction, [[0, 9], [0, 9]], True)[0] == 422
    assert status(client.add_point_interaction, [64, 0, 0], True)[0] == 400
    assert status(client.add_point_interaction, [float("nan"), 0, 0], True)[0] == 422
    assert status(client.add_point_interaction, [10**30, 0, 0], True)[0] == 422
    buffer = client.target_buffer
    assert "of shape" not in status(client.set_target_buffer, np.zeros((64, 128, 128), np.float32))[1]
    assert "has the shape (3, 3, 3)" in status(client.set_target_buffer, np.zeros((3, 3, 3), np.uint8))[1]
    client.target_buffer = buffer
    np.testing.assert_array_equal(server.agree(client), mask)
    client.add_point_interaction([2, 2, 2], False)  # outside the object's box: background anyway
    np.testing.assert_array_equal(server.agree(client), mask)
    assert client.undo()
    np.testing.assert_array_equal(server.agree(client), mask)
