"""A session as one file comes back as it was; a file that was damaged or forged adds nothing."""

import contextlib
import copy
import io
import json
import struct
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from durable_sessions import PLANE, do
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_sessions import append, begun, files, one, scan

from bifseg.errors import NotFound, StorageFull
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box
from bifseg.storage import Store, manifest, transfer
from bifseg.storage.durable import KINDS, DurableSession
from bifseg.storage.snapshot import pack
from bifseg.storage.transfer import export, import_, verify
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A store with a session, and the file that it is exported to."""
    folder = tmp_path_factory.mktemp("transfer")
    with contextlib.closing(Store(folder / "store")) as store:
        id = begun(store)
        export(store, id, folder / "session.zip")
        yield store, id, folder / "session.zip"


@pytest.fixture
def other(tmp_path):
    with contextlib.closing(Store(tmp_path / "other")) as store:
        yield store


def empty(store: Store) -> bool:
    tables = ("sessions", "entries", "refs", "images", "owners", "blobs")
    counts = [store.read(f"SELECT count(*) FROM {table}")[0][0] for table in tables]
    return not any(counts) and files(store) == set() and not list(store.blobs.folder.glob(".*"))


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


# ---- what is refused


def rewritten(path, target, change=None, blobs=None, compression=zipfile.ZIP_STORED, drop=()):
    """A copy of an exported file with another manifest and other contents."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", compression) as new:
        told = json.loads(old.read("manifest.json"))
        if change:
            told = change(told) or told
        new.writestr("manifest.json", told if isinstance(told, bytes) else json.dumps(told))
        for name in old.namelist():
            if name != "manifest.json" and name[6:] not in drop:
                new.writestr(name, (blobs or {}).get(name[6:], None) or old.read(name))
        for sha, content in (blobs or {}).items():
            if f"blobs/{sha}" not in old.namelist():
                new.writestr(f"blobs/{sha}", content)
    return target


def at(*where):
    """A change of the manifest: the value at the end of the way is set."""
    *way, last, value = where

    def change(told):
        place = told
        for step in way:
            place = place[step]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value

    return change


FIRST = ("entries", 0, "state")
OBJECT = (*FIRST, "objects", "object 1")
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
}  # fmt: skip


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_manifest_adds_nothing(archive, other, tmp_path, what):
    path = rewritten(archive[2], tmp_path / "forged.zip", FORGED[what])
    with pytest.raises(ValueError, match=r"forged\.zip is no exported session that is whole: .*\.$"):
        import_(other, path, "bob")
    assert empty(other)


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


def test_what_a_summary_should_not_hold_is_left_out(archive, other, tmp_path):
    change = at("entries", 0, "summary", {"seconds": 1, "objects": "x", "number": "y"})
    new = import_(other, rewritten(archive[2], tmp_path / "a.zip", change), "bob")
    assert other.entries(new)[0].summary == {"seconds": 1.0}


def sha_of(content: bytes) -> str:
    return transfer.hashlib.sha256(content).hexdigest()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


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


def with_array(content: bytes):
    def change(told):
        told["blobs"].append(sha_of(content))

    return {"change": change, "blobs": {sha_of(content): content}}


def with_part(part_of: str, said: str | None):
    """A second object beside the first; what it says of itself, and what the journal says of it."""
    segment = pack(one(name="object 2", part_of=part_of))

    def change(told):
        objects = told["entries"][0]["state"]["objects"]
        objects["object 2"] = {**objects["object 1"], "segment": sha_of(segment), **({"part_of": said} if said else {})}
        told["blobs"].append(sha_of(segment))

    return {"change": change, "blobs": {sha_of(segment): segment}}


def test_a_part_comes_back_as_a_part(archive, other, tmp_path):
    path = rewritten(archive[2], tmp_path / "a.zip", **with_part("object 1", "object 1"))
    new = import_(other, path, "bob")
    state = other.load(other.history(new).states[1])
    assert state.names == ("object 1",)
    assert other.entries(new)[0].state["objects"]["object 2"]["part_of"] == "object 1"
    export(other, new, tmp_path / "b.zip")
    assert other.history(import_(other, tmp_path / "b.zip", "ann")) == other.history(new)


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
    id = other.create(other.add_image(phantom(11)[0], "ann"), "ann")
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


def test_other_files_are_refused(other, tmp_path):
    path = tmp_path / "a.zip"
    for content in (b"", b"no zip", b"PK\x05\x06" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.zip is no exported session that is whole"):
            import_(other, path, "bob")
    with pytest.raises(FileNotFoundError):
        import_(other, tmp_path / "missing.zip", "bob")
    assert empty(other)


def test_limits_hold_before_anything_is_unpacked(archive, other, tmp_path, monkeypatch):
    path = archive[2]
    with pytest.raises(ValueError, match=r"its image has 1920 voxels; at most 1919 are allowed"):
        import_(other, path, "bob", voxels=1919)
    with pytest.raises(ValueError, match="it unpacks to"):
        import_(other, path, "bob", limit=4000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", b" " * (100 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(ValueError, match=r"its manifest\.json has 104857600 bytes"):
        import_(other, bomb, "bob")
    monkeypatch.setattr(transfer, "SMALL_BYTES", 10)
    with pytest.raises(ValueError, match=r"at most \d+ are allowed"):
        import_(other, rewritten(path, tmp_path / "a.zip", **with_array(npy(np.zeros(60_000, np.uint8)))), "bob")
    assert empty(other)
    assert import_(other, archive[2], "bob", voxels=1920, limit=1 << 20)


def test_a_member_never_yields_more_than_it_declared(archive, other, tmp_path):
    """The table of contents says 100 bytes, the data are a gigabyte."""
    content = bytearray(rewritten(archive[2], tmp_path / "a.zip", compression=zipfile.ZIP_DEFLATED).read_bytes())
    where = content.index(b"PK\x01\x02")
    while where >= 0:
        struct.pack_into("<I", content, where + 24, 100)
        where = content.find(b"PK\x01\x02", where + 4)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="no exported session"):
        import_(other, tmp_path / "a.zip", "bob")
    assert empty(other)


def test_a_huge_table_of_contents_is_not_read(archive, other, tmp_path):
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        size = 64 << 20
        file.truncate(size)
        file.seek(size)
        file.write(struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 0, 0))
    with pytest.raises(ValueError, match="its table of contents is too large"):
        import_(other, path, "bob")


def test_a_table_of_contents_that_leads_nowhere_is_refused(archive, other, tmp_path):
    content = bytearray(archive[2].read_bytes())
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<I", content, end + 16, struct.unpack_from("<I", content, end + 16)[0] + 256)
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="leads nowhere"):
        import_(other, tmp_path / "a.zip", "bob")


def test_an_encrypted_file_is_refused(archive, other, tmp_path):
    content = bytearray(archive[2].read_bytes())
    where = content.index(b"PK\x01\x02")
    content[where + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="encrypted"):
        import_(other, tmp_path / "a.zip", "bob")
    assert empty(other)


def test_nothing_above_the_quota(archive, tmp_path):
    with contextlib.closing(Store(tmp_path, quota=5000)) as store:
        with pytest.raises(StorageFull):
            import_(store, archive[2], "bob")
        assert empty(store)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_refused_or_come_back_whole(archive, other, tmp_path, data):
    store, id, path = archive
    content = bytearray(path.read_bytes())
    middle = st.integers(0, len(content) - 1)
    tail = st.integers(len(content) - 1200, len(content) - 1)  # where the table of contents is
    for k in data.draw(st.lists(st.one_of(middle, tail), min_size=1, max_size=4)):
        content[k] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(middle)]
    (tmp_path / "a.zip").write_bytes(content)
    try:
        new = import_(other, tmp_path / "a.zip", "bob", limit=1 << 24)
    except ValueError:
        assert empty(other)
    else:
        assert other.history(new) == store.history(id)
        other.delete(new)
        other.forget_image(other.images("bob")[0].key, "bob")


# ---- verify


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


def test_members_that_are_the_same_bytes_are_refused(archive, other, tmp_path):
    """Else a few kB unpack to as much as is allowed."""
    content = bytearray(archive[2].read_bytes())
    with zipfile.ZipFile(archive[2]) as file:
        first, second = file.infolist()[-2:]
        table = content.rindex(second.filename.encode()) - 46
    assert content[table : table + 4] == b"PK\1\2"
    content[table + 42 : table + 46] = first.header_offset.to_bytes(4, "little")
    (tmp_path / "overlapping.zip").write_bytes(content)
    with pytest.raises(ValueError, match="its members overlap"):
        import_(other, tmp_path / "overlapping.zip", "bob")
    assert empty(other)
