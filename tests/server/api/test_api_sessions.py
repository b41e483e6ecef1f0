"""The API: what a session is over HTTP, from its image to the file that it goes out as."""

import io as bytes_io
import zipfile

import numpy as np
import torch
from api_calls import API, BOX, LIMITS, PLANE, SCRIBBLE, STROKE, begin, do, fetch, file, left, refused
from api_events import Events

from bifseg.evaluation.replay import replay
from bifseg.io import images
from bifseg.prompts.interaction import Box, Stroke
from bifseg.server.api.bodies.drawing import Mask
from bifseg.session.session import Session


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
    voxels = int(plain.mask.sum())
    assert about.pop("tidy") == {"fill_holes": 0.005, "drop_islands": 0.1}
    assert about == {"name": "object 1", "box": BOX["box"], "voxels": voxels, "part_of": None, "prior": None}
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


def test_an_object_begins_with_strokes_alone(server, ann, id, scan):
    torch.set_num_threads(1)
    loop = [[30, 30, 25], [30, 80, 25], [85, 80, 25], [85, 30, 25], [30, 30, 25]]
    strokes = [STROKE, {**STROKE, "points": loop, "label": 2}, {**STROKE, "points": [[55, 55, 20], [55, 55, 31]]}]
    plain = Session(scan)
    plain.box(scribbles=[Stroke(**stroke) for stroke in strokes])
    told = do(ann, id, "box", {"scribbles": {"strokes": strokes}})
    assert told["objects"][0]["box"] == str(plain.state.objects["object 1"].box)
    mask, box = fetch(ann, f"sessions/{id}/mask")
    np.testing.assert_array_equal(mask, plain.mask[box.slices])
    assert all(step.same for step in replay(server.service.store, id))


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
