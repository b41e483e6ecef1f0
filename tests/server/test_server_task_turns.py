"""What a task costs others: its large objects are packed, and drawn, at the turn of what takes seconds."""

import numpy as np
import pytest
from api_calls import API, begin, do, refused

from bifseg.imaging.image import Image
from bifseg.server import service, tasks


@pytest.fixture
def lanes(server, monkeypatch):
    """The lanes in which work was done, by their names."""
    used = []

    def watch(name):
        lane = getattr(server.service, name)
        run = lane.run
        monkeypatch.setattr(lane, "run", lambda user, work, *rest: used.append(name) or run(user, work, *rest))

    for name in ("quick", "heavy"):
        watch(name)
    monkeypatch.setattr(server.service.learner, "wake", lambda: None)
    return used


def test_large_objects_do_not_stand_before_what_is_quick(server, ann, lanes, monkeypatch):
    """To pack one of 33 million voxels took 105 s of a busy machine, and to draw it 12 s, in the lane of quick
    replies, which two users could fill so."""
    noise = np.random.default_rng(0).normal(size=(24, 24, 12)).astype(np.float32)
    id = begin(ann, server.service.store.add_image(Image(noise, (1, 1, 1)), "ann"))
    do(ann, id, "box", {"box": "2:20,2:20,2:10", "refine": "none"})
    ann.post(f"{API}/tasks", json={"name": "turns"})
    lanes.clear()
    told = ann.post(f"{API}/tasks/turns/objects", json={"session": id, "object": "object 1"})
    assert told.status_code == 201, told.text
    assert lanes == ["heavy", "quick"]
    (one,) = told.json()["finished"]
    for most, lane in ((service.QUICK, "quick"), (100, "heavy")):
        monkeypatch.setattr(service, "QUICK", most)
        lanes.clear()
        assert ann.get(f"{API}/tasks/turns/objects/{one['digest']}/picture").status_code == 200
        assert lanes == ["quick", lane]
    monkeypatch.setattr(tasks, "LARGEST", 100)
    refused(ann.post(f"{API}/tasks/turns/objects", json={"session": id, "object": "object 1"}), 400, "make it smaller")
    ann.delete(f"{API}/tasks/turns")


def test_a_task_that_vanishes_under_our_hands_is_not_there(ann, monkeypatch):
    def gone(*_):
        raise FileNotFoundError

    ann.post(f"{API}/tasks", json={"name": "vanishes"})
    with monkeypatch.context() as patched:
        patched.setattr("bifseg.tasks.store.Task.remembered", gone)
        refused(ann.get(f"{API}/tasks/vanishes"), 404, "meanwhile")
    assert ann.delete(f"{API}/tasks/vanishes").status_code == 204
