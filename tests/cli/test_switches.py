"""A preset but for some values: in Python, on the command line, in a store and over its archive."""

import json

import numpy as np
import pytest

from bifseg import Image, Session
from bifseg.cli import main
from bifseg.errors import InvalidInput
from bifseg.io.images import write_image
from bifseg.method.parameters import FAST, chosen, parsed
from bifseg.storage import Store
from bifseg.storage.durable import DurableSession
from bifseg.storage.transfer import export, import_

OFF = {"full_resolution": False, "fill_holes": 0, "drop_islands": 0}
BOX = "4:28,4:28,2:14"


def scan():
    x, y, z = np.ogrid[:32, :32, :16]
    ball = (x - 16) ** 2 + (y - 16) ** 2 + (2 * (z - 8)) ** 2 <= 64
    return Image((100.0 + 200 * ball + np.random.default_rng(0).normal(0, 10, ball.shape)).astype(np.float32))


def used(session):
    values = session.report()["objects"][0]["parameters"]
    return {name: values[name] for name in OFF}


def test_a_preset_keeps_what_is_not_changed():
    assert chosen({"preset": "fast", **OFF}, 3) == FAST[3].but(**OFF)
    assert chosen({"preset": "fast"}, 2, {"lam": 9.0}).lam == 9.0
    assert chosen({"preset": "fast", "lam": 1.0}, 2, {"lam": 9.0}).lam == 1.0
    for wrong in ({"preset": "slow"}, {"preset": "fast", "wish": 1}, {"preset": "fast", "fill_holes": 2}):
        with pytest.raises(InvalidInput):
            Session(scan(), parameters=wrong)


def test_assignments_are_parsed_by_the_kind_of_their_parameter():
    assert parsed(["fill_holes=0", "rounds = 2", "full_resolution=False"]) == {
        "fill_holes": 0.0, "rounds": 2, "full_resolution": False,
    }  # fmt: skip
    for text, words in (
        ("fill_holes", "form NAME=VALUE"), ("wish=1", "Unknown parameter wish"), ("rounds=1.5", "a whole number"),
        ("full_resolution=maybe", "0 or 1"), ("lam=x", "a number"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=words):
            parsed([text])


def test_the_switches_reach_both_dimensions_of_one_session():
    session = Session(scan(), parameters={"preset": "fast", **OFF})
    session.box(((4, 28), (4, 28), 8))
    session.box(((4, 28), (4, 28), (2, 14)))
    for one in session.report()["objects"]:
        assert {name: one["parameters"][name] for name in OFF} == OFF


def test_a_stored_session_and_its_archive_keep_them(store, tmp_path):
    key = store.add_image(scan(), "ann")
    id = store.create(key, "ann", parameters={"preset": "fast", **OFF})
    for _ in DurableSession(store, id).apply({"kind": "box", "box": BOX}):
        pass
    export(store, id, tmp_path / "session.zip")
    other = Store(tmp_path / "other")
    again = import_(other, tmp_path / "session.zip", "bob")
    assert other.session(again).parameters == {"preset": "fast", **OFF}
    assert used(DurableSession(other, again)._session) == OFF
    with pytest.raises(InvalidInput, match="wish"):
        store.create(key, "ann", parameters={"preset": "fast", "wish": 1})
    other.close()


def test_the_command_line_sets_the_switches(tmp_path, capsys):
    write_image(tmp_path / "scan.nii.gz", scan().array, scan())
    arguments = ["segment", str(tmp_path / "scan.nii.gz"), "--box", BOX, "-o", str(tmp_path / "mask.nii.gz"), "--json"]
    assert main([*arguments, "--set", "fill_holes=0", "--set", "full_resolution=0"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["command"]["set"] == {"fill_holes": 0.0, "full_resolution": False}
    assert report["objects"][0]["parameters"]["fill_holes"] == 0
    assert report["objects"][0]["parameters"]["drop_islands"] == FAST[3].drop_islands


def test_the_api_passes_them_on_as_they_are_given():
    images = pytest.importorskip("bifseg.server.api.bodies.images")
    told = images.NewSession(image="key", parameters={"preset": "fast", **OFF}).model_dump(exclude_unset=True)
    assert told["parameters"] == {"preset": "fast", **OFF}
    told = images.NewSession(image="key", parameters={"lam": 2}).model_dump(exclude_unset=True)
    assert told["parameters"] == {"lam": 2}
