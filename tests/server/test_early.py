"""A server that listens before all is there: sessions that are coming, workers that start later, headers read once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from dicom_files import save_dicom
from readers import FORKING
from starlette.routing import Route

from bifseg.errors import NotFound, StorageFull
from bifseg.imaging.image import Image
from bifseg.io import dicom_file, dicom_seg, dicom_series, images
from bifseg.server import series
from bifseg.server.app import build_app
from bifseg.server.service import Coming, Service
from bifseg.server.settings import Limits, Settings
from bifseg.server.uploads import reading
from bifseg.server.uploads.work import read_series
from bifseg.server.workers.child import StartError
from bifseg.server.workers.pool import Pool
from bifseg.storage import Store


def test_who_asks_for_a_session_that_is_coming_waits_for_it(tmp_path):
    service = Service(Settings(tmp_path))
    coming = service.coming["a"] = Coming(Future(), Future())

    def store():
        key = service.store.add_image(Image(np.arange(24.0).reshape(2, 3, 4)), "ann")
        coming.kept.set_result(service.store.create(key, "ann", id="a"))

    timer = threading.Timer(0.5, store)
    timer.start()
    assert not coming.needed.is_set()
    assert service.session("a", "ann").id == "a"
    assert coming.needed.is_set()  # whoever keeps it, hurries
    asyncio.run(service.come())
    with pytest.raises(NotFound):
        service.session("a", "bob")
    service.coming["b"] = lost = Coming(Future(), Future())
    lost.kept.set_exception(StorageFull("The disk is full."))
    with pytest.raises(StorageFull):
        service.session("b", "ann")
    asyncio.run(service.come())
    timer.join()
    service.store.close()


def test_an_image_that_is_on_its_way_is_seen_by_whose_it_is_alone(tmp_path):
    """Under the key that it is going to have, and by nobody once it could not be kept."""
    store, image = Store(tmp_path), Image(np.arange(24.0).reshape(2, 3, 4), source={"nifti": {"code": 1}})
    row = store.show_image(image, "local", b"headers")
    assert store.image_to_see(row.key, "local") == (row, image)
    for look in (lambda: store.image_to_see(row.key, "ann"), lambda: store.create(row.key, "local")):
        with pytest.raises(NotFound):
            look()
    assert store.images("local") == []
    assert store.add_image(image, "local", b"headers") == row.key
    kept, same = store.image_to_see(row.key, "local")
    assert {**kept.as_dict(), "created": 0} == {**row.as_dict(), "created": 0}
    assert (kept.blob, kept.dicom) == (row.blob, row.dicom)
    np.testing.assert_array_equal(same.array, image.array)
    assert same.array is not image.array  # the one that lies on the disk
    coloured = Image(np.random.default_rng(0).integers(0, 255, (5, 4, 3, 3)).astype(np.uint8))
    assert store.show_image(coloured, "local").key == store.add_image(coloured, "local")
    half = Image(np.arange(24, dtype=np.float16).reshape(2, 3, 4))
    assert store.show_image(half, "local").key == store.add_image(half, "local")
    with pytest.raises(ValueError, match="constant"):
        store.show_image(Image(np.zeros((2, 3, 4))), "local")
    store.close()


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_wait_for_workers_that_start_later(monkeypatch, fails):
    async def test():
        pool, event, order = Pool("pool_factory:handler", {}, workers=1, threads=1), asyncio.Event(), []
        (worker,) = pool._workers

        async def start():
            order.append("start")
            if fails and order.count("start") == 1:
                raise StartError("not now")

        async def do(job):
            order.append("job")
            return {"said": job.work["say"]}

        monkeypatch.setattr(worker, "start", start)
        monkeypatch.setattr(worker, "do", do)
        monkeypatch.setattr(type(worker), "alive", property(lambda _: order.count("start") > fails))
        starting = asyncio.create_task(pool.start_after(event.wait()))
        job = asyncio.create_task(pool.run("ann", "s", {"say": 1}))
        await asyncio.sleep(0.05)
        assert order == []
        event.set()
        assert (await job)["said"] == 1
        await starting
        assert order == ["start"] * (1 + fails) + ["job"]
        await pool.close()

    asyncio.run(test())


def test_headers_of_a_series_are_read_once(tmp_path, monkeypatch):
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    read = []

    def counted(path, name):
        read.append(path)
        return dicom_file.read_file(path, name)

    monkeypatch.setattr(dicom_series, "read_file", counted)
    image, headers = images.read_upload_with_headers(tmp_path / "d", voxels=1000, bytes=10_000)
    assert len(read) == len(set(read)) == 4
    assert headers == dicom_seg.headers_of(tmp_path / "d")
    np.testing.assert_array_equal(image.array, images.read_image(tmp_path / "d").array)


def test_what_headers_say_is_known_from_the_reading(tmp_path, monkeypatch):
    """To look at them once more, in another process, took as long as to draw the slices."""
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    service = Service(Settings(tmp_path / "data"))
    scan = reading.read_image(tmp_path / "d", service.store.folder, Limits(), template=FORKING)
    row = service.store.show_image(scan.image, "local", scan.headers)
    looked = read_series(write(tmp_path / "headers", scan.headers), service.store.folder, Limits(), FORKING)
    assert scan.facts == looked
    assert scan.facts.display.modality
    monkeypatch.setattr(series, "read_series", lambda *_: pytest.fail("they were looked at again"))
    service.series.learn(row, scan.facts)
    assert service.series.of(row) == scan.facts
    service.store.close()


def write(path, content):
    path.write_bytes(content)
    return path


def test_what_there_is_to_say_of_a_readable_series_is_heard(tmp_path):
    save_dicom(tmp_path / "d", [(1, 2, 4 * k) for k in range(4)])
    path = next((tmp_path / "d").iterdir())
    (tmp_path / "d" / "copy").write_bytes(path.read_bytes())
    heard: list[str] = []
    reading.read_image(tmp_path / "d", tmp_path, Limits(), template=FORKING, hear=heard.append)
    assert len(heard) == 1
    assert "left out" in heard[0]


@pytest.mark.parametrize("stored", ["u1", "i2", "u2", "i4", "u4"])
@pytest.mark.parametrize("held", ["i2", "u2", "i4", "i8"])
@pytest.mark.parametrize("intercept", [-1024, 7, 40_000, -(1 << 20)])
def test_a_scaled_plane_is_the_sum_wherever_that_has_room(stored, held, intercept):
    values = np.random.default_rng(0).integers(np.iinfo(stored).min, np.iinfo(stored).max, (50, 60), stored)
    expected, room = values.astype(object) + intercept, np.iinfo(held)
    fits = (expected >= room.min) & (expected <= room.max)
    place = np.empty(values.shape, held)
    frame = dicom_series.Frame(None, 0, None, None, None, None, 1.0, float(intercept), True)
    dicom_series._fill(place, values, frame, Path())
    assert (place.astype(object) == expected)[fits].all()


def test_routes_stand_as_they_were_written(tmp_path):
    """FastAPI makes each route of a router that is included once more, beside the first request, in half a second."""
    app = build_app(Settings(tmp_path))
    assert all(isinstance(route, Route) for route in app.router.routes)
    app.state.service.store.close()
