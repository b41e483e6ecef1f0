"""Nobody sees, changes or learns what is another's, whatever both have in common."""

import io as bytes_io
import zipfile
from importlib.util import find_spec

import httpx
import numpy as np
import pydicom
import pytest

from bifseg import io
from bifseg.image import Image
from bifseg.server.bodies import Mask
from bifseg.server.settings import Limits, Settings
from serving import serving
from test_io import save_dicom
from test_server_api import API, BOX, SCRIBBLE, begin, do, refused

SIZES = Limits(upload_bytes=4 << 20, array_bytes=16 << 20, voxels=2 << 20, requests_per_second=10_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(Settings(tmp_path_factory.mktemp("isolation") / "store", threads=1, limits=SIZES)) as server:
        yield server


@pytest.fixture
def ann(server):
    with server.client("ann") as client:
        yield client


@pytest.fixture
def bob(server):
    with server.client("bob") as client:
        yield client


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
    scan = io.read_image(tmp_path / "d")
    io.write_image(tmp_path / "d.nrrd", scan.array, scan)  # the same voxels at the same place, without a name

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
        io.write_image(tmp_path / f"{name}.nii.gz", array, Image(array))
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
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {admin}"}) as root:
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
