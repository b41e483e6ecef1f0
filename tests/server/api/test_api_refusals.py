"""What the API refuses: without a token everything, what is another's, and what cannot be, in a sentence."""

import zlib
from base64 import b64encode

import numpy as np
import pytest
from api_calls import API, BOX, LIMITS, SCRIBBLE, STROKE, begin, do, refused

from bifseg.server.api.bodies.drawing import Mask


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
        "rename": {"name": "a", "to": "b"}, "propagate": {"to": 3}, "tidy": {"fill_holes": True},
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
        ("box", {}, 422, ("begins with a box, or with scribbles",)),
        ("box", {"scribbles": {"strokes": [{**STROKE, "label": 2}]}}, 400, ("one is in it",)),
        ("box", {"scribbles": {"strokes": [{**STROKE, "points": [[900, 1, 1]]}]}}, 400, ("outside the image",)),
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
