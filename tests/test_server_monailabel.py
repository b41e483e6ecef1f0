"""MONAI Label's protocol, spoken by its own client: the class of its 3D Slicer module, as it comes in the wheel."""

import importlib.util
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from bifseg.image import Image
from bifseg.interaction import Box
from bifseg.io import read_image, write_image
from bifseg.segment import State
from bifseg.server.monailabel import interactions, region
from bifseg.server.settings import Settings
from bifseg.synthetic.phantom import phantom
from serving import serving

PLUGIN = Path(sys.prefix) / "monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py"
BOX = Box((30, 30, 20), (90, 90, 40))


@pytest.fixture(scope="module")
def client_class():
    if sys.version_info >= (3, 13):
        pytest.skip("MONAI Label's client needs the module cgi, which Python 3.13 no longer has")
    if not PLUGIN.is_file():
        pytest.skip(f"MONAI Label is not installed in {sys.prefix}: pip install --no-deps monailabel==0.8.5")
    spec = importlib.util.spec_from_file_location("monailabel_client", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scan():
    image, _ = phantom(11)
    direction = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1.0]])
    return Image(image.array, (0.9, 0.9, 2.5), (-40, 12, 7), direction)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(Settings(tmp_path_factory.mktemp("store"), threads=1, labels=("liver", "cyst"))) as server:
        yield server


@pytest.fixture
def client(client_class, served, tmp_path):
    # its sockets are left to the garbage collector
    warnings.simplefilter("ignore", ResourceWarning)
    return client_class.MONAILabelClient(f"{served.url}/monailabel", tmpdir=str(tmp_path), client_id="reader")


def painted(scan, path, foreground, background, other=()):
    """What Slicer sends: all segments in one label map, 1 background scribbles, 2 foreground scribbles, 3 a result."""
    labels = np.zeros(scan.shape, np.uint8)
    for value, places in ((1, background), (2, foreground), (3, other)):
        for place in places:
            labels[place] = value
    write_image(path, labels, scan)
    names = ("background_scribbles", "foreground_scribbles", "liver")
    return str(path), [{"name": name, "id": k} for k, name in enumerate(names, start=1)]


def infer(client, session, label, info, *, name="liver", roi=(90, 30, 30, 90, 40, 20), **more):
    params = {"roi": list(roi), "label_info": info, "selected_label_name": name, "result_extension": ".nrrd", **more}
    return client.infer("bifseg", "scan", params, label, session_id=session)


IN = (slice(50, 60), 55, 30)
OUT = (slice(32, 40), 34, 30)


def test_a_session_of_the_scribbles_panel(client, client_class, served, scan, tmp_path):
    info = client.info()
    assert info["models"]["bifseg"]["type"] == "scribbles"
    assert info["labels"] == ["liver", "cyst"]
    assert "config" not in info
    assert client.train_status(check_if_running=True) is False
    write_image(tmp_path / "scan.nii.gz", scan.array, scan)
    session = client.create_session(str(tmp_path / "scan.nii.gz"))["session_id"]
    assert client.get_session(session)["id"] == session

    label, info = painted(scan, tmp_path / "a.nii.gz", [IN], [OUT])
    file, params = infer(client, session, label, info)
    first = read_image(file)
    assert params["label_names"] == {"liver": 1}
    np.testing.assert_allclose(first.affine, scan.affine, atol=1e-4)
    assert first.array[IN].all()
    assert not first.array[OUT].any()
    state = served.service.store.state(session)
    assert state.objects["liver"].box == BOX  # the region came unsorted
    np.testing.assert_array_equal(first.array, state.labels(scan.shape))

    same, _ = infer(client, session, label, info)
    np.testing.assert_array_equal(read_image(same).array, first.array)
    assert len(served.service.store.entries(session)) == 1  # nothing new was said

    more = (slice(80, 88), 84, 25)
    label, info = painted(scan, tmp_path / "b.nii.gz", [IN], [OUT, more], other=[(70, 70, 30)])
    second = read_image(infer(client, session, label, info)[0]).array
    assert not second[more].any()
    assert second[IN].all()
    assert [e.kind for e in served.service.store.entries(session)] == ["box", "scribble"]

    label, info = painted(scan, tmp_path / "c.nii.gz", [IN], [more])  # one was erased
    third = read_image(infer(client, session, label, info, result_extension=".nii.gz")[0]).array
    assert [e.kind for e in served.service.store.entries(session)] == ["box", "scribble", "remove", "box"]
    scribbles = served.service.store.state(session).objects["liver"].scribbles
    assert (scribbles == 2).sum() == 8
    assert third[IN].all()

    flat, _ = infer(client, session, label, info, name="cyst", roi=(100, 120, 100, 120, 30, 30))
    assert served.service.store.state(session).objects["cyst"].box.plane == 2
    assert read_image(flat).array[..., 29].sum() == 0

    assert client.remove_session(session)["session_id"] == session
    with pytest.raises(client_class.MONAILabelClientException) as gone:
        client.get_session(session)
    assert gone.value.status_code == 404


def test_an_image_of_the_datastore_and_what_is_submitted(client, served, scan, tmp_path):
    write_image(tmp_path / "scan.nrrd", scan.array, scan)
    client.upload_image(str(tmp_path / "scan.nrrd"), "case 7")
    label, info = painted(scan, tmp_path / "a.nii.gz", [IN], [OUT])
    file, _ = client.infer("bifseg", "case 7", {"label_info": info, "selected_label_name": "liver"}, label)
    mask = read_image(file).array
    assert mask[IN].all()
    write_image(tmp_path / "final.nii.gz", mask, scan)
    assert client.save_label("case 7", str(tmp_path / "final.nii.gz"), params={})["tag"] == "final"
    assert client.info()["datastore"] == {"total": 1, "completed": 1}
    with served.client() as http:
        (tmp_path / "back.nii.gz").write_bytes(
            http.get("/monailabel/datastore/label", params={"label": "case 7", "tag": "final"}).content
        )
    back = read_image(tmp_path / "back.nii.gz")
    np.testing.assert_array_equal(back.array, mask)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)


def test_what_cannot_be_is_refused(client_class, client, served, scan, tmp_path):
    write_image(tmp_path / "scan.nii.gz", scan.array, scan)
    session = client.create_session(str(tmp_path / "scan.nii.gz"))["session_id"]
    label, info = painted(scan, tmp_path / "a.nii.gz", [IN], [OUT])
    other = Image(np.zeros((4, 5, 6), np.uint8))
    write_image(tmp_path / "small.nii.gz", other.array, other)
    refused = client_class.MONAILabelClientException
    for call, words in [
        (lambda: infer(client, session, None, [], roi=()), "place a region of interest"),
        (lambda: infer(client, session, label, info, roi=(1, 2, 3)), "six numbers"),
        (lambda: infer(client, session, label, info, roi=(5, 5, 5, 5, 1, 9)), "at least two"),
        (lambda: infer(client, session, str(tmp_path / "small.nii.gz"), info), "has the shape"),
        (lambda: infer(client, "nothing", label, info), "no session"),
        (lambda: infer(client, session, label, info, result_extension=".exe"), "possible are"),
        (lambda: client.infer("other", "scan", {}, label, session_id=session), "no model"),
        (lambda: client.infer("bifseg", "unknown", {}, label), "upload it first"),
    ]:
        with pytest.raises(refused) as error:
            call()
        assert words in error.value.msg
        assert "Status: 4" in error.value.msg
    with served.client() as http:
        reply = http.post(f"/monailabel/infer/bifseg?session_id={session}", data={"params": "[["})
        assert (reply.status_code, reply.json()["detail"]) == (400, "The params are no JSON object.")
        truncated = {"files": ("a.nii.gz", (tmp_path / "scan.nii.gz").read_bytes()[:5000])}
        assert http.put("/monailabel/session/", files=truncated).status_code == 400
    assert served.service.store.entries(session) == []


def test_names_and_passwords(client_class, tmp_path, scan, tmp_path_factory):
    """As the panel logs in; its client keeps headers of one call for the next, so each call has a new one, as there."""
    warnings.simplefilter("ignore", ResourceWarning)
    write_image(tmp_path / "scan.nii.gz", scan.array, scan)
    refused = client_class.MONAILabelClientException
    with serving(Settings(tmp_path_factory.mktemp("store"), threads=1)) as server:
        assert not client_class.MONAILabelClient(f"{server.url}/monailabel").auth_enabled()
        tokens = {name: server.service.tokens.create(name) for name in ("ann", "bob")}

        def client(user):
            client = client_class.MONAILabelClient(f"{server.url}/monailabel", tmpdir=str(tmp_path))
            assert client.auth_enabled()
            assert not client.auth_valid_token()
            client.update_auth(client.auth_token(user, tokens[user]))
            assert client.auth_valid_token()
            return client

        stranger = client_class.MONAILabelClient(f"{server.url}/monailabel")
        for call in (stranger.info, lambda: stranger.auth_token("ann", tokens["bob"])):
            with pytest.raises(refused) as error:
                call()
            assert error.value.status_code == 401
        session = client("ann").create_session(str(tmp_path / "scan.nii.gz"))["session_id"]
        label, info = painted(scan, tmp_path / "a.nii.gz", [IN], [OUT])
        assert read_image(infer(client("ann"), session, label, info)[0]).array[IN].all()
        with pytest.raises(refused) as error:
            client("bob").get_session(session)
        assert error.value.status_code == 404


@pytest.mark.parametrize(
    ("roi", "expected"),
    [
        ([40, 10, 5, 50, 0, 8], "10:40,5:50,0:8"),
        ([10.4, 39.2, 5, 50, 3, 3], "10:40,5:50,3"),
        ([-5, 500, -5, 500, -5, 500], "0:60,0:60,0:20"),
        ([], "None"),
    ],
)
def test_a_region_of_interest_is_sorted_and_clipped(roi, expected):
    assert str(region(roi, (60, 60, 20))) == expected


@pytest.mark.parametrize("roi", [[1, 2], "x", [1, 2, 3, 4, 5, float("nan")], {"a": 1}, [[1], 2, 3, 4, 5, 6]])
def test_a_region_that_is_none_is_refused(roi):
    with pytest.raises(ValueError, match="roi"):
        region(json.loads(json.dumps(roi)), (60, 60, 20))


def test_without_region_the_box_is_the_scribbles_extent_and_a_tenth(served):
    marks = np.zeros((60, 60, 20), np.uint8)
    marks[20:40, 20, 10], marks[20, 20:40, 10] = 1, 2
    (begin,) = interactions(State(), "liver", None, marks, served.service.store)
    assert begin["box"] == "18:42,18:42,10"
