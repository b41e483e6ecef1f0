"""Interactions that take time: told as events, cancelled, repeated, at the same time, and so many at most."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from api_calls import API, BOX, LIMITS, LONG, SCRIBBLE, begin, do, fetch, refused
from api_events import Events

from bifseg.prompts.interaction import Box, Stroke
from bifseg.session.session import Session


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
