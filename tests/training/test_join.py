"""Three networks become one model: by the function, and by the command."""

import pytest

from bifseg.cli import main as bifseg
from bifseg.errors import InvalidInput
from bifseg.networks import build
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.training.join import join

SETTINGS = {"dimension": 3, "widths": [8, 16, 24], "context": 4}


@pytest.fixture(scope="module")
def refinement():
    return Model("refinement", build("multiscale", **SETTINGS), "multiscale", SETTINGS, 48, card={"data": ["scenes"]})


def test_the_joined_model_is_of_the_refinements_grid_and_tells_of_its_parts(refinement):
    model = join(load_model("multiscale3d"), load_model("multiscale2d"), refinement)
    assert (model.dimension, model.size) == (3, 48)
    assert model.card["parts"]["volume"]["sha256"] == load_model("multiscale3d").sha256
    assert model.card["parts"]["plane"]["name"] == "multiscale2d"
    assert model.card["parts"]["refinement"]["data"] == ["scenes"]
    assert model.card["data"] == f"{load_model('multiscale3d').card['data']}; scenes"  # both shipped ones learnt alike


def test_grids_that_differ_are_refused(refinement):
    other = Model("other", refinement.network, "multiscale", SETTINGS, 32)
    with pytest.raises(InvalidInput, match="grid of 48 and other on one of 32"):
        join(load_model("multiscale3d"), load_model("fcn2d"), other)


def test_the_command(tmp_path, refinement, capsys):
    path, output = str(tmp_path / "refinement.safetensors"), tmp_path / "joined.safetensors"
    save_model(refinement, path)
    assert bifseg(["join", "multiscale3d", "multiscale2d", path, "-o", str(output)]) == 0
    assert load_model(output, 3).architecture == "two-stage"
    assert bifseg(["join", "multiscale3d", "pcnet", path, "-o", str(output)]) == 2
    assert "The model pcnet is for 3D boxes, and the box is 2D." in capsys.readouterr().err
    assert bifseg(["join", "multiscale3d", "fcn2d", "pcnet", "-o", str(output)]) == 2
    assert "that does" in capsys.readouterr().err
