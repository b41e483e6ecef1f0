import json
import stat

import numpy as np
import pytest
from durable_sessions import BOX, SCAN, SCRIBBLE, do

from bifseg.cli import main
from bifseg.io.images import read_labels
from bifseg.server.access.tokens import Tokens
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def id(folder):
    store = Store(folder)
    id = store.create(store.add_image(SCAN, "ann"), "ann", title="left kidney")
    session = DurableSession(store, id)
    do(session, BOX)
    do(session, SCRIBBLE)
    store.close()
    return id


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_list_and_show(capsys, folder, id):
    code, out, _ = run(capsys, "sessions", "list", "--data", folder)
    assert code == 0
    assert all(word in out for word in (id, "ann", "left kidney", "object 1"))
    _, out, _ = run(capsys, "sessions", "list", "--data", folder, "--user", "bob", "--json")
    assert json.loads(out) == []
    _, out, _ = run(capsys, "sessions", "show", id, "--data", folder)
    assert [line.split()[3] for line in out.splitlines() if line.strip()[:1] in ("1", "2")] == ["box", "scribble"]
    _, out, _ = run(capsys, "sessions", "show", id, "--data", folder, "--json")
    assert [entry["kind"] for entry in json.loads(out)["entries"]] == ["box", "scribble"]


def test_no_code_of_a_title_reaches_the_terminal(capsys, tmp_path):
    store = Store(tmp_path)
    store.create(store.add_image(SCAN, "ann"), "ann", title="kid\x1b]0;ney\x07\nnew [bold]line")
    store.close()
    _, out, _ = run(capsys, "sessions", "list", "--data", tmp_path)
    assert "kid?]0;ney??new [bold]line" in out


def test_replay_says_that_it_is_the_same(capsys, folder, id):
    code, out, _ = run(capsys, "sessions", "replay", id, "--data", folder, "--json")
    assert code == 0
    assert [row["same"] for row in json.loads(out)] == [True, True]
    code, out, _ = run(capsys, "sessions", "replay", id, "--data", folder, "--method", "crf")
    assert code == 0
    assert "Dice" in out


def test_export_import_delete(capsys, folder, id, tmp_path):
    file, other = tmp_path / "a.bifseg", tmp_path / "other"
    assert run(capsys, "sessions", "export", id, "--data", folder, "-o", file)[0] == 0
    code, out, _ = run(capsys, "sessions", "import", file, "--data", other, "--user", "bob")
    new = out.strip()
    assert code == 0
    one, two = Store(folder), Store(other)
    np.testing.assert_array_equal(one.state(id).labels(SCAN.shape), two.state(new).labels(SCAN.shape))
    assert two.session(new).owner == "bob"
    one.close()
    two.close()
    assert run(capsys, "sessions", "verify", "--data", other)[1] == "1 sessions are whole\n"
    assert run(capsys, "sessions", "delete", new, "--data", other)[0] == 0
    code, out, _ = run(capsys, "sessions", "sweep", "--data", other, "--keep-days", "0.5")
    assert (code, out) == (0, "deleted 0 sessions, 0 images, 0 other contents\n")


def test_verify_finds_what_is_wrong(capsys, folder, id, tmp_path):
    file, other = tmp_path / "a.bifseg", tmp_path / "other"
    run(capsys, "sessions", "export", id, "--data", folder, "-o", file)
    run(capsys, "sessions", "import", file, "--data", other)
    store = Store(other)
    sha = next(iter(store.blobs))
    store.blobs.path(sha).write_bytes(b"changed")
    store.close()
    code, out, _ = run(capsys, "sessions", "verify", "--data", other)
    assert code == 1
    assert out == f"The blob {sha} is missing or was changed.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["list"], "Missing option"),
        (["list", "--data", "nowhere"], "nowhere holds no store"),
        (["show", "x", "--data", "DATA"], "There is no session 'x'"),
        (["delete", "x", "--data", "DATA"], "There is no session 'x'"),
        (["replay", "ID", "--data", "DATA", "--method", "magic"], "Unknown method 'magic'"),
        (["import", "missing.bifseg", "--data", "DATA"], "does not exist"),
        (["sweep", "--data", "DATA", "--keep-days", "-1"], "must be above 0"),
    ],
)
def test_every_failure_is_one_sentence(capsys, folder, id, arguments, words):
    arguments = [{"DATA": folder, "ID": id}.get(a, a) for a in arguments]
    code, out, err = run(capsys, "sessions", *arguments)
    assert code == 2
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


def test_tokens_are_made_listed_and_revoked(capsys, tmp_path):
    code, out, err = run(capsys, "token", "create", "ann", "--data", tmp_path)
    token = out.strip()
    assert code == 0
    assert token not in err
    store = Store(tmp_path)
    assert Tokens(store).user(token) == "ann"
    run(capsys, "token", "create", "bob", "--data", tmp_path, "--days", "1")
    _, out, _ = run(capsys, "token", "list", "--data", tmp_path)
    assert token.split("_", 2)[2] not in out
    assert [line.split()[1] for line in out.splitlines()] == ["ann", "bob"]
    assert out.count("valid") == 2
    code, _, err = run(capsys, "token", "revoke", "ann", "--data", tmp_path)
    assert (code, err) == (0, "bifseg: 1 revoked\n")
    assert Tokens(store).user(token) is None
    assert "revoked" in run(capsys, "token", "list", "--data", tmp_path)[1]
    store.close()
    assert b"bifseg_" not in (tmp_path / "store.sqlite").read_bytes()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    for arguments, words in [
        (("revoke", "carl", "--data", tmp_path), "no live token"),
        (("create", "an n", "--data", tmp_path), "a name has up to 64"),
        (("create", "ann", "--data", tmp_path, "--days", "-1"), "above 0"),
        (("list", "--data", tmp_path / "no"), "holds no store"),
    ]:
        code, out, err = run(capsys, "token", *arguments)
        assert (code, out) == (2, "")
        assert words in err


def test_objects_of_a_session_are_exported_by_the_files_ending(capsys, folder, id, tmp_path):
    assert run(capsys, "sessions", "export", id, "--data", folder, "-o", tmp_path / "a.nii.gz")[0] == 0
    store = Store(folder)
    image = store.image(store.session(id).image)
    labels = store.load(store.history(id).state).labels(image.shape)
    store.close()
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz", image), labels)
    pytest.importorskip("skimage")
    assert run(capsys, "sessions", "export", id, "--data", folder, "-o", tmp_path / "a.stl")[0] == 0
    assert (tmp_path / "a.stl").stat().st_size > 1000
    code, _, said = run(capsys, "sessions", "export", id, "--data", folder, "-o", tmp_path / "a.rtstruct.dcm")
    assert code == 2
    assert "came from none" in said
