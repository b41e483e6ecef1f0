"""What a request may have the server keep in memory."""

import asyncio
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from api_calls import API, fetch, refused

from bifseg.imaging.image import Image
from bifseg.io.dicom_display import Display
from bifseg.io.thumbnail import LOOKED, thumbnail
from bifseg.server import app as app_module
from bifseg.server import run as runs
from bifseg.server.api import file_replies
from bifseg.server.settings import Settings

LABEL = "/monailabel"


@pytest.mark.parametrize(
    ("method", "path", "form", "words"),
    [
        ("put", "session/", {"files": [("files", ("a.nii", b"x"))] * 2}, "Too many files"),
        ("post", "infer/bifseg", {"files": [("label", ("a.nii", b"x"))] * 2}, "Too many files"),
        ("put", "datastore/?image=a", {"files": [(f"file{k}", ("a.nii", b"x")) for k in range(2)]}, "Too many files"),
        ("post", "infer/bifseg", {"data": {f"a{k}": "b" for k in range(9)}}, "Too many fields"),
        ("post", "infer/bifseg", {"files": [(f"a{k}", (None, b"b")) for k in range(9)]}, "Too many fields"),
        ("post", "infer/bifseg", {"files": [("params", (None, b"b" * 200_000))]}, "exceeded"),
        ("post", "infer/bifseg", {"data": {"params": "b" * 200_000}}, "exceeded"),
    ],
)
def test_forms_have_few_parts(ann, method, path, form, words):
    """A thousand files of a megabyte lay in memory, twice for each user."""
    refused(ann.request(method, f"{LABEL}/{path}", **form), 400, words)


def test_a_thumbnail_looks_at_no_more_of_a_slice_than_it_shows():
    """Of half a billion pixels in one plane it made numbers of four bytes, and their quantiles."""
    rows = np.arange(10 * LOOKED, dtype=np.uint8)[:, None, None]
    scan = Image(np.broadcast_to(rows, (10 * LOOKED, 8 * LOOKED, 1)), (0.8, 1, 1), planar=True)
    tracemalloc.start()
    try:
        assert thumbnail(scan, Display()).startswith(b"\x89PNG")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_a_report_of_a_large_image_is_no_quick_reply(server, ann, id, monkeypatch):
    asked, lane = [], server.service.lane
    monkeypatch.setattr(server.service, "lane", lambda voxels: asked.append(voxels) or lane(voxels))
    assert ann.get(f"{API}/sessions/{id}/report").status_code == 200
    shape = ann.get(f"{API}/images").json()[0]["shape"]
    assert asked == [np.prod(shape)]


def test_what_is_large_lies_on_the_disk_until_it_is_read(server, ann, id, monkeypatch):
    """Thirty answers of gigabytes, of which somebody read nothing, lay in memory."""
    image = ann.get(f"{API}/images").json()[0]["key"]
    paths = [f"images/{image}/voxels", *(f"sessions/{id}/{what}" for what in ("labels", "mask", "probability"))]
    before = [fetch(ann, path) for path in paths]
    begun, begin = [], server.service.sending.begin
    monkeypatch.setattr(file_replies, "KEPT", 1000)
    monkeypatch.setattr(server.service.sending, "begin", lambda user: begun.append(user) or begin(user))
    for path, (array, box) in zip(paths, before, strict=True):
        same, place = fetch(ann, path)
        assert same.dtype == array.dtype
        assert place == box
        assert np.array_equal(same, array)
    assert begun == ["ann"] * len(paths)
    refused(ann.get(f"{API}/sessions/{id}/mask", params={"object": "none"}), 404, "no object named")
    assert not server.service.sending._running


def test_its_threads_share_a_few_heaps_before_there_are_any(tmp_path, monkeypatch):
    """What six threads had freed in heaps of their own came to as much as was in use."""
    done = []
    app = SimpleNamespace(state=SimpleNamespace(service=SimpleNamespace(watchers=SimpleNamespace(close=None))))
    monkeypatch.setattr(runs, "share_heaps", lambda: done.append("heaps"))

    def serve(self, sockets):
        done.append("served")
        sockets[0].close()

    monkeypatch.setattr(runs.Server, "run", serve)
    runs.run(app, Settings(tmp_path / "store", port=0))
    assert done == ["heaps", "served"]


def test_it_gives_back_what_is_free_every_minute(tmp_path, monkeypatch):
    given = threading.Event()
    monkeypatch.setattr(app_module, "EVERY_MINUTE", 0.01)
    monkeypatch.setattr(app_module, "give_back", given.set)
    app = app_module.build_app(Settings(tmp_path / "store", early=True))

    async def serve():
        async with app.router.lifespan_context(app):
            return await asyncio.to_thread(given.wait, 20)

    assert asyncio.run(serve())
