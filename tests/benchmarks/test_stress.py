"""The benchmark of the server, small: it kills, and loads, a real one."""

import json
import sys
from importlib import import_module

import pytest


@pytest.fixture
def stress():
    return import_module("benchmarks.server.stress")


@pytest.fixture
def run(stress, monkeypatch, tmp_path, capsys):
    """The program, with three users in the place of eight."""
    monkeypatch.setattr(import_module("benchmarks.server.users"), "CLIENTS", 3)

    def run(*arguments):
        output = tmp_path / "told.json"
        monkeypatch.setattr(sys, "argv", ["stress.py", *map(str, arguments), "--workers", "1", "-o", str(output)])
        stress.main()
        capsys.readouterr()
        return json.loads(output.read_text())

    return run


@pytest.mark.parametrize(("told", "priority"), [("/autogroup-779 nice 5\n", "5"), ("", "")])
def test_the_priority_of_a_session_is_read_where_linux_tells_one(monkeypatch, told, priority):
    process = import_module("benchmarks.server.process")
    monkeypatch.setattr(process.Path, "read_text", lambda *_: told)
    assert process.priority() == priority


def test_kills_lose_nothing_and_change_no_mask(run):
    told = run("kill", "--kills", 2, "--steps", 4, "--seed", 4)
    assert told["kills"] == 2
    assert told["problems"] == []
    assert told["errors"] == []
    assert told["acknowledged"] > 0
    assert told["masks_compared"] >= 3
    assert told["errands"]["upload"] > 0
    assert sum(told["by_kind"].values()) == 2


def test_clients_at_once_and_no_crossed_session(run, stress, monkeypatch):
    """For two seconds, after which each ends the session that it is at."""
    monkeypatch.setattr(stress, "CLIENTS", 1)  # of which the sessions in this process, to compare with, are made again
    told = run("load", "--seconds", 2, "--steps", 4)
    assert told["errors"] == []
    assert told["crossed"] == 0
    assert told["calls"]["scribble"]["n"] >= 3
    assert 0 < told["calls"]["scribble"]["p50"] <= told["calls"]["scribble"]["p95"]
    assert told["in_process"]["scribble"]["n"] > 0
    for _, mib in told["memory_mib"]:
        assert mib["server"] > 20
        assert mib["workers"] > 50
        assert abs(mib["server"] + mib["workers"] + mib["readers"] - mib["all"]) < 0.5


def test_a_lost_step_or_another_mask_would_be_seen(stress, tmp_path, monkeypatch):
    """The check itself: it must find a step that is missing and a mask that differs."""
    options = type("Options", (), {"steps": 3, "threads": 1, "workers": 1})()
    plan = stress.plan(7, 3)
    store = stress.Store(tmp_path / "store")
    key = store.add_image(stress.phantom(11)[0], "ann")

    def done(steps):
        session = stress.DurableSession(store, store.create(key, "ann"))
        for step in steps:
            for _ in session.apply(plan[step], f"7-{step}"):
                pass
        return [type("User", (), {"sessions": [(session.id, 7, 3)], "errands": None})()]

    assert stress.check(done([0, 1, 2]), tmp_path, options)[0] == []
    assert len(stress.check(done([0, 2]), tmp_path, options)[0]) >= 1
    known = {}
    assert stress.check(done([0, 1, 2]), tmp_path, options, known)[0] == []
    monkeypatch.setattr(stress, "undisturbed", None)  # what is known is not computed again
    assert stress.check(done([0, 1, 2]), tmp_path, options, known)[0] == []
    other = done([0, 1, 2])
    monkeypatch.setattr(stress, "undisturbed", lambda *_: {7: ([0, 1, 2], [1, 2, 3])})
    (problem,) = stress.check(other, tmp_path, options)[0]
    assert "not those of an undisturbed session" in problem
    store.close()


def test_a_lost_upload_and_what_was_deleted_and_is_there_would_be_seen(stress, tmp_path):
    store = stress.Store(tmp_path / "store")
    kept = store.add_image(stress.errands.Image(stress.errands.voxels(5)), "ann")
    other = store.add_image(stress.errands.Image(stress.errands.voxels(6)), "ann")

    def problems(**noted):
        errands = stress.errands.Errands("ann", None)
        vars(errands).update(noted)
        return stress.errands.check(errands, store)

    assert problems(uploads={kept: 5, other: 6}) == []
    assert problems(uploads={kept: 6}) == ["ann: the image of upload 6 has other voxels"]
    assert "is lost" in problems(uploads={"f" * 64: 5})[0]
    assert problems(forgotten={kept}) == [f"ann: {kept} was deleted and is there"]
    store.close()
