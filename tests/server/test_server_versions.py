"""Who draws on an older state learns it: ETag and If-Match, checked in the moment in which it is written."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from api_calls import API, BOX, SCRIBBLE, do

from bifseg.errors import Stale
from bifseg.storage.durable import DurableSession

QUICK = {**BOX, "refine": "none"}
STROKE = {**SCRIBBLE, "refine": "none"}


def act(client, id, kind, body, match, **headers):
    return client.post(f"{API}/sessions/{id}/{kind}", json=body, headers={"If-Match": match, **headers})


def stale(answer, number):
    told = answer.json()
    assert answer.status_code == 412, answer.text
    assert told["number"] == number
    assert answer.headers["etag"] == f'"{number}"'
    assert f"it is at version {number}, " in told["detail"]
    assert "nothing was done" in told["detail"]
    return True


def test_every_answer_about_a_session_has_its_version(ann, id):
    made = ann.post(f"{API}/sessions", json={"image": ann.get(f"{API}/sessions/{id}").json()["image"]})
    assert made.headers["etag"] == '"0"'
    state = ann.get(f"{API}/sessions/{id}")
    (about,) = state.json()["objects"]
    tags = {what: ann.get(f"{API}/sessions/{id}/{what}").headers["etag"] for what in (
        "measures", "report", "history", "labels", "history?after=1", "mask", "scribbles", "probability", "places",
        "mask?format=nii.gz",
    )}  # fmt: skip
    assert state.headers["etag"] == '"1"'
    assert {what: tag for what, tag in tags.items() if tag != f'"{about["version"]}"'} == dict.fromkeys(
        ("measures", "report", "history", "labels", "history?after=1"), '"1"'
    )
    archive = ann.get(f"{API}/sessions/{id}/export").content
    assert ann.post(f"{API}/sessions/import", content=archive).headers["etag"] == '"1"'
    done = ann.post(f"{API}/sessions/{id}/scribble", json=STROKE)
    assert (done.headers["etag"], done.json()["number"]) == ('"2"', 2)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("box", QUICK), ("scribble", STROKE), ("resize", QUICK), ("refine", None), ("undo", None), ("redo", None),
        ("select", {"name": "object 1"}), ("remove", {"name": "object 1"}),
        ("rename", {"name": "object 1", "to": "b"}), ("propagate", {"to": 3}),
        ("tidy", {"drop_islands": False}),
    ],
)  # fmt: skip
def test_what_was_made_for_an_older_state_is_refused_and_does_nothing(ann, id, kind, body):
    do(ann, id, "scribble", STROKE)
    before = ann.get(f"{API}/sessions/{id}")
    assert stale(act(ann, id, kind, body, '"1"'), 2)
    assert ann.get(f"{API}/sessions/{id}").json() == before.json()
    if kind != "propagate":  # of a volume, which cannot be
        done = act(ann, id, kind, body, before.headers["etag"])
        assert done.status_code == 200, done.text


def test_a_deletion_is_of_the_session_as_one_saw_it(ann, id):
    do(ann, id, "scribble", STROKE)
    assert stale(ann.delete(f"{API}/sessions/{id}", headers={"If-Match": '"1"'}), 2)
    assert ann.get(f"{API}/sessions/{id}").status_code == 200
    assert ann.delete(f"{API}/sessions/{id}", headers={"If-Match": '"2"'}).status_code == 204


def test_a_stream_says_it_too(ann, id):
    do(ann, id, "scribble", STROKE)
    answer = act(ann, id, "scribble", STROKE, '"1"', Accept="text/event-stream")
    name, data = answer.text.strip().rsplit("\n\n", 1)[-1].split("\n")
    told = json.loads(data.removeprefix("data: "))
    assert (name, told["status"], told["number"]) == ("event: error", 412, 2)


@pytest.mark.parametrize("match", ['"7", "1"', "*", '"1" , W/"1"'])
def test_one_of_several_or_any_version_will_do(ann, id, match):
    assert act(ann, id, "undo", None, match).status_code == 200


@pytest.mark.parametrize("match", ['W/"1"', '"01"', '"1.0"', '""', '"9999999999999999999999"'])
def test_other_versions_are_none(ann, id, match):
    assert stale(act(ann, id, "undo", None, match), 1)


@pytest.mark.parametrize("match", ["1", '"1', '"1" "2"', "", '"1",,"2"', '*, "1"', '"' + "1" * 2000 + '"'])
def test_what_is_no_version_is_refused(ann, id, match):
    answer = act(ann, id, "undo", None, match)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("If-Match must be the ETag of an answer")
    assert ann.get(f"{API}/sessions/{id}").json()["number"] == 1


def test_an_object_may_be_changed_whatever_became_of_the_others(ann, id):
    (first,) = do(ann, id, "box", {**QUICK, "name": "b"})["objects"][:1]
    tag = f'"{first["version"]}"'
    assert act(ann, id, "rename", {"name": "b", "to": "c"}, tag).status_code == 412  # it is another's version
    done = act(ann, id, "rename", {"name": first["name"], "to": "a"}, tag)
    assert done.status_code == 200, done.text
    assert act(ann, id, "undo", None, tag).status_code == 412  # which is of the session, not of an object


def test_an_answer_that_was_lost_is_given_again_though_the_version_is_older_now(ann, id):
    for _ in range(2):
        done = act(ann, id, "scribble", STROKE, '"1"', **{"Idempotency-Key": "a"})
        assert done.status_code == 200, done.text
    assert done.json()["repeated"]
    assert stale(act(ann, id, "scribble", STROKE, '"1"', **{"Idempotency-Key": "b"}), 2)


def test_of_many_at_once_on_one_state_one_is_done(server, ann, id):
    """Two clients and more that race: the check and what is written are one."""
    for body, kinds in ((STROKE, ["scribble"] * 6), (None, ["undo"] * 8), (None, ["redo"] * 8)):
        before = ann.get(f"{API}/sessions/{id}").json()["number"]
        with ThreadPoolExecutor(8) as threads:
            tasks = [threads.submit(act, ann, id, kind, body, f'"{before}"') for kind in kinds]
            told = sorted(task.result().status_code for task in tasks)
        assert told == [200] + [412] * (len(kinds) - 1)
        assert ann.get(f"{API}/sessions/{id}").json()["number"] == before + 1


def test_what_another_process_did_is_seen_in_the_moment_of_the_claim(server, ann, id):
    store = server.service.store
    mine = DurableSession(store, id)
    do(ann, id, "undo")
    with pytest.raises(Stale, match="at version 2"):
        for _ in mine.apply({"kind": "rename", "name": "object 1", "to": "b"}, expected=["1"]):
            pass
    assert [entry.kind for entry in store.entries(id)] == ["box", "undo"]


def test_what_is_known_already_is_not_sent_again(ann, id):
    for what in ("mask", "labels", "probability", "mask?format=nii.gz"):
        place = f"{API}/sessions/{id}/{what}"
        tag = ann.get(place).headers["etag"]
        again = ann.get(place, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert ann.get(place, headers={"If-Match": tag}).status_code == 200
    do(ann, id, "scribble", STROKE)
    assert ann.get(f"{API}/sessions/{id}/mask", headers={"If-None-Match": tag}).status_code == 200
    assert stale(ann.get(f"{API}/sessions/{id}/mask", headers={"If-Match": tag}), 2)


def test_another_users_session_tells_no_version(server, id):
    with server.client("bob") as bob:
        for answer in (act(bob, id, "undo", None, '"0"'), bob.get(f"{API}/sessions/{id}/mask")):
            assert answer.status_code == 404
            assert "etag" not in answer.headers
