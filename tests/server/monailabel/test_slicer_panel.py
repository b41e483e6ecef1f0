"""MONAI Label's protocol, spoken by its own client: the class of its 3D Slicer module, as it comes in the wheel."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from serving import serving
from slicer_panel import IN, OUT, infer

from bifseg.imaging.image import Image
from bifseg.io.images import read_image, write_image
from bifseg.prompts.interaction import Box
from bifseg.server.settings import Limits, Settings

LIMITS = Limits(upload_bytes=8 << 20, array_bytes=32 << 20, voxels=2 << 20, requests_per_second=10_000)
BOX = Box((30, 30, 20), (90, 90, 40))
MORE = (slice(80, 88), 84, 25)


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
    assert box == Box((35, 50, 30), (65, 61, 31))  # a straight line has no area: its box gets one
    infer(client, session, paint([thin], [(45, slice(52, 54), 30)]), roi=())
    assert store.state(session).objects["liver"].box == box
    infer(client, session, paint([thin], [(45, slice(52, 75), 30)]), roi=())
    assert store.state(session).objects["liver"].box == Box(
        (35, 52, 30), (65, 75, 31)
    )  # no farther than what is not it
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
        assert http.put("/monailabel/session/", files=several).status_code == 400
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
