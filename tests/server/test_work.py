"""What is long, large or dangerous is done in a process of its own, within bounds, over HTTP too."""

import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from api_calls import API, refused
from readers import FORKING

from bifseg.errors import TooLarge
from bifseg.imaging.image import Image
from bifseg.io.dicom_display import Display
from bifseg.io.images import read_image
from bifseg.prompts.interaction import Box
from bifseg.server.nninteractive import nnia
from bifseg.server.settings import Limits
from bifseg.server.uploads import reading, work
from bifseg.server.uploads.jobs import JOBS
from bifseg.server.uploads.scan import geometry_of
from bifseg.storage import manifest, transfer
from bifseg.storage.store import Store

SIDE = 48
LIMITS = Limits(array_bytes=8 << 20, voxels=1 << 20, seconds_per_reading=60)


@pytest.fixture
def kept(tmp_path):
    """An image in a store: the file of its voxels, and the image."""
    store = Store(tmp_path / "store")
    key = store.add_image(Image(np.random.default_rng(0).normal(size=(SIDE,) * 3).astype(np.float32), (1, 1, 1)), "ann")
    yield store.blobs.path(store.image_row(key).blob), store.image(key)
    store.close()


def test_a_surface_without_end_is_refused(tmp_path, kept):
    """Half of all voxels, none beside another: a large image's surface took all memory of the server."""
    pytest.importorskip("skimage")
    voxels, image = kept
    board = (np.indices(image.shape).sum(0) % 2).astype(np.uint8)
    whole = Box((0, 0, 0), image.shape)
    options = {"format": "stl", "voxels": voxels, "headers": None, "names": ["object"]}
    with pytest.raises(TooLarge, match=r"^A file \.stl would come to more than is allowed"):
        work.written(board, whole, image, tmp_path, LIMITS, FORKING, **options)
    with pytest.raises(TooLarge, match=r"^A file \.stl cannot be written: it took more"):
        work.written(board, whole, image, tmp_path, replace(LIMITS, seconds_per_reading=0.01), FORKING, **options)
    board[2:] = 0
    with work.written(board, whole, image, tmp_path, LIMITS, FORKING, **options) as file:
        assert file.read(6) == b"bifseg"
    assert not list((tmp_path / "temporary").iterdir())


def test_nobody_waits_for_the_disk_over_a_file_that_is_only_sent(tmp_path, kept, monkeypatch):
    voxels, image = kept
    limits = {"voxels": 1 << 20, "bytes": 1 << 24}
    job = {
        "voxels": str(voxels), "image": geometry_of(image), "box": "", "format": "nii.gz", "headers": None,
        "names": None, "limits": limits,
    }  # fmt: skip
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("it is gone when it was read"))
    JOBS["file"](voxels, job, tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path / "file.nii.gz").array, image.array)


def test_headers_that_unpack_without_end_say_nothing(server, ann, monkeypatch):
    monkeypatch.setattr(reading, "ROOM", 200 << 20)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("00000.dcm", "w") as file:
        for _ in range(400):
            file.write(bytes(1 << 20))
    noise = np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.uint8)
    key = server.service.store.add_image(Image(noise), "ann", content.getvalue())
    assert ann.get(f"{API}/images/{key}/display").json()["modality"] is None
    assert ann.get(f"{API}/images/{key}/thumbnail").status_code == 200
    assert server.service.series.of(server.service.store.image_row(key)) == (Display(), None)


def test_what_a_session_file_holds_is_not_read_in_the_server(server, ann, id, monkeypatch):
    """Its manifest of 64 MB stopped the event loop for seconds, and its arrays were unpacked there; nor is it written
    there."""

    def read(*_, **__):
        raise AssertionError("this is the server's process")

    monkeypatch.setattr(manifest, "write", read)
    whole = ann.get(f"{API}/sessions/{id}/export").raise_for_status().content
    monkeypatch.setattr(manifest, "read", read)
    monkeypatch.setattr(transfer, "import_", read)
    answer = ann.post(f"{API}/sessions/import", content=whole)
    assert answer.status_code == 201
    assert answer.json()["objects"] == ann.get(f"{API}/sessions/{id}").json()["objects"]
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in old.namelist():
            told = old.read(name)
            if name == transfer.MANIFEST:
                told = json.dumps({**json.loads(told), "session": {**json.loads(told)["session"], "title": "\u202e"}})
            archive.writestr(name, told)
    refused(ann.post(f"{API}/sessions/import", content=content.getvalue()), 400, "The upload", "title")


def test_a_mask_of_a_client_is_not_unpacked_in_the_server(ann, lease, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(1, 30, 30, 20)).astype(np.float32)
    mask = np.zeros(noise.shape[1:], np.uint8)
    mask[8:20, 8:20, 10] = 1
    body = nnia.pack(mask)
    monkeypatch.setattr(nnia, "unpack", lambda *_: pytest.fail("this is the server's process"))
    assert ann.post("/set_image", content=nnia.pack(noise), headers=lease).status_code == 200
    buffer = {"shape": list(mask.shape), "dtype": "int64"}
    assert ann.post("/set_target_buffer", json=buffer, headers=lease).status_code == 200
    answer = ann.post("/add_lasso_interaction", content=body, headers=lease)
    assert answer.status_code == 200
    assert json.loads(answer.headers["X-Meta"])["dtype"] == "int64"
    refused(ann.post("/add_lasso_interaction", content=body[:-9], headers=lease), 400, "cut off")


def test_a_large_reply_of_the_protocol_comes_from_the_disk(ann, lease, monkeypatch):
    from bifseg.server.api import file_replies

    noise = np.random.default_rng(1).normal(size=(1, 30, 30, 20)).astype(np.float32)
    assert ann.post("/set_image", content=nnia.pack(noise), headers=lease).status_code == 200
    buffer = {"shape": [30, 30, 20], "dtype": "uint16"}
    assert ann.post("/set_target_buffer", json=buffer, headers=lease).status_code == 200
    box = {"bbox_coords": [[5, 25], [5, 25], [5, 15]]}
    small = ann.post("/add_bbox_interaction", json=box, headers=lease)
    monkeypatch.setattr(file_replies, "KEPT", 100)
    monkeypatch.setattr(nnia, "PART", 1000)  # several chunks
    assert ann.post("/undo", headers=lease).status_code == 200
    large = ann.post("/add_bbox_interaction", json=box, headers=lease)
    masks = [nnia.unpack(one.content, 1 << 20) for one in (small, large)]
    assert masks[1].dtype == np.uint16
    assert np.array_equal(*masks)
    assert large.headers["X-Meta"] == small.headers["X-Meta"]


def test_deeply_nested_words_of_a_session_file_are_refused(server, ann, id):
    """The history of such a session broke off: what writes JSON goes 255 levels deep."""
    whole = ann.get(f"{API}/sessions/{id}/export").content
    nested: object = 1
    for _ in range(400):
        nested = {"a": nested}
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in old.namelist():
            told = old.read(name)
            if name == transfer.MANIFEST:
                document = json.loads(told)
                document["entries"][0]["request"]["note"] = nested
                told = json.dumps(document)
            archive.writestr(name, told)
    refused(ann.post(f"{API}/sessions/import", content=content.getvalue()), 400, "its entry 1 is nested too deeply")
