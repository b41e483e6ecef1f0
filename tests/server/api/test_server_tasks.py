"""Tasks over the API: learnt in the background, kept with sessions, and nobody else's."""

import io
from dataclasses import replace

import numpy as np
import pytest
from api_calls import API, STROKE, begin, do, fetch, refused
from kinds_of_objects import one_of_two, scan_and_core
from PIL import Image as Picture
from quick_learning import quicken

from bifseg.evaluation.replay import replay
from bifseg.io.images import write_image
from bifseg.server.api.bodies.drawing import Mask
from bifseg.tasks.versions import learn_version
from bifseg.training.synthetic.phantom import phantom

PLACE = "4:44,4:44,0"
TASK = {"task": "core"}


def scan_of(client, seed, folder):
    """A scan of that kind, its session, and the true mask."""
    image, mask = scan_and_core(seed)
    path = folder / f"{seed}.nrrd"
    write_image(path, image.array, image)
    answer = client.post(f"{API}/images", params={"name": path.name}, content=path.read_bytes())
    return begin(client, answer.json()["key"], title=f"scan {seed}"), mask


def finish(client, seed, folder, task="core"):
    """Draw the truth, and add it to a task: the task as it then is, and the session."""
    id, mask = scan_of(client, seed, folder)
    drawn = Mask.of(mask[4:44, 4:44], PLACE).model_dump()
    do(client, id, "box", {"box": PLACE, "initial": drawn, "refine": "none"})
    answer = client.post(f"{API}/tasks/{task}/objects", json={"session": id, "object": "object 1"})
    assert answer.status_code == 201, answer.text
    return answer.json(), id


@pytest.fixture(scope="module")
def learn(server):
    """Have ann's task learn now, in this process; `test_server_learning` sees to the one that does it else."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(server.service.learner, "wake", lambda: None)
        quicken(patched)

        def learn(name="core"):
            learn_version(server.service.tasks.of("ann").task(name), 2)

        yield learn


@pytest.fixture(scope="module")
def taught(ann, learn, tmp_path_factory):
    """A task of ann's that learnt from three patients, and their sessions."""
    assert ann.post(f"{API}/tasks", json={"name": "core"}).status_code == 201
    folder = tmp_path_factory.mktemp("scans")
    ids = [finish(ann, seed, folder)[1] for seed in range(3)]
    learn()
    told = ann.get(f"{API}/tasks/core").json()
    assert told["versions"][-1]["patients"] == 3
    assert not told["learning"]
    return told, ids


def dice(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_a_new_object_begins_with_what_the_task_learnt(ann, taught, tmp_path):
    told, ids = taught
    (used,) = told["in_use"]
    assert used["used"]
    assert used["gain"] > 0.3
    assert used["objects"] == 3
    finished = [(one["session"], one["object"], one["title"]) for one in told["finished"]]
    assert finished == [(id, "object 1", f"scan {k}") for k, id in enumerate(ids)]
    id, truth = scan_of(ann, 10, tmp_path)
    truth = truth[4:44, 4:44]
    without = do(ann, id, "box", {"box": PLACE, "name": "without"})
    assert without["objects"][0]["prior"] is None
    assert dice(fetch(ann, f"sessions/{id}/mask")[0] > 0, truth) < 0.5
    do(ann, id, "undo")
    state = do(ann, id, "box", {"box": PLACE, **TASK})
    assert state["objects"][0]["prior"] == {"task": "core", "version": used["version"]}
    assert dice(fetch(ann, f"sessions/{id}/mask")[0] > 0, truth) > 0.8
    entry = ann.get(f"{API}/sessions/{id}/history").json()[-1]["request"]
    assert (entry["task"], entry["prior"]["version"]) == ("core", used["version"])


def test_an_object_that_strokes_begin_has_what_the_task_learnt_of_their_box(server, ann, taught, tmp_path):
    id, _ = scan_of(ann, 13, tmp_path)
    loop = [[6, 6, 0], [6, 41, 0], [41, 41, 0], [41, 6, 0], [6, 6, 0]]
    strokes = [{**STROKE, "points": points, "label": label, "radius": 0} for points, label in
               (([[22, 24, 0], [26, 24, 0]], 1), (loop, 2))]  # fmt: skip
    done = do(ann, id, "box", {"scribbles": {"strokes": strokes}, **TASK})
    assert done["objects"][0]["box"] == "6:42,6:42,0"
    assert done["objects"][0]["prior"]["task"] == "core"
    assert all(step.same for step in replay(server.service.store, id))
    labels = Mask.of(np.ones((4, 4), np.uint8), "20:24,20:24,0").model_dump()
    sent = {"scribbles": {"labels": labels}, **TASK}
    refused(ann.post(f"{API}/sessions/{id}/box", json=sent), 400, "is about a box")


def test_the_same_key_is_the_same_interaction_whatever_was_learnt_meanwhile(ann, taught, tmp_path):
    id, _ = scan_of(ann, 11, tmp_path)
    key = {"Idempotency-Key": "one"}
    first = do(ann, id, "box", {"box": PLACE, **TASK}, **key)
    assert ann.post(f"{API}/tasks/core/reject", json={}).json()["in_use"] == []
    again = do(ann, id, "box", {"box": PLACE, **TASK}, **key)
    assert again["repeated"]
    assert again["objects"] == first["objects"]
    do(ann, id, "undo")
    assert do(ann, id, "box", {"box": PLACE, **TASK})["objects"][0]["prior"] is None
    assert ann.post(f"{API}/tasks/core/restore", json={}).json()["in_use"][0]["used"]


def test_for_another_box_the_task_is_asked_again(server, ann, taught, tmp_path):
    id, _ = scan_of(ann, 14, tmp_path)
    do(ann, id, "box", {"box": PLACE, **TASK})
    done = do(ann, id, "resize", {"box": "3:45,3:45,0"})
    first, second = (entry["request"]["prior"] for entry in ann.get(f"{API}/sessions/{id}/history").json())
    assert done["objects"][0]["prior"] == {"task": "core", "version": second["version"]}
    assert (first["task"], first["version"]) == (second["task"], second["version"])
    mask = fetch(ann, f"sessions/{id}/mask")[0]
    assert all(step.same for step in replay(server.service.store, id))
    do(ann, id, "remove", {"name": "object 1"})
    do(ann, id, "box", {"box": "3:45,3:45,0", **TASK})
    assert np.array_equal(fetch(ann, f"sessions/{id}/mask")[0], mask)
    assert ann.get(f"{API}/sessions/{id}/history").json()[-1]["request"]["prior"] == second


def test_what_a_session_began_with_outlives_the_task(server, ann, learn, tmp_path):
    """Undo, replay, export and erasing give the same masks when the task is gone."""
    ann.post(f"{API}/tasks", json={"name": "short"})
    for seed in range(3):
        finish(ann, seed + 20, tmp_path, "short")
    learn("short")
    id, _ = scan_of(ann, 12, tmp_path)
    do(ann, id, "box", {"box": PLACE, "task": "short"})
    first = fetch(ann, f"sessions/{id}/mask")[0]
    stroke = {**STROKE, "points": [[24, 24, 0]], "radius": 1}
    do(ann, id, "scribble", {"scribbles": {"strokes": [stroke]}})
    scribbled = fetch(ann, f"sessions/{id}/mask")[0]
    assert ann.delete(f"{API}/tasks/short").status_code == 204
    refused(ann.post(f"{API}/sessions/{id}/box", json={"box": "5:43,5:43,0", "task": "short"}), 404, "no task 'short'")
    do(ann, id, "undo")
    assert np.array_equal(fetch(ann, f"sessions/{id}/mask")[0], first)
    do(ann, id, "redo")
    assert np.array_equal(fetch(ann, f"sessions/{id}/mask")[0], scribbled)
    do(ann, id, "scribble", {"scribbles": {"strokes": [{**stroke, "label": 0, "radius": 3}]}})
    done = do(ann, id, "resize", {"box": "3:45,3:45,0"})
    assert done["objects"][0]["prior"]["task"] == "short"
    assert all(step.same for step in replay(server.service.store, id))
    archive = ann.get(f"{API}/sessions/{id}/export").content
    again = ann.post(f"{API}/sessions/import", content=archive)
    assert again.status_code == 201, again.text
    assert again.json()["objects"] == done["objects"]
    assert all(step.same for step in replay(server.service.store, again.json()["id"]))


def test_an_object_that_is_added_again_replaces_itself(ann, learn, tmp_path):
    ann.post(f"{API}/tasks", json={"name": "again"})
    told, id = finish(ann, 30, tmp_path, "again")
    body = {"session": id, "object": "object 1"}
    answer = ann.post(f"{API}/tasks/again/objects", json=body).json()
    assert answer["finished"] == told["finished"]
    small = Mask.of(np.pad(np.ones((3, 3, 1)), ((2, 35), (2, 35), (0, 0))), PLACE).model_dump()
    do(ann, id, "undo")
    state = do(ann, id, "box", {"box": PLACE, "initial": small, "refine": "none"})
    refused(ann.post(f"{API}/tasks/again/objects", json=body, headers={"If-Match": '"0000"'}), 412, "changed meanwhile")
    (one,) = ann.post(f"{API}/tasks/again/objects", json=body).json()["finished"]
    assert one["version"] == state["objects"][0]["version"] != told["finished"][0]["version"]
    picture = ann.get(f"{API}/tasks/again/objects/{one['digest']}/picture")
    assert picture.content.startswith(b"\x89PNG")
    assert ann.delete(f"{API}/tasks/again/objects/{one['digest']}").json()["finished"] == []
    ann.delete(f"{API}/tasks/again")


def test_versions_are_rejected_and_saved(ann, taught):
    number = taught[0]["in_use"][0]["version"]
    model = ann.get(f"{API}/tasks/core/model", params={"dimension": 2})
    assert model.status_code == 200
    assert len(model.content) > 10_000
    refused(ann.get(f"{API}/tasks/core/model", params={"dimension": 3}), 400, "uses the shipped network in 3D")
    told = ann.post(f"{API}/tasks/core/reject", json={"version": number}).json()
    assert all(version["version"] != number for version in told["in_use"])
    told = ann.post(f"{API}/tasks/core/restore", json={"version": number}).json()
    assert [version["version"] for version in told["in_use"]] == [number]
    refused(ann.post(f"{API}/tasks/core/reject", json={"version": 99}), 404, "no version 99")


def test_a_versions_mean_shape_can_be_looked_at(ann, taught, learn, server):
    ann.post(f"{API}/tasks", json={"name": "one of two"})
    own = server.service.tasks.of("ann").task("one of two")
    for seed in range(4):
        own.add(one_of_two(seed))
    learn("one of two")
    (used,) = ann.get(f"{API}/tasks/one of two").json()["in_use"]
    assert used["shape"] > 0
    content = ann.get(f"{API}/tasks/one of two/versions/1/shape").content
    with Picture.open(io.BytesIO(content)) as picture:
        grey = np.asarray(picture.convert("L"))
    assert grey.shape == (128, 128)
    assert grey[30, 30] > 180  # x and y of this scan run to the left and back, as in the picture
    assert grey[95, 95] < 75
    refused(ann.get(f"{API}/tasks/one of two/versions/99/shape"), 404, "no version 99")
    own.keep(replace(own.version(1), number=2, shape=0.0))
    refused(ann.get(f"{API}/tasks/one of two/versions/2/shape"), 404, "does not count")
    ann.delete(f"{API}/tasks/one of two")


def test_what_cannot_be_is_said_in_a_sentence(ann, taught, tmp_path):
    refused(ann.post(f"{API}/tasks", json={"name": "core"}), 400, "There is a task 'core' already")
    refused(ann.post(f"{API}/tasks", json={"name": "../core"}), 400, "cannot be named")
    body = {"session": taught[1][0], "object": "object 7"}
    refused(ann.post(f"{API}/tasks/core/objects", json=body), 404, "no object 'object 7'")
    refused(ann.post(f"{API}/tasks/none/objects", json={**body, "object": "object 1"}), 404, "no task 'none'")
    refused(ann.get(f"{API}/tasks/core/objects/abc/picture"), 404, "does not hold the object")
    image = ann.get(f"{API}/sessions/{taught[1][0]}").json()["image"]
    own = begin(ann, image, model="multiscale2d")
    refused(ann.post(f"{API}/sessions/{own}/box", json={"box": PLACE, **TASK}), 400, "teaches the default network")


def test_nobody_sees_or_touches_the_tasks_of_others(ann, bob, taught, tmp_path):
    told, ids = taught
    digest = told["finished"][0]["digest"]
    assert bob.get(f"{API}/tasks").json() == []
    own, _ = scan_of(bob, 10, tmp_path)
    refused(bob.post(f"{API}/sessions/{own}/box", json={"box": PLACE, **TASK}), 404, "no task 'core'; there is none")
    for method, place, body in (
        ("GET", "core", None), ("DELETE", "core", None), ("GET", f"core/objects/{digest}/picture", None),
        ("DELETE", f"core/objects/{digest}", None), ("POST", "core/reject", {}), ("POST", "core/restore", {}),
        ("GET", "core/versions/1/shape", None), ("GET", "core/model?dimension=2", None),
        ("POST", "core/objects", {"session": own, "object": "object 1"}),
    ):  # fmt: skip
        refused(bob.request(method, f"{API}/tasks/{place}", json=body), 404)
    bob.post(f"{API}/tasks", json={"name": "core"})
    refused(bob.post(f"{API}/tasks/core/objects", json={"session": ids[0], "object": "object 1"}), 404, "no session")
    assert bob.get(f"{API}/tasks/core").json()["objects"] == 0
    assert do(bob, own, "box", {"box": PLACE, **TASK})["objects"][0]["prior"] is None
    refused(bob.get(f"{API}/tasks/core/objects/{digest}/picture"), 404, "does not hold")
    assert bob.delete(f"{API}/tasks/core").status_code == 204
    assert ann.get(f"{API}/tasks/core").json() == told


def test_of_an_object_in_many_slices_a_few_are_remembered(ann, learn, server):
    image, _ = phantom(4)
    id = begin(ann, server.service.store.add_image(image, "ann"))
    do(ann, id, "box", {"box": "20:100,20:90,24", "refine": "none"})
    for to in range(25, 33):
        do(ann, id, "propagate", {"to": to, "refine": "none"})
    names = [one["name"] for one in ann.get(f"{API}/sessions/{id}").json()["objects"]]
    assert len(names) == 9
    ann.post(f"{API}/tasks", json={"name": "stack"})

    def remembered(name):
        asked = ann.post(f"{API}/tasks/stack/objects", json={"session": id, "object": name})
        assert asked.status_code == 201, asked.text
        return [one["object"] for one in asked.json()["finished"]]

    assert remembered(names[0]) == [names[k] for k in (2, 4, 6, 8, 0)]
    assert set(remembered(names[3])) == {names[k] for k in (0, 2, 3, 4, 6, 8)}  # what is added again is no second one
