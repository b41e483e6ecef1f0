"""A session as one file comes back as it was; verify finds what was changed and what is missing."""

import subprocess
import zipfile

import numpy as np
import pytest
from rewritten_sessions import at, empty, rewritten, with_part
from stored_sessions import append, begun, files, scan

from bifseg.errors import NotFound
from bifseg.imaging.image import Image
from bifseg.storage import manifest
from bifseg.storage.durable import KINDS
from bifseg.storage.transfer import export, import_, verify


def test_all_kinds_of_interactions_are_known():
    assert set(manifest.KINDS) == set(KINDS)


def test_a_session_comes_back_with_all_of_its_history(archive, other):
    store, id, path = archive
    new = import_(other, path, "bob")
    before, after = store.session(id), other.session(new)
    assert new != id
    assert after.owner == "bob"
    for name in ("title", "model", "parameters", "seed", "client"):
        assert getattr(before, name) == getattr(after, name)
    for one_, other_ in zip(store.entries(id), other.entries(new), strict=True):
        for name in ("number", "kind", "request", "state", "summary", "created"):
            assert getattr(one_, name) == getattr(other_, name)
    assert store.history(id) == other.history(new)
    for a in store.history(id).states:
        np.testing.assert_array_equal(store.load(a).labels(scan().shape), other.load(a).labels(scan().shape))
    row = other.image_row(after.image, "bob")
    assert after.image == before.image
    assert other.blob(row.dicom) == b"headers"
    np.testing.assert_array_equal(other.image(row.key).array, scan().array)
    assert files(store) == files(other)
    assert list(verify(other)) == []
    assert append(other, new, 9) == 6  # and it goes on
    other.delete(new)
    other.forget_image(row.key, "bob")
    assert empty(other)


def test_twice_is_two_sessions_on_one_image(archive, other):
    ids = {import_(other, archive[2], owner) for owner in ("ann", "ann", "bob")}
    assert len(ids) == 3
    assert files(other) == files(archive[0])
    assert len({other.session(id).image for id in ids}) == 1


def test_the_file_names_no_user_and_no_key_of_a_client(archive):
    with zipfile.ZipFile(archive[2]) as file:
        content = file.read("manifest.json")
        assert all(name == "manifest.json" or name.startswith("blobs/") for name in file.namelist())
    assert b"ann" not in content
    assert b"a client's own" not in content


def test_a_model_file_is_named_without_its_place(other, tmp_path):
    id = other.create(other.add_image(scan(), "ann"), "ann", model="/secret/place/kidney.safetensors")
    export(other, id, tmp_path / "a.zip")
    assert other.session(import_(other, tmp_path / "a.zip", "bob")).model == "kidney"


def test_a_file_is_written_whole_or_not_at_all(other, tmp_path):
    id = begun(other)
    path = tmp_path / "a.zip"
    path.write_bytes(b"before")
    other.blobs.delete(other.entries(id)[0].state["objects"]["object 1"]["segment"])
    with pytest.raises(NotFound, match="lacks its content"):
        export(other, id, path)
    with pytest.raises(NotFound, match="no session"):
        export(other, "nothing", path)
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a.zip"]


def test_what_a_summary_should_not_hold_is_left_out(archive, other, tmp_path):
    change = at("entries", 0, "summary", {"seconds": 1, "objects": "x", "number": "y"})
    new = import_(other, rewritten(archive[2], tmp_path / "a.zip", change), "bob")
    assert other.entries(new)[0].summary == {"seconds": 1.0}


def test_a_part_comes_back_as_a_part(archive, other, tmp_path):
    path = rewritten(archive[2], tmp_path / "a.zip", **with_part("object 1", "object 1"))
    new = import_(other, path, "bob")
    state = other.load(other.history(new).states[1])
    assert state.names == ("object 1",)
    assert other.entries(new)[0].state["objects"]["object 2"]["part_of"] == "object 1"
    export(other, new, tmp_path / "b.zip")
    assert other.history(import_(other, tmp_path / "b.zip", "ann")) == other.history(new)


def test_verify_finds_what_was_changed_and_what_is_missing(other):
    id = begun(other)
    assert list(verify(other)) == []
    shas = sorted(files(other))
    other.blobs.path(shas[0]).write_bytes(b"changed")
    other.blobs.delete(shas[1])
    assert list(verify(other)) == [f"The blob {sha} is missing or was changed." for sha in shas[:2]]
    segment = other.entries(id)[0].state["objects"]["object 1"]["segment"]
    with other.transaction() as connection:
        connection.execute("DELETE FROM refs WHERE blob = ?", (segment,))
    assert list(verify(other))[-1] == f"The session {id} refers to the segment {segment}, which is not its own."
    with other.transaction() as connection:
        connection.execute("UPDATE entries SET kind = 'redo'")
    assert "has nowhere to go" in list(verify(other))[-1]


def test_an_exported_file_is_a_plain_zip(archive):
    assert subprocess.run(["python3", "-m", "zipfile", "-t", archive[2]], capture_output=True).returncode == 0


def test_a_planar_image_comes_back_planar(other, tmp_path):
    id = other.create(other.add_image(Image(np.arange(30.0).reshape(5, 6)), "ann"), "ann")
    export(other, id, tmp_path / "a.zip")
    assert other.image(other.session(import_(other, tmp_path / "a.zip", "bob")).image).planar
