"""Scribbles on the command line: they correct an object, or begin it."""

import json

import numpy as np
import pytest
from label_maps import labels_like

from bifseg.io.images import read_image
from bifseg.method.parameters import preset

pytestmark = pytest.mark.usefixtures("coarse")
PLANE = "4:28,6:30,8"


def test_scribbles_are_obeyed_and_json_is_printed(scan, out, run):
    drawn = labels_like(scan, out / "s.nii.gz", _1=np.s_[8:14, 10, 8], _2=np.s_[20:26, 26, 8])
    said = run("segment", scan, "--box", PLANE, "--scribbles", drawn, "-o", out / "m.mha", "--json")
    mask, labels = read_image(out / "m.mha").array, read_image(drawn).array
    assert mask[labels == 1].all()
    assert not mask[labels == 2].any()
    first, second = json.loads(said)["objects"][0]["interactions"]
    assert (first["with"], second["with"]) == ("box", "scribbles")
    assert len(second["rounds"]) == preset("fast", 2).rounds + 1
    assert all("loss_after" in record for record in second["rounds"][:-1])


def test_scribbles_alone_begin_an_object(scan, out, run, refused):
    loop = {"_2": np.s_[4:28, 6, 8], "_1": np.s_[8:14, 12, 8]}
    drawn = labels_like(scan, out / "s.nii.gz", **loop)
    said = run("segment", scan, "--scribbles", drawn, "-o", out / "m.mha", "--json")
    mask, labels = read_image(out / "m.mha").array, read_image(drawn).array
    assert mask[labels == 1].all()
    assert not mask[labels == 2].any()
    [about] = json.loads(said)["objects"]
    assert about["box"].startswith("4:28,6:")
    assert [each["with"] for each in about["interactions"]] == ["first scribbles"]
    empty = labels_like(scan, out / "none.nii")
    assert "one is in it" in refused("segment", scan, "--scribbles", empty, "-o", out / "e.mha")
    assert not (out / "e.mha").exists()
