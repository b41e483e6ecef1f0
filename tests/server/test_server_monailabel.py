"""MONAI Label's protocol, spoken by its own client: the class of its 3D Slicer module, as it comes in the wheel."""

import gzip
import importlib.util
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from serving import serving

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, write_image
from bifseg.prompts.interaction import Box
from bifseg.server.monailabel.painted import HIDDEN, InferenceRequest, cut, interactions
from bifseg.server.settings import Limits, Settings
from bifseg.session.state import State
from bifseg.training.synthetic.phantom import phantom

PLUGIN = Path(sys.prefix) / "monailabel/plugins/slicer/MONAILabel/MONAILabelLib/client.py"
LIMITS = Limits(upload_bytes=8 << 20, array_bytes=32 << 20, voxels=2 << 20, requests_per_second=10_000)
ROI = (90, 30, 30, 90, 40, 20)  # the panel's ends come in any order
BOX = Box((30, 30, 20), (90, 90, 40))
IN = (slice(50, 60), 55, 30)
OUT = (slice(32, 40), 34, 30)
MORE = (slice(80, 88), 84, 25)


@pytest.fixture(scope="module")
def module():
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
def upload(scan, tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_image(path, scan.array, scan)
    return str(path)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    settings = Settings(tmp_path_factory.mktemp("store"), threads=1, labels=("liver", "cyst"), limits=LIMITS)
    with serving(settings) as server:
        yield server


@pytest.fixture
def client(module, served, tmp_path):
    warnings.simplefilter("ignore", ResourceWarning)  # it leaves files and sockets to the garbage collector
    return module.MONAILabelClient(f"{served.url}/monailabel", tmpdir=str(tmp_path), client_id="reader")


@pytest.fixture
def session(client, upload):
    return client.create_session(upload)["session_id"]


@pytest.fixture
def paint(scan, tmp_path):
    """Makes what Slicer sends: all segments in one label map, where the last one covers the others."""

    def paint(foreground=(), background=(), cyst=(), liver=()):
        names = ("liver", "background_scribbles", "foreground_scribbles", "cyst")
        labels = np.zeros(scan.shape, np.uint8)
        for value, places in enumerate((liver, background, foreground, cyst), start=1):
            for place in places:
                labels[place] = value
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nii.gz"
        write_image(path, labels, scan)
        return str(path), [{"name": name, "id": k} for k, name in enumerate(names, start=1)]

    return paint


def infer(client, session, painted, *, name="liver", roi=ROI, **more):
    """As `onUpdateScribbles` of the module does it: the reply's image and params."""
    label, about = painted
    params = {
        "roi": list(roi), "label_info": about, "selected_label_name": name, "result_extension": ".nrrd",
        "result_dtype": "uint8", **more,
    }  # fmt: skip
    file, params = client.infer("bifseg", "scan", params, label, session_id=session)
    assert params["label_names"] == {name: 1}
    return read_image(file)


def kinds(served, session):
    return [entry.kind for entry in served.service.store.entries(session)]


# ---- the client


def test_what_the_panel_asks_first(client):
    assert not client.auth_enabled()
    info = client.info()
    assert info["models"]["bifseg"]["type"] == "scribbles"
    assert info["labels"] == ["liver", "cyst"]
    assert "config" not in info
    assert {"name", "version", "trainers", "strategies", "scoring", "train_stats", "datastore"} <= info.keys()
    assert client.train_status(check_if_running=True) is False


def test_a_session_of_the_scribbles_panel(module, client, served, scan, session, paint):
    store = served.service.store
    assert client.get_session(session)["id"] == session

    first = infer(client, session, paint([IN], [OUT]))
    np.testing.assert_allclose(first.affine, scan.affine, atol=1e-4)
    assert first.array.dtype == np.uint8
    assert first.array[IN].all()
    assert not first.array[OUT].any()
    assert store.state(session).objects["liver"].box == BOX
    np.testing.assert_array_equal(first.array, store.state(session).labels(scan.shape))

    again = infer(client, session, paint([IN], [OUT]))
    np.testing.assert_array_equal(again.array, first.array)
    assert kinds(served, session) == ["box"]  # nothing new was said

    second = infer(client, session, paint([IN], [OUT, MORE])).array
    assert not second[MORE].any()
    assert second[IN].all()
    assert kinds(served, session) == ["box", "scribble"]
    new = store.entries(session)[-1].request["scribbles"]["labels"]
    assert new["box"] == "80:88,84:86,25:27"  # the new one alone, where it is

    third = infer(client, session, paint([IN], [MORE]), result_extension=".nii.gz").array  # one was erased
    assert kinds(served, session)[2:] == ["remove", "box"]
    scribbles = store.state(session).objects["liver"].scribbles
    assert np.bincount(scribbles.ravel()).tolist()[1:] == [10, 8]
    assert third[IN].all()

    wider = infer(client, session, paint([IN], [MORE]), roi=(30, 95, 30, 95, 18, 40)).array
    assert kinds(served, session)[4:] == ["resize"]
    assert store.state(session).objects["liver"].box == Box((30, 30, 18), (95, 95, 40))
    assert wider[IN].all()
    assert not wider[MORE].any()

    assert client.remove_session(session)["session_id"] == session
    with pytest.raises(module.MONAILabelClientException) as gone:
        client.get_session(session)
    assert gone.value.status_code == 404


def test_several_labels_are_objects_that_lock_each_other(client, served, session, paint):
    liver = infer(client, session, paint([IN]))
    flat = infer(client, session, paint(), name="cyst", roi=(100, 120, 100, 120, 30, 30))
    state = served.service.store.state(session)
    assert state.objects["cyst"].box == Box((100, 100, 30), (120, 120, 31))  # one slice: in its plane
    assert flat.array[..., [29, 31]].sum() == 0
    back = infer(client, session, paint([IN], [MORE]))  # and on with the first one
    assert kinds(served, session) == ["box", "box", "select", "scribble"]
    assert not back.array[MORE].any()
    assert liver.array.any()
    state = served.service.store.state(session)
    assert state.current == "liver"
    assert not (state.labels(liver.shape)[flat.array > 0] == 1).any()


def test_scribbles_that_a_later_segment_covers_are_still_there(client, served, session, paint):
    mask = infer(client, session, paint([IN], [OUT]), name="cyst").array
    covered = paint([IN], [OUT, MORE], cyst=[mask > 0])  # the module now shows the result, as its last segment
    after = infer(client, session, covered, name="cyst").array
    assert kinds(served, session) == ["box", "scribble"]
    assert after[IN].all()
    assert not after[OUT].any()
    assert not after[MORE].any()


def test_without_a_region_the_scribbles_make_the_box(client, served, session, paint):
    store = served.service.store
    thin = (slice(40, 60), 55, 30)
    infer(client, session, paint([thin]), roi=())
    box = store.state(session).objects["liver"].box
    assert box == Box((38, 51, 30), (62, 60, 31))  # a straight line has no area: its box gets one
    infer(client, session, paint([thin], [(45, slice(52, 54), 30)]), roi=())
    assert store.state(session).objects["liver"].box == box
    infer(client, session, paint([thin], [(45, slice(52, 75), 30)]), roi=())
    assert store.state(session).objects["liver"].box == Box((38, 49, 30), (62, 78, 31))
    assert kinds(served, session) == ["box", "scribble", "resize"]


def test_a_request_that_fails_half_way_changes_nothing(module, client, served, session, paint):
    store = served.service.store
    infer(client, session, paint([IN], [OUT]))
    infer(client, session, paint([(105, slice(105, 110), 30)]), name="cyst", roi=(100, 120, 100, 120, 28, 33))
    before = store.history(session).state
    taken = np.argwhere(store.state(session).objects["cyst"].mask)[0] + (100, 100, 28)
    with pytest.raises(module.MONAILabelClientException) as refused:  # OUT is erased, and the new one is the cyst's
        infer(client, session, paint([IN, tuple(taken)]), roi=(30, 121, 30, 121, 20, 40))
    assert "finished object" in refused.value.msg
    assert "Status: 400" in refused.value.msg
    assert store.history(session).state == before
    assert kinds(served, session)[2:] == ["remove", "undo"]


def test_a_request_that_fails_takes_back_nothing_of_others(module, client, served, session, paint, monkeypatch):
    store, act = served.service.store, served.service.act
    infer(client, session, paint([IN], [OUT]))
    infer(client, session, paint([(105, slice(105, 110), 30)]), name="cyst", roi=(100, 120, 100, 120, 28, 33))
    taken = np.argwhere(store.state(session).objects["cyst"].mask)[0] + (100, 100, 28)

    async def beside(user, id, interaction, **more):
        led = await act(user, id, interaction, **more)
        if interaction["kind"] == "remove":
            await act(user, id, {"kind": "rename", "name": "cyst", "to": "nodule"})
        return led

    monkeypatch.setattr(served.service, "act", beside)
    with pytest.raises(module.MONAILabelClientException):
        infer(client, session, paint([IN, tuple(taken)]), roi=(30, 121, 30, 121, 20, 40))
    assert kinds(served, session)[2:] == ["remove", "rename"]
    assert "nodule" in store.state(session).objects


def test_another_server_on_the_same_store_goes_on_with_the_session(module, client, served, session, paint, tmp_path):
    mask = infer(client, session, paint([IN], [OUT])).array
    with serving(Settings(served.service.settings.data, threads=1, limits=LIMITS)) as other:
        there = module.MONAILabelClient(f"{other.url}/monailabel", tmpdir=str(tmp_path))
        np.testing.assert_array_equal(infer(there, session, paint([IN], [OUT])).array, mask)
        after = infer(there, session, paint([IN], [OUT, MORE])).array
    assert kinds(served, session) == ["box", "scribble"]
    np.testing.assert_array_equal(infer(client, session, paint([IN], [OUT, MORE])).array, after)


def test_what_is_submitted_is_in_the_session_and_comes_back(module, client, served, scan, upload, session, paint):
    mask = infer(client, session, paint([IN], [OUT])).array
    client.upload_image(upload, "case 7")  # as the module does before it submits
    assert client.info()["datastore"] == {"total": 1, "completed": 0, "label_tags": {}}
    final = paint(liver=[mask > 0])[0]
    about = {"label_info": [{"name": "liver", "idx": 1}]}
    assert client.save_label("case 7", final, params=about)["label"] == "case 7"
    assert kinds(served, session) == ["box", "submit"]
    client.save_label("case 7", paint(liver=[IN])[0], tag="draft")
    client.save_label("case 7", paint()[0], tag="none")
    tags = {"final": 1, "draft": 1, "none": 1}
    assert client.info()["datastore"] == {"total": 1, "completed": 1, "label_tags": tags}
    assert client.datastore()["objects"]["case 7"]["labels"].keys() == tags.keys()

    back = read_image(client.download_label("case 7", "final"))
    np.testing.assert_array_equal(back.array, mask)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)
    assert read_image(client.download_label("case 7", "draft")).array.sum() == 10
    assert not read_image(client.download_label("case 7", "none")).array.any()
    for label, tag in (("case 7", "other"), ("case 8", "final")):
        with pytest.raises(module.MONAILabelClientException) as unknown:
            client.download_label(label, tag)
        assert unknown.value.status_code == 404

    client.infer("bifseg", "case 7", {"selected_label_name": "liver"})  # by its name, without a session's id
    assert kinds(served, session) == ["box", "submit", "submit", "submit"]
    assert served.service.store.entries(session)[1].request["title"] == "final"


def test_names_and_passwords(module, tmp_path, upload, tmp_path_factory, paint):
    """As the panel logs in; its client keeps headers of one call for the next, so each call has a new one, as there."""
    warnings.simplefilter("ignore", ResourceWarning)
    refused = module.MONAILabelClientException
    with serving(Settings(tmp_path_factory.mktemp("store"), threads=1)) as server:
        tokens = {name: server.service.tokens.create(name) for name in ("ann", "bob")}

        def client(user=None):
            client = module.MONAILabelClient(f"{server.url}/monailabel", tmpdir=str(tmp_path))
            if user:
                client.update_auth(passes[user])
            return client

        assert client().auth_enabled()
        assert not client().auth_valid_token()
        for call in (client().info, lambda: client().auth_token("ann", tokens["bob"])):
            with pytest.raises(refused) as error:
                call()
            assert error.value.status_code == 401
        passes = {user: client().auth_token(user, token) for user, token in tokens.items()}
        assert client("ann").auth_valid_token()
        session = client("ann").create_session(upload)["session_id"]
        assert infer(client("ann"), session, paint([IN], [OUT])).array[IN].all()
        client("ann").upload_image(upload, "case 7")
        for call in (
            lambda: client("bob").get_session(session),
            lambda: client("bob").remove_session(session),
            lambda: client("bob").download_label("case 7", "final"),
        ):
            with pytest.raises(refused) as error:
                call()
            assert error.value.status_code == 404
        for call in (
            lambda: infer(client("bob"), session, paint([IN])),
            lambda: client("bob").save_label("case 7", paint([IN])[0]),
        ):
            with pytest.raises(refused, match="Status: 404"):
                call()
        assert client("bob").info()["datastore"]["total"] == 0


def test_what_cannot_be_is_refused(module, client, served, session, paint, tmp_path):
    painted = label, _ = paint([IN], [OUT])
    other = Image(np.zeros((4, 5, 6), np.uint8))
    write_image(tmp_path / "small.nii.gz", other.array, other)
    moved = Image(read_image(label).array, (0.9, 0.9, 2.5))
    write_image(tmp_path / "moved.nii.gz", moved.array, moved)
    for call, status, words in [
        (lambda: infer(client, session, (None, []), roi=()), 400, "place a region of interest"),
        (lambda: infer(client, session, painted, roi=(1, 2, 3)), 400, "six"),
        (lambda: infer(client, session, painted, roi=(5, 5, 5, 5, 1, 9)), 400, "at least two"),
        (lambda: infer(client, session, painted, roi=(5, 9, 5, 9, -9, -5)), 400, "outside the image"),
        (lambda: infer(client, session, (str(tmp_path / "small.nii.gz"), [])), 400, "The label map has the shape"),
        (lambda: infer(client, session, (str(tmp_path / "moved.nii.gz"), [])), 400, "The label map lies elsewhere"),
        (lambda: infer(client, "nothing", painted), 404, "no session"),
        (lambda: infer(client, "../store.sqlite", painted), 404, "no session"),
        (lambda: infer(client, session, painted, result_extension="/../x.exe"), 400, "result_extension"),
        (lambda: client.infer("other", "scan", {}, label, session_id=session), 404, "no model"),
        (lambda: client.infer("bifseg", "unknown", {}, label), 404, "upload it first"),
    ]:
        with pytest.raises(module.MONAILabelClientException) as error:
            call()
        assert f"Status: {status}" in error.value.msg
        assert words in error.value.msg
        assert str(served.service.settings.data) not in error.value.msg
    assert kinds(served, session) == []


# ---- requests that no client of its sends


@pytest.mark.parametrize(
    "params",
    [
        "[[", "[" * 100_000, "null", "[1]", '"x"', '{"roi": 5}', '{"roi": {"a": 1}}', '{"roi": [[1], 2, 3, 4, 5, 6]}',
        '{"roi": [1, 2, 3, 4, 5, NaN]}', '{"roi": [1, 2, 3, 4, 5, Infinity]}', '{"roi": [1, 2, 3, 4, 5, 1e999]}',
        '{"roi": [1, 2, 3, 4, 5, %s]}' % ("9" * 400), '{"label_info": 5}', '{"label_info": [5]}',
        '{"label_info": [{"name": "foreground_scribbles"}]}', '{"label_info": [{"name": "liver", "id": 0}]}',
        '{"label_info": [{"name": "foreground_scribbles", "id": 1e999}]}', '{"label_info": [{"name": 5, "id": 1}]}',
        '{"selected_label_name": ["a"]}', '{"selected_label_name": "%s"}' % ("a" * 500),
        '{"selected_label_name": "\\ud800"}',
        '{"selected_label_name": "a\\u0000b"}', '{"result_extension": [".nrrd"]}',
    ],
)  # fmt: skip
def test_params_of_another_form_are_refused(params):
    with pytest.raises(ValueError, match=r"^(params|The roi)"):
        InferenceRequest.of(params).region((60, 60, 20), (1, 1, 1))


def test_files_of_another_kind_are_refused(served, scan, upload, tmp_path):
    whole = Path(upload).read_bytes()
    bomb = gzip.compress(gzip.decompress(whole) + bytes(32 << 20))
    colour = np.zeros((*scan.shape[:2], 1), np.uint8)
    write_image(tmp_path / "plane.png", colour, Image(colour, planar=True))
    with served.client() as http:

        def put(name, content, path="session/", field="files"):
            reply = http.put(f"/monailabel/{path}", files={field: (name, content)})
            return reply.status_code, reply.json()["detail"]

        for name, content, words in [
            ("a.nii.gz", whole[:5000], "truncated"),
            ("a.nii.gz", b"", "empty"),
            ("a.nii.gz", bomb, "unpacks to more"),
            ("a.exe", whole, "must end in"),
            ("../../a", whole, "must end in"),
            ("a.zip", whole, "unpacked"),
        ]:
            status, detail = put(name, content)
            assert status == 400, detail
            assert words in detail
            assert str(served.service.settings.data) not in detail
        several = [("files", (f"{k}.nii.gz", whole)) for k in (1, 2)]
        assert http.put("/monailabel/session/", files=several).status_code == 422
        assert http.put("/monailabel/session/", data={"files": "x"}).status_code == 422
        assert http.put("/monailabel/datastore/", files={"file": ("a.nii.gz", whole)}).status_code == 422

        assert http.put("/monailabel/datastore/?image=x", files={"file": ("a.nii.gz", whole)}).status_code == 200
        label = "datastore/label?image=x"
        for name, content, words in [
            ("a.nii.gz", bomb, "unpacks to more"),
            ("a.zip", whole, "possible are"),
            ("a.png", (tmp_path / "plane.png").read_bytes(), "possible are"),
            ("a.nii.gz", whole, "0 to 255 are possible"),  # the scan itself
        ]:
            status, detail = put(name, content, label, "label")
            assert status == 400, detail
            assert words in detail
    assert not list((served.service.store.folder / "temporary").iterdir())


# ---- what a request means


def regions(*roi):
    return str(InferenceRequest(roi=roi).region((60, 60, 20), (1, 1, 1)))


def test_a_region_of_interest_is_sorted_and_clipped():
    assert regions(40, 10, 5, 50, 0, 8) == "10:40,5:50,0:8"
    assert regions(10.4, 39.2, 5, 50, 3, 3) == "10:40,5:50,3"
    assert regions(-5, 500, 500, -5, -5, 500) == "0:60,0:60,0:20"
    assert regions() == "None"
    flat = InferenceRequest(roi=(5, 40, 5, 40, -3, 9)).region((60, 60, 1), (1, 1, 1))
    assert str(flat) == "5:40,5:40,0"


def test_scribbles_are_found_by_their_names_in_any_order():
    labels = np.array([0, 1, 2, 3, 4]).reshape(5, 1, 1)
    info = [{"name": "foreground_scribbles", "id": 2}, {"name": "background_scribbles", "id": 3}]
    info += [{"name": "liver", "id": 1}, {"name": "cyst", "id": 4}]
    asked = InferenceRequest.of(json.dumps({"label_info": info, "client_id": None}))
    assert asked.marks(labels).ravel().tolist() == [0, 0, 1, 2, HIDDEN]
    assert not InferenceRequest(label_info=info[2:]).marks(labels).any()  # nobody painted yet


def test_what_is_hidden_was_never_said():
    marks = np.zeros((60, 60, 20), np.uint8)
    marks[20:40, 20, 10], marks[30, 30, 10] = 1, HIDDEN
    (begin,) = interactions(State(), "liver", Box((10, 10, 5), (50, 50, 15)), marks, (1, 1, 1))
    labels = begin.pop("scribbles")
    assert begin == {"kind": "box", "box": "10:50,10:50,5:15", "name": "liver"}
    assert (str(labels.box), labels.array.sum()) == ("20:40,20:22,10:12", 20)


def test_scribbles_outside_the_region_say_nothing():
    marks = np.zeros((60, 60, 20), np.uint8)
    marks[5:8, 5, 5] = 1
    (begin,) = interactions(State(), "liver", Box((10, 10, 5), (50, 50, 15)), marks, (1, 1, 1))
    assert "scribbles" not in begin


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        ([(3, 4, 5), (5, 6, 5)], "3:6,4:7,5:7"),
        ([(9, 9, 6)], "8:10,8:10,5:7"),
        ([], "0:2,0:2,0:2"),
    ],
)
def test_what_is_cut_out_is_a_box(voxels, expected):
    array = np.zeros((10, 10, 7), np.uint8)
    array[tuple(np.array(voxels, int).reshape(-1, 3).T)] = 2
    labels = cut(array)
    assert Box.parse(expected) == labels.box
    assert labels.array.shape == labels.box.shape
    back = np.zeros_like(array)
    back[labels.box.slices] = labels.array
    np.testing.assert_array_equal(back, array)
