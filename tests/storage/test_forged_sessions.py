"""A session file whose manifest or contents were forged adds nothing."""

import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from durable_sessions import PLANE, SCAN, do
from rewritten_sessions import at, empty, npy, rewritten, sha_of, with_array, with_part
from stored_sessions import files, one, scan

from bifseg.prompts.interaction import Box
from bifseg.storage.durable import DurableSession
from bifseg.storage.snapshot import pack
from bifseg.storage.transfer import export, import_

FIRST = ("entries", 0, "state")
OBJECT = (*FIRST, "objects", "object 1")
HEADER = {
    "pixdim": [1.0, 1.0, 1.0, 1.0], "units": 2, "qform_code": 1, "sform_code": 1, "quaternion": [0.0, 0.0, 0.0],
    "qoffset": [0.0, 0.0, 0.0], "sform": [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
}  # fmt: skip


def long_numbers(told):
    """9000 numbers of 4001 digits, 36 MB; to write them from integers takes Python two seconds."""
    told["entries"][0]["request"] = {"box": "", "x": "NUMBERS"}
    return json.dumps(told).replace('"NUMBERS"', f"[{', '.join(['1' + '0' * 4000] * 9_000)}]").encode()


FORGED = {
    "another format": at("format", "other"),
    "another version": at("version", 2),
    "a list": lambda told: [told],
    "no JSON": lambda told: b"{",
    "not a number": lambda told: json.dumps(told).replace("0.5", "NaN", 1).encode(),
    "an infinite number": lambda told: json.dumps(told).replace("1.5", "1e999").encode(),
    "too deep": lambda told: b"[" * 100_000,
    "no session": at("session", KeyError),
    "no image": at("image", KeyError),
    "no blobs": at("blobs", None),
    "entries that are none": at("entries", [1, 2]),
    "entries that are a number": at("entries", 5),
    "a model's path": at("session", "model", "../../etc/secret"),
    "a model's file": at("session", "model", "secret.safetensors"),
    "no seed": at("session", "seed", "a"),
    "a large seed": at("session", "seed", 1 << 63),
    "a negative seed": at("session", "seed", -1),
    "an unknown preset": at("session", "parameters", "magic"),
    "an unknown parameter": at("session", "parameters", {"wish": 1}),
    "a parameter that is none": at("session", "parameters", {"lam": "a"}),
    "half an iteration": at("session", "parameters", {"iterations": 2.5}),
    "no parameters": at("session", "parameters", None),
    "another shape": at("image", "shape", [10, 12, 16]),
    "a wrong shape": at("image", "shape", [10, 12]),
    "a negative shape": at("image", "shape", [-12, -10, 16]),
    "another type": at("image", "dtype", "<u2"),
    "no spacing": at("image", "spacing", [0, 1, 1]),
    "spacing in words": at("image", "spacing", ["a", 1, 1]),
    "a sheared direction": at("image", "direction", [[1, 1, 0], [0, 1, 0], [0, 0, 1]]),
    "a ragged direction": at("image", "direction", [[1], [0, 1, 0], [0, 0, 1]]),
    "planar by word": at("image", "planar", "yes"),
    "an image's path": at("image", "blob", "../../../etc/passwd"),
    "headers by number": at("image", "dicom", 7),
    "a gap": at("entries", 1, "number", 3),
    "an unknown kind": at("entries", 0, "kind", "wish"),
    "an undo with nowhere to go": lambda told: told["entries"].insert(
        0, {**told["entries"][2], "number": 1}
    ) or ([entry.update(number=k) for k, entry in enumerate(told["entries"], 1)] and None),
    "a box without a state": at(*FIRST, None),
    "an undo with a state": at("entries", 2, "state", {"objects": {}, "current": None}),
    "an empty state": at(*FIRST, {}),
    "a part of nothing": at(*OBJECT, "part_of", "object 7"),
    "a part of itself": at(*OBJECT, "part_of", "object 1"),
    "a part of a list": at(*OBJECT, "part_of", ["object 1"]),
    "a part of no name": at(*OBJECT, "part_of", ""),
    "a current object that is none": at(*FIRST, "current", "object 2"),
    "a current object that is a list": at(*FIRST, "current", []),
    "objects in a list": at(*FIRST, "objects", []),
    "another name": lambda told: told["entries"][0].update(
        state={"objects": {"x": told["entries"][0]["state"]["objects"]["object 1"]}, "current": "x"}
    ),
    "another box": at(*OBJECT, "box", "0:4,0:5,0:6"),
    "other voxels": at(*OBJECT, "voxels", 7),
    "other rules": at(*OBJECT, "tidy", {"fill_holes": 0.5, "drop_islands": 0.5}),
    "rules in words": at(*OBJECT, "tidy", "none"),
    "voxels in words": at(*OBJECT, "voxels", "many"),
    "a segment that is not there": at(*OBJECT, "segment", "0" * 64),
    "a segment that is an array": lambda told: told["entries"][0]["state"]["objects"]["object 1"].update(
        segment=told["entries"][1]["request"]["scribbles"]["labels"]["blob"]
    ),
    "a request that is none": at("entries", 0, "request", "box"),
    "a request for what is not there": at("entries", 0, "request", {"initial": {"blob": "0" * 64, "box": ""}}),
    "a request for a number": at("entries", 0, "request", {"initial": {"blob": 7}}),
    "seconds in words": at("entries", 4, "summary", {"seconds": "long"}),
    "milliseconds in words": at("entries", 4, "summary", {"milliseconds": {"cut": "long"}}),
    "rounds that are none": at("entries", 4, "summary", {"rounds": [1]}),
    "no time": at("entries", 0, "created", None),
    "a request without end": at("entries", 0, "request", {"box": "", "x": [[]] * 200_000}),
    "half a letter": at("entries", 0, "request", {"box": "\ud800"}),
    "half a letter in a name": at("entries", 4, "summary", {"milliseconds": {"\ud800": 1.0}}),
    "a header that no reader keeps": at("image", "source", {"nifti": {"pixdim": [1, 1, 1, 1]}}),
    "a header in a word": at("image", "source", {"nifti": "word"}),
    "a header in a list": at("image", "source", ["nifti"]),
    "another header": at("image", "source", {"x": {}}),
    "a code that there is not": at("image", "source", {"nifti": {**HEADER, "sform_code": 1 << 40}}),
    "a header of other shape": at("image", "source", {"nifti": {**HEADER, "sform": [1, 2, 3]}}),
    "a header of words": at("image", "source", {"nifti": {**HEADER, "qoffset": ["a", "b", "c"]}}),
    "a request of one long word": at("entries", 0, "request", {"box": "a" * (16 << 20)}),
    "a request of long numbers": long_numbers,
    "a summary without end": at("entries", 4, "summary", {"milliseconds": {f"s{k}": 1.0 for k in range(9_000)}}),
    "an image that tells without end": at("image", "source", {"nifti": {"x": [0] * 1_000}}),
    "an image that tells too deeply": at("image", "source", {"x": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}),
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_manifest_adds_nothing(archive, other, tmp_path, what):
    path = rewritten(archive[2], tmp_path / "forged.zip", FORGED[what])
    with pytest.raises(ValueError, match=r"forged\.zip is no exported session that is whole: .*\.$"):
        import_(other, path, "bob")
    assert empty(other)


def test_a_header_that_a_reader_kept_is_taken(archive, other, tmp_path):
    path = rewritten(archive[2], tmp_path / "a.zip", at("image", "source", {"nifti": HEADER}))
    new = import_(other, path, "bob")
    assert other.image_row(other.session(new).image).source == {"nifti": HEADER}


def test_a_failed_import_leaves_what_was_there(archive, other, tmp_path):
    new = import_(other, archive[2], "bob")
    waiting = other.add_array(np.zeros((3, 3, 3), np.uint8))
    before = files(other), other.used(), other.images("bob"), other.sessions()
    for what in ("another box", "an unknown preset", "a gap"):
        with pytest.raises(ValueError, match="no exported session"):
            import_(other, rewritten(archive[2], tmp_path / "forged.zip", FORGED[what]), "bob")
    assert (files(other), other.used(), other.images("bob"), other.sessions()) == before
    assert waiting in other.blobs
    assert other.state(new).current == "object 1"


def header_only(shape: tuple) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(100)


def with_image(content: bytes, **about):
    def change(told):
        told["image"].update(blob=sha_of(content), **about)

    return {"change": change, "blobs": {sha_of(content): content}}


def with_segment(segment: bytes, **facts):
    def change(told):
        told["blobs"].append(sha_of(segment))
        told["entries"][0]["state"]["objects"]["object 1"].update(segment=sha_of(segment), **facts)

    return {"change": change, "blobs": {sha_of(segment): segment}}


SHIFTED = Box((300, 4, 5), (304, 9, 11))
CONTENTS = {
    "a constant image": with_image(npy(np.ones((12, 10, 16), np.int16))),
    "an image of NaN": with_image(npy(np.full((12, 10, 16), np.nan)), dtype="<f8"),
    "an image of objects": with_image(npy(np.full((12, 10, 16), None))),
    "an image of words": with_image(npy(np.full((12, 10, 16), "a")), dtype="<U1"),
    "an image cut short": with_image(npy(scan().array)[:-7]),
    "an image that is a header": with_image(header_only((100_000, 100_000, 100)), shape=[100_000, 100_000, 100]),
    "an image of bytes": with_image(b"nothing"),
    "an empty image": with_image(b""),
    "an image that is a zip": with_image(b"PK\x03\x04" + bytes(100)),
    "a segment outside the image": with_segment(pack(one(box=SHIFTED)), box=str(SHIFTED)),
    "a part that the journal does not know": with_part("object 1", None),
    "a part that is none": with_part("", "object 1"),
    "a part of another object": with_part("object 3", "object 1"),
    "a segment of bytes": with_segment(b"nothing at all"),
    "an array of floats": with_array(npy(np.zeros(4))),
    "an array of objects": with_array(npy(np.full(3, None))),
    "an array that is a header": with_array(header_only((1 << 40,))),
    "an array that is none": with_array(b"x"),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_forged_contents_add_nothing(archive, other, tmp_path, what):
    path = rewritten(archive[2], tmp_path / "forged.zip", **copy.deepcopy(CONTENTS[what]))
    with pytest.raises(ValueError, match="no exported session that is whole"):
        import_(other, path, "bob")
    assert empty(other)


def test_a_forged_classifier_is_found_when_it_is_needed(other, tmp_path):
    """Import knows no networks; who goes on with such an object is told in a sentence."""
    id = other.create(other.add_image(SCAN, "ann"), "ann")
    do(DurableSession(other, id), PLANE)
    segment = other.state(id).objects["slice"]
    forged = pack(replace(segment, classifier={"x": np.zeros(3, np.float32)}))
    export(other, id, tmp_path / "a.zip")

    def change(told):
        told["blobs"] = [sha_of(forged)]
        told["entries"][0]["state"]["objects"]["slice"]["segment"] = sha_of(forged)

    new = import_(other, rewritten(tmp_path / "a.zip", tmp_path / "b.zip", change, {sha_of(forged): forged}), "bob")
    with pytest.raises(ValueError, match="classifier does not fit its network"):
        do(DurableSession(other, new), {"kind": "refine"})
    do(DurableSession(other, new), {"kind": "resize", "box": PLANE["box"]})


def test_contents_that_are_missing_or_changed_are_refused(archive, other, tmp_path):
    store, _, path = archive
    for sha in files(store):
        with pytest.raises(ValueError, match="it lacks blobs/"):
            import_(other, rewritten(path, tmp_path / "a.zip", drop=[sha]), "bob")
        with pytest.raises(ValueError, match="is not what the name says"):
            import_(other, rewritten(path, tmp_path / "a.zip", blobs={sha: b"changed"}), "bob")
    assert empty(other)
