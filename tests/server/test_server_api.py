import contextlib
import io as bytes_io
import json
import socket
import threading
import time
import zipfile
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import httpx
import numpy as np
import pytest
import torch
from api_calls import API, BOX, LONG, PLANE, SCRIBBLE, STROKE, begin, do, fetch, file, left, refused
from dicom_files import rasterised, save_dicom
from serving import serving

from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.prompts.interaction import Box, Stroke
from bifseg.server.api.bodies.drawing import Mask
from bifseg.server.settings import Limits, Settings
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

LIMITS = Limits(
    upload_bytes=4 << 20, array_bytes=16 << 20, voxels=2 << 20, sessions_per_user=40, requests_per_second=10_000
)


@pytest.fixture(scope="module")
def upload(tmp_path_factory):
    path, scan = tmp_path_factory.mktemp("scan") / "scan.nii.gz", phantom(11)[0]
    images.write_image(path, scan.array, scan)
    return path


@pytest.fixture(scope="module")
def scan(upload):
    """The image in the file; NIfTI has rounded its spacing."""
    return images.read_image(upload)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, scan):
    """A folder of images that may be opened; beside it one that may not."""
    root = tmp_path_factory.mktemp("disk")
    folder = root / "images"
    (folder / "ward 3").mkdir(parents=True)
    images.write_image(folder / "ward 3" / "scan.nrrd", scan.array, scan)
    images.write_image(root / "secret.nrrd", scan.array, scan)
    (folder / "link.nrrd").symlink_to(root / "secret.nrrd")
    (folder / "up").symlink_to(root)
    (folder / "circle").symlink_to("circle")
    (folder / "notes.txt").write_text("about a patient")
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory, shelf):
    data = tmp_path_factory.mktemp("server") / "store"
    with serving(Settings(data, require_tokens=True, images=shelf, limits=LIMITS, threads=1)) as server:
        yield server


@pytest.fixture(scope="module")
def image(ann, upload):
    answer = ann.post(f"{API}/images", params={"name": "a patient's name.nii.gz"}, content=upload.read_bytes())
    assert answer.status_code == 201, answer.text
    return answer.json()["key"]


@pytest.fixture
def id(ann, image):
    id = begin(ann, image)
    yield id
    ann.delete(f"{API}/sessions/{id}")


class Events(threading.Thread):
    """An interaction as a stream of events, read in a thread."""

    def __init__(self, client, id, kind, body, **headers):
        super().__init__()
        self.got, self.first = [], threading.Event()
        self.request = client.build_request(
            "POST", f"{API}/sessions/{id}/{kind}", json=body, headers={"Accept": "text/event-stream", **headers}
        )
        self.client, self.until = client, None

    def run(self):
        answer = self.client.send(self.request, stream=True)
        try:
            assert answer.headers["content-type"].startswith("text/event-stream")
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    self.got.append([line[7:]])
                elif line.startswith("data: "):
                    self.got[-1].append(json.loads(line[6:]))
                    if self.got[-1][0] == "round":
                        self.first.set()
                    if self.got[-1][0] == self.until:
                        break
        finally:
            answer.close()

    @property
    def names(self):
        return [name for name, _ in self.got]


# ---- what it does


def test_the_server_says_what_it_offers(ann):
    told = ann.get(f"{API}/server").json()
    assert told["user"] == "ann"
    assert {"default", "pnet"} <= set(told["models"])
    assert told["limits"]["upload_bytes"] == LIMITS.upload_bytes
    assert told["images"]
    assert "raw" in told["download_formats"]


def test_an_image_is_kept_once_and_comes_back(ann, bob, image, scan, tmp_path):
    about = ann.get(f"{API}/images/{image}").json()
    assert about["shape"] == list(scan.shape)
    np.testing.assert_allclose(about["spacing"], scan.spacing)
    opened = ann.post(f"{API}/images/open", json={"path": "ward 3/scan.nrrd"})
    assert opened.status_code == 201
    assert [row["key"] for row in ann.get(f"{API}/images").json()].count(image) == 1
    voxels, box = fetch(ann, f"images/{image}/voxels")
    np.testing.assert_array_equal(voxels, scan.array)
    assert box.shape == scan.shape
    for format in ("nii.gz", "nii", "nrrd", "mha"):
        back = images.read_image(file(ann, f"images/{image}/voxels", tmp_path, format))
        np.testing.assert_array_equal(back.array, scan.array)
        np.testing.assert_allclose(back.affine, scan.affine, atol=1e-3)
    refused(bob.get(f"{API}/images/{image}"), 404, "no image")
    refused(bob.get(f"{API}/images/{image}/voxels"), 404, "no image")
    refused(bob.post(f"{API}/sessions", json={"image": image}), 404, "no image")


def test_a_session_over_http_is_a_session_bit_for_bit(server, ann, id, scan, tmp_path):
    torch.set_num_threads(1)  # as the server's: sums depend on it, in the last digits
    plain = Session(scan)
    told = do(ann, id, "box", BOX)
    plain.box(Box.parse(BOX["box"]))
    assert told["current"] == "object 1"
    (about,) = told["objects"]
    assert len(about.pop("version")) == 16
    assert about == {"name": "object 1", "box": BOX["box"], "voxels": int(plain.mask.sum()), "part_of": None}
    assert told["seconds"] > 0
    assert told["rounds"]
    do(ann, id, "scribble", SCRIBBLE)
    plain.scribble([Stroke(**STROKE)])
    painted = np.zeros((10, 8, 2), np.uint8)
    painted[2:5, 3:5], painted[7:, :2] = 1, 2
    do(ann, id, "scribble", {"scribbles": {"labels": Mask.of(painted, "40:50,40:48,25:27").model_dump()}})
    whole = np.zeros(scan.shape, np.uint8)
    whole[40:50, 40:48, 25:27] = painted
    plain.scribble(whole)
    for what, expected in (
        ("mask", plain.mask),
        ("scribbles", plain.scribbles),
        ("probability", plain.probability()),
        ("uncertainty", plain.uncertainty()),
        ("weights", plain.weight_map()),
    ):
        array, box = fetch(ann, f"sessions/{id}/{what}")
        assert str(box) == BOX["box"]
        np.testing.assert_array_equal(array, expected[box.slices])
        saved = images.read_image(file(ann, f"sessions/{id}/{what}", tmp_path, "nii.gz"))
        np.testing.assert_array_equal(saved.array, expected)
    do(ann, id, "box", PLANE)
    plain.box(Box.parse(PLANE["box"]), "slice")
    told = do(ann, id, "select", {"name": "object 1"})
    assert told["current"] == "object 1"
    plain.select("object 1")
    do(ann, id, "resize", {"box": "28:92,28:90,18:42", **SCRIBBLE})
    plain.resize(Box.parse("28:92,28:90,18:42"), scribbles=[Stroke(**STROKE)])
    do(ann, id, "refine")
    plain.refine()
    do(ann, id, "rename", {"name": "slice", "to": "plane"})
    plain.rename("slice", "plane")
    for format in ("nii.gz", "nii", "nrrd", "mha"):
        back = images.read_labels(file(ann, f"sessions/{id}/labels", tmp_path, format), scan)
        np.testing.assert_array_equal(back, plain.labels)
    labels, box = fetch(ann, f"sessions/{id}/labels")
    np.testing.assert_array_equal(labels, plain.labels[box.slices])
    mask, box = fetch(ann, f"sessions/{id}/mask", object="plane")
    np.testing.assert_array_equal(mask[..., 0], plain.labels[box.slices][..., 0] == 2)
    told = do(ann, id, "remove", {"name": "plane"})
    plain.remove("plane")
    assert [one["name"] for one in told["objects"]] == ["object 1"]
    steps = told["number"]
    assert steps == 9
    for _ in range(5):
        told = do(ann, id, "undo")
        plain.undo()
    labels, box = fetch(ann, f"sessions/{id}/labels")
    np.testing.assert_array_equal(labels, plain.labels[box.slices])
    assert told["can_redo"]
    do(ann, id, "redo")
    told = do(ann, id, "redo")
    assert told["number"] == steps + 7
    state = ann.get(f"{API}/sessions/{id}").json()
    assert state["number"] == told["number"]
    assert state["objects"] == told["objects"]
    kinds = [entry["kind"] for entry in ann.get(f"{API}/sessions/{id}/history").json()]
    assert kinds[:3] == ["box", "scribble", "scribble"]
    assert kinds[-1] == "redo"
    assert len(ann.get(f"{API}/sessions/{id}/history", params={"after": 10}).json()) == len(kinds) - 10
    report = ann.get(f"{API}/sessions/{id}/report").json()
    assert [one["name"] for one in report["objects"]] == [one["name"] for one in told["objects"]]
    assert sum(report["objects"][0]["milliseconds"].values()) > 0
    assert not left(server)


def test_an_object_goes_on_in_other_planes_and_its_scribbles_can_be_erased(server, ann, id, scan, tmp_path):
    torch.set_num_threads(1)
    plain, eraser = Session(scan), {"points": [[72, 55, 30]], "label": 0, "radius": 12}
    wrong = {"points": [[70, 50, 30], [75, 60, 30]], "label": 1, "radius": 1}
    do(ann, id, "box", PLANE)
    do(ann, id, "scribble", {"scribbles": {"strokes": [STROKE, wrong]}})
    do(ann, id, "scribble", {"scribbles": {"strokes": [eraser]}})
    plain.box(Box.parse(PLANE["box"]), "slice")
    plain.scribble([Stroke(**STROKE), Stroke(**wrong)])
    plain.scribble([Stroke(**eraser)])
    marked, box = fetch(ann, f"sessions/{id}/scribbles")
    np.testing.assert_array_equal(marked, plain.scribbles[box.slices])
    refused(ann.post(f"{API}/sessions/{id}/scribble", json={"scribbles": {"strokes": [eraser]}}), 400, "eraser")
    events = Events(ann, id, "propagate", {"to": 32})
    events.run()
    assert [name for name in events.names if name != "queued"] == ["round", "done"]
    told = events.got[-1][1]
    plain.propagate(32)
    assert told["current"] == "slice @32"
    assert [(one["name"], one["part_of"]) for one in told["objects"]] == [("slice", None), ("slice @32", "slice")]
    do(ann, id, "box", {**BOX, "name": "other", "refine": "none"})
    plain.box(Box.parse(BOX["box"]), "other", refine="none")
    labels, box = fetch(ann, f"sessions/{id}/labels")
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(labels, plain.labels[box.slices])
    mask, box = fetch(ann, f"sessions/{id}/mask", object="slice @32")
    assert box.start[2] == 32
    np.testing.assert_array_equal(mask, (plain.labels[box.slices] == 1).astype(np.uint8))
    state = ann.get(f"{API}/sessions/{id}").json()
    assert [one["version"] for one in state["objects"][:2]] == [one["version"] for one in told["objects"]]
    sent = ann.get(f"{API}/sessions/{id}/export").content
    new = ann.post(f"{API}/sessions/import", content=sent).json()
    assert new["objects"] == state["objects"]
    ann.delete(f"{API}/sessions/{new['id']}")
    left_over = do(ann, id, "remove", {"name": "slice"})["objects"]
    assert [one["name"] for one in left_over] == ["other"]


def test_objects_are_measured_with_their_parts(ann, id, scan):
    assert ann.get(f"{API}/sessions/{id}/measures").json() == []
    do(ann, id, "box", PLANE)
    do(ann, id, "propagate", {"to": 31})
    given = np.zeros((20, 20, 4), np.uint8)
    given[5, 3:15, 2] = 1
    sent = Mask.of(given, "10:30,10:30,5:9").model_dump()
    do(ann, id, "box", {"box": "10:30,10:30,5:9", "initial": sent, "refine": "none", "name": "line"})
    measured = ann.get(f"{API}/sessions/{id}/measures").json()
    assert [one["name"] for one in measured] == ["slice", "line"]
    assert measured[0]["voxels"] == sum(one["voxels"] for one in ann.get(f"{API}/sessions/{id}").json()["objects"][:2])
    assert measured[0]["ml"] == pytest.approx(measured[0]["voxels"] * np.prod(scan.spacing) / 1000, rel=1e-4)
    line = measured[1]
    assert line["voxels"] == 12
    assert line["diameter_mm"] == pytest.approx(11 * scan.spacing[1], abs=1e-3)
    assert line["ends"] == [[15, 13, 7], [15, 24, 7]]
    report = ann.get(f"{API}/sessions/{id}/report").json()["objects"]
    assert [one.get("diameter_mm") for one in report] == [measured[0]["diameter_mm"], None, line["diameter_mm"]]
    assert report[0]["millilitres"] == measured[0]["ml"]
    dot = {"points": [[15, k, 7] for k in (13, 24)], "label": 2}
    do(ann, id, "scribble", {"scribbles": {"strokes": [dot]}, "refine": "none"})
    empty = ann.get(f"{API}/sessions/{id}/measures").json()[1]
    assert (empty["voxels"], empty["ml"], empty["diameter_mm"], empty["ends"]) == (0, 0, 0, None)


def test_places_to_look_at_lie_where_the_mask_is_unsure(ann, id):
    refused(ann.get(f"{API}/sessions/{id}/places"), 404, "draw a box first")
    do(ann, id, "box", BOX)
    found = ann.get(f"{API}/sessions/{id}/places").json()
    bits, box = fetch(ann, f"sessions/{id}/uncertainty")
    assert 1 <= len(found) <= 8
    for place in found:
        inside = np.subtract(place["voxel"], box.start)
        near = tuple(slice(max(0, v - 3), v + 4) for v in inside)
        assert bits[near].max() > bits.mean()
    values = [place["uncertainty"] for place in found]
    assert values == sorted(values, reverse=True)
    do(ann, id, "box", PLANE)
    assert all(place["voxel"][2] == 30 for place in ann.get(f"{API}/sessions/{id}/places").json())
    assert ann.get(f"{API}/sessions/{id}/places", params={"object": "object 1"}).json() == found
    refused(ann.get(f"{API}/sessions/{id}/places", params={"object": "x"}), 404, "no object named 'x'")


def test_nothing_to_undo_is_no_error(ann, id):
    told = do(ann, id, "undo")
    assert (told["changed"], told["number"]) == (False, 0)
    assert not do(ann, id, "redo")["changed"]
    assert ann.get(f"{API}/sessions/{id}/history").json() == []


def test_an_initial_mask_and_a_submitted_one(ann, id, scan):
    given = np.zeros((20, 20, 4), np.uint8)
    given[5:15, 5:15] = 1
    sent = Mask.of(given, "40:60,40:60,28:32").model_dump()
    do(ann, id, "box", {**BOX, "initial": sent, "refine": "none", "name": "mine"})
    mask, _ = fetch(ann, f"sessions/{id}/mask")
    assert mask.sum() == given.sum()
    np.testing.assert_array_equal(mask[10:30, 10:30, 8:12], given)
    told = do(ann, id, "submit", {"labels": sent, "title": "final"})
    assert told["objects"][0]["voxels"] == given.sum()
    assert ann.get(f"{API}/sessions/{id}/history").json()[-1]["request"]["title"] == "final"


def test_a_plane_is_a_png(server, ann, tmp_path):
    photo = phantom(3)[0].array[..., 32:33]
    photo = np.rint(255 * (photo - photo.min()) / np.ptp(photo)).astype(np.uint8)
    images.write_image(tmp_path / "p.png", photo, Image(photo))
    sent = ann.post(f"{API}/images", params={"name": "P.PNG"}, content=(tmp_path / "p.png").read_bytes())
    assert sent.status_code == 201
    assert sent.json()["planar"]
    id = begin(ann, sent.json()["key"], model="pnet", seed=3)
    do(ann, id, "box", {"box": "20:100,20:100,0"})
    mask, box = fetch(ann, f"sessions/{id}/mask")
    back = images.read_labels(file(ann, f"sessions/{id}/labels", tmp_path, "png"), Image(photo))
    np.testing.assert_array_equal(back[box.slices], mask)
    probability, _ = fetch(ann, f"sessions/{id}/probability")
    back = images.read_image(file(ann, f"sessions/{id}/probability", tmp_path, "png"))
    np.testing.assert_array_equal(back.array[box.slices], np.rint(probability * 255))
    assert not left(server)


def test_progress_comes_as_events(ann, image, id):
    events = Events(ann, id, "box", BOX)
    events.run()
    assert events.names[0] == "queued"
    assert events.got[0][1] == {"queued": 0}
    assert events.names.count("round") >= 2
    assert events.names[-1] == "done"
    rounds = [told for name, told in events.got if name == "round"]
    assert [told["round"] for told in rounds] == list(range(len(rounds)))
    assert rounds[-1]["last"]
    twin = begin(ann, image)
    plain, streamed = do(ann, twin, "box", BOX), events.got[-1][1]
    for told in (plain, streamed):
        assert told["objects"][0].pop("version")  # of its milliseconds, too
    for name in ("number", "kind", "objects", "current", "can_undo", "changed"):
        assert streamed[name] == plain[name]
    wrong = Events(ann, id, "scribble", {"scribbles": {"strokes": [{"points": [[5, 5, 5]]}]}})
    wrong.run()
    assert wrong.names[-1] == "error"
    assert wrong.got[-1][1]["status"] == 400
    assert "outside the box" in wrong.got[-1][1]["detail"]


def test_cancel_leaves_the_session_as_it_was(ann, image):
    id = begin(ann, image, parameters=LONG)
    assert ann.post(f"{API}/sessions/{id}/cancel").json() == {"cancelled": False}
    events = Events(ann, id, "box", BOX)
    events.start()
    assert events.first.wait(30)
    assert ann.post(f"{API}/sessions/{id}/cancel").json() == {"cancelled": True}
    events.join(30)
    assert events.names[-1] == "error"
    assert events.got[-1][1]["status"] == 409
    assert "cancelled" in events.got[-1][1]["detail"]
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 0
    assert do(ann, id, "box", {**BOX, "refine": "crf"})["number"] == 1


def test_who_hangs_up_cancels(server, ann, image):
    id = begin(ann, image, parameters=LONG)
    before = server.service.pool.statistics()["cancelled"]
    events = Events(ann, id, "box", BOX)
    events.until = "round"
    events.run()
    until = time.monotonic() + 30
    while server.service.pool.statistics()["cancelled"] == before:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 0


def test_what_comes_twice_with_one_key_is_done_once(ann, id):
    do(ann, id, "box", {**BOX, "refine": "none"}, **{"Idempotency-Key": "a"})
    first = do(ann, id, "scribble", SCRIBBLE, **{"Idempotency-Key": "b"})
    again = do(ann, id, "scribble", SCRIBBLE, **{"Idempotency-Key": "b"})
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["number"] == first["number"] == 2
    assert again["objects"] == first["objects"]
    assert do(ann, id, "scribble", SCRIBBLE, **{"Idempotency-Key": "c"})["number"] == 3


def test_requests_at_the_same_time_on_one_session_are_done_one_after_the_other(server, ann, id, scan):
    do(ann, id, "box", {**BOX, "refine": "none"})
    strokes = [{"points": [[40 + 6 * k, 50, 30]], "label": 1 + k % 2, "radius": 1} for k in range(6)]
    with ThreadPoolExecutor(6) as threads:
        told = list(
            threads.map(lambda s: do(ann, id, "scribble", {"scribbles": {"strokes": [s]}, "refine": "crf"}), strokes)
        )
    assert sorted(one["number"] for one in told) == [2, 3, 4, 5, 6, 7]
    plain = Session(scan)
    plain.box(Box.parse(BOX["box"]), refine="none")
    for entry in ann.get(f"{API}/sessions/{id}/history").json()[1:]:
        plain.scribble([Stroke(**stroke) for stroke in entry["request"]["scribbles"]["strokes"]], refine="crf")
    mask, box = fetch(ann, f"sessions/{id}/mask")
    np.testing.assert_array_equal(mask, plain.mask[box.slices])


def test_the_event_loop_answers_while_workers_compute(ann, image):
    id = begin(ann, image, parameters=LONG)
    events = Events(ann, id, "box", BOX)
    events.start()
    assert events.first.wait(30)
    waits = []
    for _ in range(20):
        start = time.perf_counter()
        assert ann.get(f"{API}/sessions/{id}").json()["number"] == 0
        waits.append(time.perf_counter() - start)
    ann.post(f"{API}/sessions/{id}/cancel")
    events.join(30)
    assert np.median(waits) < 0.5


def test_sessions_are_listed_and_deleted(ann, bob, image):
    id = begin(ann, image, title="left kidney")
    do(ann, id, "box", {**BOX, "refine": "none"})
    assert id in [row["id"] for row in ann.get(f"{API}/sessions").json()]
    assert ann.get(f"{API}/sessions/{id}").json()["title"] == "left kidney"
    assert bob.get(f"{API}/sessions").json() == []
    refused(ann.delete(f"{API}/images/{image}"), 409, "used by sessions")
    assert ann.delete(f"{API}/sessions/{id}").status_code == 204
    refused(ann.get(f"{API}/sessions/{id}"), 404, "no session")
    refused(ann.post(f"{API}/sessions/{id}/undo"), 404, "no session")


def test_an_image_can_be_forgotten(bob, scan):
    key = bob.post(f"{API}/images/open", json={"path": "ward 3/scan.nrrd"}).json()["key"]
    assert bob.delete(f"{API}/images/{key}").status_code == 204
    refused(bob.get(f"{API}/images/{key}"), 404)
    assert bob.get(f"{API}/images").json() == []


def test_a_session_goes_out_and_comes_back_in(server, ann, bob, id, scan, tmp_path):
    do(ann, id, "box", BOX)
    do(ann, id, "scribble", SCRIBBLE)
    do(ann, id, "undo")
    sent = ann.get(f"{API}/sessions/{id}/export")
    assert sent.headers["content-type"] == "application/zip"
    assert zipfile.is_zipfile(bytes_io.BytesIO(sent.content))
    taken = bob.post(f"{API}/sessions/import", content=sent.content)
    assert taken.status_code == 201, taken.text
    new = taken.json()["id"]
    assert taken.json()["can_redo"]
    do(ann, id, "redo")
    do(bob, new, "redo")
    np.testing.assert_array_equal(
        fetch(ann, f"sessions/{id}/probability")[0], fetch(bob, f"sessions/{new}/probability")[0]
    )
    do(bob, new, "scribble", SCRIBBLE)
    refused(bob.post(f"{API}/sessions/import", content=b"PK\x03\x04 no archive"), 400)
    refused(bob.post(f"{API}/sessions/import", content=sent.content[: len(sent.content) // 2]), 400)
    bob.delete(f"{API}/sessions/{new}")
    assert not left(server)


@pytest.mark.skipif(find_spec("highdicom") is None, reason='needs pip install "bifseg[dicom]"')
def test_dicom_in_dicom_seg_out(server, ann, tmp_path):
    import highdicom

    rng = np.random.default_rng(5)
    save_dicom(tmp_path / "d", [(1, 2, 4 * k - 8) for k in range(4)])
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for path in (tmp_path / "d").iterdir():
            archive.write(path, path.name)
    sent = ann.post(f"{API}/images", params={"name": "d.zip"}, content=(tmp_path / "d.zip").read_bytes())
    assert sent.status_code == 201, sent.text
    assert sent.json()["dicom"]
    id = begin(ann, sent.json()["key"])
    masks = []
    for name, box in (("liver", "0:3,0:6,0:4"), ("spleen", "3:5,0:6,0:4")):
        mask = rng.integers(0, 2, Box.parse(box).shape).astype(np.uint8)
        mask[0, 0] = 1
        masks.append(mask)
        body = {"box": box, "name": name, "initial": Mask.of(mask, box).model_dump(), "refine": "none"}
        do(ann, id, "box", body)
    labels, box = fetch(ann, f"sessions/{id}/labels")
    assert str(box) == "0:5,0:6,0:4"
    np.testing.assert_array_equal(labels, np.concatenate([masks[0], 2 * masks[1]]))
    seg = highdicom.seg.segread(file(ann, f"sessions/{id}/labels", tmp_path, "dcm"))
    assert [seg.get_segment_description(k).SegmentLabel for k in (1, 2)] == ["liver", "spleen"]
    image = images.read_image(tmp_path / "d.zip")
    volume = seg.get_volume(combine_segments=True).to_patient_orientation("LPH")
    back = np.transpose(volume.array, (0, 1, 2))
    np.testing.assert_allclose(volume.spacing, image.spacing)
    np.testing.assert_array_equal(back, labels)
    _, outlined = rasterised(file(ann, f"sessions/{id}/labels", tmp_path, "rtstruct.dcm"), image)
    for k, name in enumerate(("liver", "spleen"), start=1):
        np.testing.assert_array_equal(outlined[name][box.slices], labels == k)
    assert file(ann, f"sessions/{id}/labels", tmp_path, "stl").stat().st_size > 84 + 50
    one = highdicom.seg.segread(file(ann, f"sessions/{id}/mask", tmp_path, "dcm", object="liver"))
    assert one.number_of_segments == 1
    for name in ("liver", "spleen"):
        do(ann, id, "remove", {"name": name})
    full = Mask.of(np.ones((2, 2, 1)), "0:2,0:2,1").model_dump()
    do(ann, id, "box", {"box": "0:5,0:6,1", "name": "liver", "initial": full, "refine": "none"})
    do(ann, id, "propagate", {"to": 2})
    full = Mask.of(np.ones((2, 2, 1)), "3:5,4:6,3").model_dump()
    do(ann, id, "box", {"box": "3:5,4:6,3", "name": "spleen", "initial": full, "refine": "none"})
    seg = highdicom.seg.segread(file(ann, f"sessions/{id}/labels", tmp_path, "dcm"))
    assert [seg.get_segment_description(k).SegmentLabel for k in (1, 2)] == ["liver", "spleen"]
    assert seg.number_of_segments == 2  # the part in the plane 2 is the liver
    back = seg.get_volume(combine_segments=True).to_patient_orientation("LPH").array
    assert (back[..., 0] == 1).sum() == (back[..., -1] == 2).sum() == 4  # the first plane, 0, is empty and left out
    assert (back == 2).sum() == 4
    refused(ann.get(f"{API}/sessions/{id}/probability", params={"format": "dcm"}), 400, "DICOM-SEG holds objects")
    assert not left(server)


# ---- what it refuses


def test_results_that_are_not_there(ann, id):
    refused(ann.get(f"{API}/sessions/{id}/labels"), 404, "draw a box first")
    do(ann, id, "box", {**BOX, "refine": "none"})
    refused(ann.get(f"{API}/sessions/{id}/weights"), 404, "no weight map")
    refused(ann.get(f"{API}/sessions/{id}/mask", params={"object": "x"}), 404, "no object named 'x'", "object 1")
    assert "/" not in refused(ann.get(f"{API}/sessions/{id}/labels", params={"format": "png"}), 400, "one plane")
    refused(ann.get(f"{API}/sessions/{id}/labels", params={"format": "dcm"}), 400, "no DICOM series")
    refused(ann.get(f"{API}/sessions/{id}/labels", params={"format": "rtstruct.dcm"}), 400, "no DICOM series")
    refused(ann.get(f"{API}/sessions/{id}/probability", params={"format": "stl"}), 400, "STL holds objects")
    refused(ann.get(f"{API}/sessions/{id}/labels", params={"format": "exe"}), 422, "format")
    refused(ann.get(f"{API}/sessions/{id}/wishes"), 422)


def paths(server, ann):
    """Every method and path of the API, from its own documentation."""
    for path, methods in server_schema(ann)["paths"].items():
        for method in methods:
            if path.startswith(API):
                yield method, path


def server_schema(ann):
    return ann.get("/openapi.json").json()


def bodies(path):
    kind = path.rpartition("/")[2]
    return {
        "box": BOX, "scribble": SCRIBBLE, "resize": BOX, "select": {"name": "a"}, "remove": {"name": "a"},
        "rename": {"name": "a", "to": "b"}, "propagate": {"to": 3},
        "submit": {"labels": Mask.of(np.ones((1, 1, 1)), "0:1,0:1,0:1").model_dump()},
    }.get(kind)  # fmt: skip


def test_the_sessions_of_others_do_not_exist(server, ann, bob, id):
    do(ann, id, "box", {**BOX, "refine": "none"})
    asked = 0
    for method, path in paths(server, ann):
        if "{id}" not in path:
            continue
        asked += 1
        there = path.replace("{id}", id).replace("{what}", "labels")
        nowhere = path.replace("{id}", "0" * len(id)).replace("{what}", "labels")
        body = bodies(path)
        detail = refused(bob.request(method, there, json=body), 404, "no session")
        assert detail.replace(id, "0" * len(id)) == refused(bob.request(method, nowhere, json=body), 404, "no session")
    assert asked >= 20
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 1


def test_without_a_token_there_is_nothing(server, ann):
    with server.client() as nobody:
        for method, path in paths(server, ann):
            refused(nobody.request(method, path), 401, "token")


@pytest.mark.parametrize(
    "path",
    [
        "../secret.nrrd", "ward 3/../../secret.nrrd", "/etc/passwd", "link.nrrd", "up/secret.nrrd", "circle",
        "ward 3/\x00.nrrd", "ward%203/scan.nrrd", "..", "up", "ward 3/scan.nrrd/x", "x" * 900,
    ],
)  # fmt: skip
def test_paths_do_not_lead_out_of_the_folder(ann, shelf, path):
    detail = refused(ann.post(f"{API}/images/open", json={"path": path}), 404, "no file")
    assert str(shelf.parent) not in detail
    refused(ann.get(f"{API}/files", params={"folder": path}), 404)


def test_the_folder_is_listed_without_what_leads_out_of_it(ann):
    listed = ann.get(f"{API}/files").json()
    assert [(one["path"], one["folder"]) for one in listed] == [("notes.txt", False), ("ward 3", True)]
    (scan,) = ann.get(f"{API}/files", params={"folder": "ward 3"}).json()
    assert scan["path"] == "ward 3/scan.nrrd"
    assert scan["bytes"] > 0
    refused(ann.post(f"{API}/images/open", json={"path": "notes.txt"}), 400, "'.txt'")
    refused(ann.post(f"{API}/images/open", json={"path": "ward 3"}), 400, "ward 3 holds no DICOM")


def nifti(array):
    import nibabel

    return nibabel.Nifti1Image(array, np.eye(4)).to_bytes()


def huge_nifti():
    header = bytearray(nifti(np.zeros((2, 2, 2), np.int16)))
    header[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    return bytes(header)


def huge_png():
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (100_000).to_bytes(4, "big")
    start = chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(bytes(100_001) * 10)) + chunk(b"IEND", b"")


def nrrd(sizes="4 4 4", extra="", data=bytes(64)):
    return f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: {sizes}\nencoding: raw\n{extra}\n".encode() + data


def zipped(**files):
    buffer = bytes_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def gzipped(content):
    import gzip

    return gzip.compress(content)


NOISE = np.random.default_rng(0).integers(0, 100, (20, 20, 20)).astype(np.int16)
NANS = np.where(NOISE == 7, np.nan, NOISE).astype(np.float32)
BAD = {
    "no suffix": ("scan", b"abc", 400, "must end in"),
    "an unknown suffix": ("scan.exe", b"abc", 400, "'.exe'"),
    "empty": ("a.nii", b"", 400, "empty"),
    "no image": ("a.nrrd", b"abc", 400, ""),
    "truncated": ("a.nii", nifti(NOISE)[:-100], 400, "truncated"),
    "truncated gzip": ("a.nii.gz", gzipped(nifti(NOISE))[:-100], 400, ""),
    "NaN": ("a.nii", nifti(NANS), 400, "NaN"),
    "constant": ("a.nii", nifti(np.ones((4, 4, 4), np.uint8)), 400, ""),
    "a header of 100k x 100k": ("a.png", huge_png(), 413, ""),
    "a NIfTI of 27e12 voxels": ("a.nii", huge_nifti(), 413, ""),
    "the same, gzipped": ("a.nii.gz", gzipped(huge_nifti()), 413, ""),
    "a NRRD of 1e15 voxels": ("a.nrrd", nrrd("100000 100000 100000"), 413, ""),
    "more voxels than allowed": ("a.nii.gz", gzipped(nifti(np.zeros((256, 128, 128), np.uint8))), 413, ""),
    "a gzip bomb": ("a.nii.gz", gzipped(nifti(NOISE) + bytes(200 << 20)), (400, 413), ""),
    "a zip bomb": ("a.zip", zipped(**{"1.dcm": bytes(300 << 20)}), 413, ""),
    "a zip without DICOM": ("a.zip", zipped(**{"../../a.txt": b"x"}), 400, ""),
    "a broken zip": ("a.zip", zipped(a=b"x" * 1000)[:-30], 400, ""),
    "data elsewhere": ("a.nrrd", nrrd(extra="data file: /etc/passwd\n", data=b""), 400, ""),
    "a list of data elsewhere": ("a.nrrd", nrrd(extra="data file: LIST\n/etc/passwd\n", data=b""), 400, ""),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_uploads_that_are_refused(server, ann, what):
    name, content, status, word = BAD[what]
    before = server.service.store.used()
    start = time.perf_counter()
    answer = ann.post(f"{API}/images", params={"name": name}, content=content)
    assert answer.status_code in np.atleast_1d(status), answer.text
    assert str(server.service.store.folder) not in refused(answer, answer.status_code, word)
    assert time.perf_counter() - start < 60
    assert server.service.store.used() == before
    assert not left(server)


def test_an_upload_that_is_too_large_is_not_read(server, ann):
    """Refused by the length that it has by its header, or where it has none, as soon as it is longer than allowed."""
    sent = 0

    def chunks():
        nonlocal sent
        for _ in range(200):
            sent += 1 << 20
            yield bytes(1 << 20)

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(
            f"POST {API}/images?name=a.nii HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: {ann.headers['Authorization']}\r\nContent-Length: {5 << 20}\r\n\r\n".encode()
        )
        reply = connection.makefile("rb").read()  # all of it: the server hangs up
    assert reply.startswith(b"HTTP/1.1 413")
    assert b'"detail":' in reply
    before = len(ann.get(f"{API}/images").json())
    with contextlib.suppress(httpx.TransportError):  # it hangs up before the client has looked for an answer
        assert ann.post(f"{API}/images", params={"name": "a.nii"}, content=chunks()).status_code == 413
    assert sent < 100 << 20
    assert len(ann.get(f"{API}/images").json()) == before
    assert not left(server)


def test_an_upload_that_breaks_off_leaves_nothing(server, ann):
    host, port = server.url.removeprefix("http://").split(":")
    token = ann.headers["Authorization"]
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {API}/images?name=a.nii HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n"
            "Content-Length: 1000000\r\n\r\n".encode()
            + bytes(300_000)
        )
        until = time.monotonic() + 30
        while not left(server):
            assert time.monotonic() < until
            time.sleep(0.01)
    while left(server):
        assert time.monotonic() < until
        time.sleep(0.01)


def mask(box="40:60,40:60,28:32", content=None, text=None):
    return {"box": box, "deflate": text or b64encode(zlib.compress(content or bytes(1600))).decode()}


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (mask(content=bytes(1599)), ("1600 voxels", "1599 were sent")),
        (mask(content=bytes(100 << 20)), ("1600 voxels", "more were sent")),
        (mask(text="@@@"), ("not base64",)),
        (mask(text=b64encode(b"abc").decode()), ("zlib-deflated",)),
        (mask(text=b64encode(zlib.compress(bytes(1600))[:-3]).decode()), ("1600 voxels",)),
        (mask(text=b64encode(zlib.compress(bytes(1600)) + b"x").decode()), ("1600 voxels",)),
        (mask("40:60,40:60,28:320"), ("outside the image",)),
        (mask("0:99999999,0:99999999,0:99999999"), ("outside the image",)),
        (mask("1:2"), ("axes",)),
        (mask(), ("initial mask is empty",)),
    ],
)
def test_masks_that_do_not_fit(ann, id, sent, words):
    answer = ann.post(f"{API}/sessions/{id}/box", json={**BOX, "initial": sent})
    refused(answer, 400, *words)
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 0


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("box", {"box": "30:90,30:90,20:400"}, 400, ("outside the image",)),
        ("box", {"box": "a"}, 400, ("not of the form",)),
        ("box", {}, 422, ("box",)),
        ("box", {**BOX, "wish": 1}, 422, ("wish",)),
        ("box", {**BOX, "refine": "magic"}, 422, ("refine",)),
        ("box", {**BOX, "name": "\n"}, 422, ("name",)),
        ("box", {**BOX, "scribbles": {}}, 422, ("one of the two",)),
        ("scribble", SCRIBBLE, 400, ("draw a box first",)),
        ("scribble", {"scribbles": {"strokes": []}}, 422, ("strokes",)),
        ("scribble", {"scribbles": {"strokes": [{"points": [[1, 2]]}]}}, 422, ("points",)),
        ("scribble", {"scribbles": {"strokes": [{**STROKE, "radius": 1e300}]}}, 422, ("radius",)),
        ("scribble", {"scribbles": {"strokes": [{**STROKE, "label": 3}]}}, 422, ("label",)),
        ("propagate", {"to": 3}, 400, ("draw a box first",)),
        ("propagate", {"to": -1}, 422, ("to",)),
        ("propagate", {"to": 1.5}, 422, ("to",)),
        ("propagate", {}, 422, ("to",)),
        ("scribble", {"scribbles": {"strokes": [STROKE] * 2_001}}, 400, ("2001 strokes",)),
        ("select", {"name": "x"}, 400, ("no object named",)),
        ("refine", None, 400, ("draw a box first",)),
    ],
)
def test_interactions_that_cannot_be(ann, id, kind, body, status, words):
    refused(ann.post(f"{API}/sessions/{id}/{kind}", json=body), status, *words)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"model": "wish"}, 400, ("Unknown model 'wish'", "default")),
        ({"model": "/etc/passwd"}, 400, ("Unknown model",)),
        ({"parameters": "wish"}, 422, ("parameters",)),
        ({"parameters": {"lam": -1}}, 400, ("lam is -1",)),
        ({"parameters": {"rounds": 1.5}}, 422, ("rounds",)),
        ({"parameters": {"wish": 1}}, 422, ("wish",)),
        ({"parameters": {"preset": "fast", "fill_holes": 2}}, 400, ("fill_holes is 2",)),
        ({"parameters": {"preset": "fast", "wish": 1}}, 422, ("wish",)),
        ({"seed": -1}, 422, ("seed",)),
    ],
)
def test_sessions_that_cannot_be(ann, image, options, status, words):
    refused(ann.post(f"{API}/sessions", json={"image": image, **options}), status, *words)


def test_json_that_is_none_or_too_long(ann, id):
    path, headers = f"{API}/sessions/{id}/box", {"Content-Type": "application/json"}
    for content in (b"{", b"\xff", b"[" * 20_000, b'{"box": NaN}', b"null", b""):
        assert ann.post(path, content=content, headers=headers).status_code in (400, 422)
    long = ann.post(path, content=b'{"box": "' + b"1" * (17 << 20) + b'"}', headers=headers)
    refused(long, 413, "16 MiB")


def test_one_user_has_so_many_sessions(server, scan):
    with server.client("eve") as eve:
        key = eve.post(f"{API}/images/open", json={"path": "ward 3/scan.nrrd"}).json()["key"]
        for _ in range(LIMITS.sessions_per_user):
            begin(eve, key)
        refused(eve.post(f"{API}/sessions", json={"image": key}), 507, "40 sessions")


def test_one_user_has_so_many_interactions_waiting(server, ann, image):
    ids = [begin(ann, image, parameters=LONG) for _ in range(LIMITS.queued_per_user + 1)]
    events = [Events(ann, id, "box", BOX) for id in ids[:-1]]
    for one in events:
        one.start()
    until = time.monotonic() + 30
    while server.service.pool.queued("ann") < LIMITS.queued_per_user:
        assert time.monotonic() < until
        time.sleep(0.02)
    answer = ann.post(f"{API}/sessions/{ids[-1]}/box", json=BOX)
    refused(answer, 429, "waiting already")
    assert answer.headers["Retry-After"]
    for id in ids:
        ann.post(f"{API}/sessions/{id}/cancel")
    for one in events:
        one.join(30)
        assert one.got[-1][1]["status"] == 409
