"""Nobody sees, changes or learns what is another's, whatever both have in common."""

import asyncio
import io as bytes_io
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import httpx
import numpy as np
import pydicom
import pytest
from api_calls import API, BOX, LONG, SCRIBBLE, begin, do, refused
from dicom_files import save_dicom

from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.server.access import lingering
from bifseg.server.api import interactions, sessions
from bifseg.server.api.bodies.drawing import Mask


@pytest.fixture
def eve(server):
    with server.client("eve") as client:
        yield client


def series(folder, patient: str) -> bytes:
    """A zip of a DICOM series that is the same for all patients but for the name."""
    content = bytes_io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.iterdir()):
            slice = pydicom.dcmread(path)
            slice.PatientName = patient
            part = bytes_io.BytesIO()
            slice.save_as(part)
            archive.writestr(path.name, part.getvalue())
    return content.getvalue()


def send(client, name: str, content: bytes) -> dict:
    answer = client.post(f"{API}/images", params={"name": name}, content=content)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.skipif(find_spec("highdicom") is None, reason='needs pip install "bifseg[dicom]"')
def test_a_segmentation_names_the_patient_of_the_one_who_drew_it(ann, bob, eve, tmp_path):
    save_dicom(tmp_path / "d", [(1, 2, 4 * k - 8) for k in range(4)])
    scan = images.read_image(tmp_path / "d")
    images.write_image(tmp_path / "d.nrrd", scan.array, scan)  # the same voxels at the same place, without a name

    def patient(client, id):
        answer = client.get(f"{API}/sessions/{id}/mask", params={"format": "dcm"})
        if answer.status_code == 400:
            return None
        return str(pydicom.dcmread(bytes_io.BytesIO(answer.content)).PatientName)

    sent = {
        "ann": (ann, "d.zip", series(tmp_path / "d", "Ann^Of")),
        "bob": (bob, "d.nrrd", (tmp_path / "d.nrrd").read_bytes()),
        "eve": (eve, "d.zip", series(tmp_path / "d", "No^Name")),
    }
    ids, keys = {}, {}
    for who, (client, *file) in sent.items():
        told = send(client, *file)
        assert told["dicom"] == (who != "bob")
        keys[who] = told["key"]
        ids[who] = begin(client, told["key"])
        full = Mask.of(np.ones((2, 2, 1)), "0:2,0:2,1").model_dump()
        do(client, ids[who], "box", {"box": "0:5,0:6,1", "initial": full, "refine": "none"})
    for client, *file in reversed(sent.values()):
        send(client, *file)
    send(ann, *sent["eve"][1:])  # an anonymised copy of her own
    assert {who: patient(sent[who][0], ids[who]) for who in sent} == {"ann": "Ann^Of", "bob": None, "eve": "No^Name"}
    archive = ann.get(f"{API}/sessions/{ids['ann']}/export").content
    again = bob.post(f"{API}/sessions/import", content=archive).json()["id"]
    assert patient(bob, again) == "Ann^Of"  # what she gave him is hers
    assert patient(bob, ids["bob"]) is None
    assert ann.post(f"{API}/sessions", json={"image": keys["bob"]}).status_code == 404
    assert bob.get(f"{API}/images/{keys['eve']}").status_code == 404


def test_an_upload_is_answered_the_same_whether_or_not_another_has_the_image(server, ann, bob, tmp_path):
    def numbers(client):
        lines = client.get("/metrics").text.splitlines()
        return {line for line in lines if line.startswith("bifseg_store")}

    shape = (20, 20, 20)
    known, new = (np.random.default_rng(k).integers(0, 99, shape).astype(np.int16) for k in (1, 2))
    files = {}
    for name, array in (("known", known), ("new", new)):
        images.write_image(tmp_path / f"{name}.nii.gz", array, Image(array))
        files[name] = (tmp_path / f"{name}.nii.gz").read_bytes()
    send(ann, "known.nii.gz", files["known"])
    with server.service.store.transaction() as connection:
        connection.execute("UPDATE images SET created = 5")
    told = {name: send(bob, f"{name}.nii.gz", content) for name, content in files.items()}
    start = told["known"].pop("created")
    assert 0 <= told["new"].pop("created") - start < 60
    for about in told.values():
        about.pop("key")
    assert told["known"] == told["new"]
    assert numbers(bob) == set()
    admin = server.service.tokens.create("root", admin=True)
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {admin}"}, timeout=60) as root:
        assert len(numbers(root)) == 2
        assert root.get(f"{API}/images").json() == []
    assert numbers(bob) == set()  # nor what the administrator saw


def test_a_key_is_of_one_interaction(ann, tmp_path):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    key = {"Idempotency-Key": "a"}
    do(ann, id, "box", {**BOX, "refine": "none"}, **key)
    for kind, body in (("box", {**BOX, "refine": "crf"}), ("scribble", SCRIBBLE), ("undo", None)):
        answer = ann.post(f"{API}/sessions/{id}/{kind}", json=body, headers=key)
        refused(answer, 422, "another interaction before, number 1, box")
    assert do(ann, id, "box", {**BOX, "refine": "none"}, **key)["repeated"]
    with ann.stream("POST", f"{API}/sessions/{id}/refine", headers={**key, "Accept": "text/event-stream"}) as answer:
        assert '"status": 422' in "".join(answer.iter_text())
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 1


# ---- nobody holds up the others


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/enter", b'{"token": [' + b"[]," * 400 + b"[]]}", "KiB"),
        ("/enter", b'{"token": [' + b"[]," * 5_000_000 + b"[]]}", "KiB"),
        ("/monailabel/auth/token", b"username=" + b"a" * 20_000, "KiB"),
        (f"{API}/sessions", b'{"image": "' + b"a" * 20_000 + b'"}', "16 KiB"),
        ("/add_bbox_interaction", b'{"bbox_coords": [' + b"[]," * 10_000 + b"[]]}", "16 KiB"),
        (f"{API}/sessions/ID/box", b'{"box": [' + b"[]," * 5_000_000 + b"[]]}", "more than 32000 parts"),
        (f"{API}/sessions/ID/scribble", b'{"scribbles": ' + b'{"a":' * 300_000, "parts"),
        (f"{API}/sessions/ID/scribble", b'{"scribbles": [' + b"1," * 5_000_000 + b"1]}", "parts"),
        (f"{API}/sessions/ID/rename", b'{"name": "' + b"a" * 20_000 + b'"}', "16 KiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_json_that_nobody_needs_is_refused_before_it_is_parsed(server, ann, monkeypatch, path, body, words):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"]) if "ID" in path else ""
    parsed = []

    async def parse(request):
        parsed.append(len(await request.body()))

    monkeypatch.setattr("starlette.requests.Request.json", parse)
    headers = {"Content-Type": "application/x-www-form-urlencoded" if "auth" in path else "application/json"}
    known = path.startswith(API) or "bbox" in path
    with httpx.Client(base_url=server.url, headers={**headers, **(ann.headers if known else {})}, timeout=60) as client:
        refused(client.post(path.replace("ID", id), content=body), 413, words)
    assert parsed == []


def test_as_many_points_as_may_be_drawn_are_taken(ann):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    strokes = [{"points": [[50 + k % 9, 50.125, 30] for k in range(100)]} for _ in range(200)]
    answer = ann.post(f"{API}/sessions/{id}/scribble", json={"scribbles": {"strokes": strokes}})
    refused(answer, 400, "box")  # of which there is none: that is all that is wrong


def test_quick_replies_and_other_users_do_not_wait_for_one_who_wants_much(server, ann, bob, monkeypatch):
    """16 exports and downloads of one user's had others wait for their masks for 20 s."""
    own = {}
    for who, client in (("ann", ann), ("bob", bob)):
        own[who] = begin(client, client.post(f"{API}/images/demo").json()["key"])
        do(client, own[who], "box", {**BOX, "refine": "none"})
    gate = threading.Event()
    plain = sessions.export_archive

    def slow(store, id, *others):
        if id == own["ann"]:
            gate.wait(60)
        return plain(store, id, *others)

    monkeypatch.setattr(sessions, "export_archive", slow)
    with ThreadPoolExecutor(20) as threads:
        waiting = [threads.submit(ann.get, f"{API}/sessions/{own['ann']}/export") for _ in range(17)]
        until = time.monotonic() + 30
        while len(server.service.sending._waiting.get("ann", ())) < 13:  # four others of theirs have their turn
            assert time.monotonic() < until
            time.sleep(0.01)
        refused(ann.get(f"{API}/sessions/{own['ann']}/mask", params={"format": "nii.gz"}), 429, "are waiting already")
        start = time.monotonic()
        for client, id in ((ann, own["ann"]), (bob, own["bob"])):
            assert client.get(f"{API}/sessions/{id}/mask").status_code == 200
            assert client.get(f"{API}/sessions/{id}/measures").status_code == 200
        assert bob.get(f"{API}/sessions/{own['bob']}/export").status_code == 200
        assert bob.get(f"{API}/sessions/{own['bob']}/mask", params={"format": "nii.gz"}).status_code == 200
        assert bob.post(f"{API}/images/demo").status_code == 201
        assert time.monotonic() - start < 20
        gate.set()
        assert {task.result().status_code for task in waiting} == {200}


def test_one_user_cannot_have_all_leases(ann, bob):
    answers = [client.post("/claim") for client in (ann, ann, ann, ann, ann, bob)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [503, 200]
    assert "of your clients are connected" in answers[4].json()["detail"]
    assert answers[4].headers["retry-after"]
    *leases, bobs = [answer.json()["lease_token"] for answer in answers if answer.status_code == 200]
    assert bob.post("/release", headers={"X-Lease-Token": bobs}).json()["released"]
    assert ann.post("/release", headers={"X-Lease-Token": leases.pop()}).json()["released"]
    leases.append(ann.post("/claim").json()["lease_token"])
    for lease in leases:
        assert ann.post("/release", headers={"X-Lease-Token": lease}).json()["released"]


# ---- hardening


def test_pages_of_others_that_say_no_origin_are_refused(ann):
    for site in ("cross-site", "same-site"):
        headers = {"Sec-Fetch-Site": site}
        for method, path in (("GET", f"{API}/sessions"), ("POST", f"{API}/images/demo"), ("POST", "/enter")):
            refused(ann.request(method, path, headers=headers), 403, "Pages of other servers")
        assert ann.get("/", headers=headers).status_code in (200, 503)  # a link
    for site in ("same-origin", "none"):
        assert ann.get(f"{API}/sessions", headers={"Sec-Fetch-Site": site}).status_code == 200


@pytest.mark.parametrize("sign", ["\x85", "\u202e", "\u2066", "\u200f", "\u2028", "\x1b"])
def test_names_have_no_signs_that_are_not_shown_or_turn_others_around(ann, sign):
    key = ann.post(f"{API}/images/demo").json()["key"]
    assert ann.post(f"{API}/sessions", json={"image": key, "title": f"a{sign}b"}).status_code == 422
    id = begin(ann, key, title="\u05d0\u05d1 \u00e4")  # in any script
    assert ann.post(f"{API}/sessions/{id}/box", json={**BOX, "name": f"a{sign}b"}).status_code == 422


def test_a_revoked_token_ends_its_streams(server, ann, monkeypatch):
    monkeypatch.setattr(interactions, "WATCH", 0.2)
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"], parameters=LONG)
    token = server.service.tokens.create("ann")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    place, said = f"{server.url}{API}/sessions/{id}/box", ""
    with httpx.stream("POST", place, json=BOX, headers=headers, timeout=60) as answer:
        for text in answer.iter_text():
            if "event: round" in text and "event: round" not in said:
                server.service.tokens.revoke(token.split("_")[1])
            said += text
    assert '"status": 401' in said
    assert "event: done" not in said
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 0  # what it had under way was cancelled


def test_a_sentence_has_numbers_as_people_write_them(ann):
    id = begin(ann, ann.post(f"{API}/images/demo").json()["key"])
    do(ann, id, "box", {**BOX, "refine": "none"})
    stroke = {"points": [[1e300, 2.5, 3]], "label": 1}
    answer = ann.post(f"{API}/sessions/{id}/scribble", json={"scribbles": {"strokes": [stroke]}})
    assert "np." not in answer.json()["detail"]
    assert answer.status_code == 400


def test_a_refusal_waits_for_the_rest_of_the_body_within_bounds(monkeypatch):
    monkeypatch.setattr(lingering, "PATIENCE", 0.2)

    def played(messages, status, length="15000000"):
        """What was taken of the messages before an answer of this status went out."""
        queue, order = list(messages), []

        async def receive():
            if not queue:
                await asyncio.sleep(60)
            order.append("part")
            return queue.pop(0)

        async def send(message):
            order.append(message["type"])

        async def play():
            _, told = lingering.lingering(receive, send, length)
            await told({"type": "http.response.start", "status": status})

        asyncio.run(play())
        return order

    part = {"type": "http.request", "body": b"x" * (1 << 20), "more_body": True}
    last = {"type": "http.request", "body": b"", "more_body": False}
    assert played([part, part, last], 413) == ["part"] * 3 + ["http.response.start"]
    assert played([part, part, last], 200) == ["http.response.start"]
    assert played([part], 413) == ["part", "http.response.start"]  # a client that falls silent
    assert played([part] * 100, 413).count("part") == 32
    assert played([part] * 100, 413, length="") == ["http.response.start"]  # nobody knows how long it would take
    assert played([part] * 100, 413, length="99000000") == ["http.response.start"]
    assert played([{"type": "http.disconnect"}], 413) == ["part", "http.response.start"]
