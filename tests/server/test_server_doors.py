"""Every route there is, asked by somebody else with the names of what is ann's: new ones are asked as they come."""

import re

import numpy as np
from api_calls import API, BOX, SCRIBBLE, begin, do

from bifseg.imaging.image import Image

SAID = {
    "box": BOX,
    "scribble": SCRIBBLE,
    "resize": BOX,
    "propagate": {"to": 3},
    "interpolate": {},
    "tidy": {"fill_holes": True},
    "reject": {"version": None},
    "restore": {"version": None},
    "rename": {"name": "object 1", "to": "b"},
    "select": {"name": "object 1"},
    "remove": {"name": "object 1"},
    "submit": {"labels": {"box": "0:1,0:1,0", "deflate": "eJxjAAAAAQAB"}},
}
ASKED = {"image": "a", "label": "a", "object": "object 1", "dimension": 2, "format": "raw", "name": "a.nii"}


def test_nobody_comes_in_by_another_door(server, ann, bob, lease):
    noise = np.random.default_rng(7).integers(0, 99, (128, 128, 64)).astype(np.uint8)
    key = server.service.store.add_image(Image(noise, (1, 1, 1)), "ann")
    id = begin(ann, key)
    do(ann, id, "box", {**BOX, "refine": "none"})
    assert ann.post(f"{API}/tasks", json={"name": "livers"}).status_code == 201
    added = ann.post(f"{API}/tasks/livers/objects", json={"session": id, "object": "object 1"})
    assert added.status_code == 201, added.text
    names = {"id": id, "key": key, "task": "livers", "digest": added.json()["finished"][0]["digest"], "what": "mask",
             "model": "bifseg"}  # fmt: skip
    others = {**lease, "If-Match": "*", "Idempotency-Key": "k", "Accept": "text/event-stream"}
    before = ann.get(f"{API}/sessions/{id}/history").json()
    asked = 0
    for path, methods in bob.get("/openapi.json").json()["paths"].items():
        inside = [name for name in ("id", "key", "task", "digest", "model") if f"{{{name}}}" in path]
        if not (inside or "_interaction" in path):
            continue
        place = re.sub(r"{(\w+)}", lambda found: names.get(found[1], "x"), path)
        body = SAID.get(place.rpartition("/")[2], {"session": id, "object": "object 1"})
        for method in methods:
            for headers in ({}, others):
                params = ASKED | {"session_id": id}
                told = bob.request(method.upper(), place, params=params, json=body, headers=headers)
                assert told.status_code in (400, 404, 410, 422), (method, path, told.status_code, told.text[:200])
                assert "ETag" not in told.headers
                asked += told.status_code in (404, 410)
    assert asked > 70
    assert bob.post(f"{API}/sessions", json={"image": key}).status_code == 404
    assert ann.get(f"{API}/sessions/{id}/history").json() == before
    assert ann.get(f"{API}/tasks/livers").json()["objects"] == 1
    assert ann.delete(f"{API}/tasks/livers").status_code == 204
    assert ann.delete(f"{API}/sessions/{id}").status_code == 204
