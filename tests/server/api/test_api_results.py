"""Results over HTTP: measures, places to look at, planes as PNG, DICOM-SEG and RTSTRUCT on the series that came in."""

import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
from api_calls import API, BOX, PLANE, begin, do, fetch, file, left, refused
from dicom_files import rasterised, save_dicom

from bifseg.imaging.image import Image
from bifseg.io import images
from bifseg.prompts.interaction import Box
from bifseg.server.api.bodies.drawing import Mask
from bifseg.training.synthetic.phantom import phantom


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
