import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from bifseg.errors import InvalidInput
from bifseg.io.atomic import write_atomically
from bifseg.networks import build
from bifseg.networks.checkpoint import SHIPPED, Model, load_model, save_model, shipped
from bifseg.networks.rnet import RNet


@pytest.fixture
def model():
    torch.manual_seed(3)
    settings = {"dimension": 2, "widths": [4, 8, 8]}
    network = build("multiscale", **settings)
    return Model("small", network, "multiscale", settings, size=32, tuned={"lam": 2.0}, card={"data": "none"})


def test_a_model_comes_back_as_it_was_saved(tmp_path, model):
    save_model(model, tmp_path / "m.safetensors")
    back = load_model(tmp_path / "m.safetensors")
    assert (back.size, back.tuned, back.card, back.architecture) == (32, {"lam": 2.0}, {"data": "none"}, "multiscale")
    assert len(back.sha256) == 64
    for name, tensor in model.network.state_dict().items():
        torch.testing.assert_close(back.network.state_dict()[name], tensor, rtol=0, atol=0)
    image = torch.randn(1, 1, 20, 24)
    torch.testing.assert_close(back.network(image), model.network.eval()(image))


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_load_are_small_and_say_what_they_are(name):
    model = load_model(name)
    assert model.card["licence"] == "Apache-2.0"
    assert "synthetic" in model.card["data"]
    assert not any(p.requires_grad for p in model.network.parameters())
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 12 * 2**20


def test_both_defaults_are_shipped():
    assert load_model("default", 2).dimension == 2
    assert load_model("default", 3).dimension == 3


def edited(path, tensors=None, **header):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | header
    save_file(tensors or load_file(path), path, metadata)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-100]), "damaged"),
        (lambda p: p.write_bytes(b""), "damaged"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "damaged"),
        (lambda p: save_file({"a": torch.zeros(2)}, p), "not a bifseg model"),
        (lambda p: edited(p, version="99"), "version 99"),
        (lambda p: edited(p, settings=json.dumps({"dimension": 2, "widths": [4, 8, 16]})), "do not fit"),
        (lambda p: edited(p, settings="{"), "damaged"),
        (lambda p: edited(p, size="100000"), "working size"),
        (lambda p: edited(p, {k: v * np.nan for k, v in load_file(p).items()}), "not finite"),
    ],
)
def test_damaged_files_are_refused_in_one_sentence(tmp_path, model, damage, sentence):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    damage(path)
    with pytest.raises(ValueError, match=sentence) as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_a_header_that_asks_for_a_huge_network_costs_no_memory(tmp_path, model):
    resource = pytest.importorskip("resource")
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    edited(path, settings=json.dumps({"dimension": 2, "widths": [30_000, 30_000, 30_000]}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="do not fit"):
        load_model(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_unknown_names_list_the_known_ones_and_dimensions_must_agree(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"known are default, .*multiscale2d"):
        load_model("resnet")
    with pytest.raises(FileNotFoundError, match="no model file"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="2D boxes, and the box is 3D"):
        load_model("multiscale2d", 3)


def test_a_shipped_model_travels_by_name_and_any_other_whole(model, tmp_path):
    shipped = replace(load_model("default", 2), size=32, tuned={"lam": 2.0})
    data = pickle.dumps(shipped)
    assert len(data) < 100_000
    back = pickle.loads(data)
    assert (back.network is shipped.network, back.size, back.tuned) == (True, 32, {"lam": 2.0})
    path = tmp_path / "own.safetensors"
    save_model(model, path)
    own = pickle.loads(pickle.dumps(load_model(path)))
    assert own.sha256 == load_model(path).sha256
    for name, tensor in load_model(path).network.state_dict().items():
        assert torch.equal(own.network.state_dict()[name], tensor)


def test_a_mean_shape_is_kept_with_the_weights(model, tmp_path):
    d, path = model.dimension, tmp_path / "own.safetensors"
    shape = np.random.default_rng(0).normal(size=(6,) * d).astype(np.float32)
    save_model(replace(model, shape=shape), path)
    back = load_model(path)
    assert np.array_equal(back.shape, shape)
    assert back.network.state_dict().keys() == model.network.state_dict().keys()
    assert np.array_equal(pickle.loads(pickle.dumps(replace(load_model("default", 2), shape=shape))).shape, shape)
    for wrong in (shape[0], np.full_like(shape, np.nan), shape[:0]):
        save_model(replace(model, shape=wrong), path)
        with pytest.raises(InvalidInput, match="is damaged"):
            load_model(path)


def test_an_rnet_is_kept_beside_the_trunk(model, tmp_path):
    torch.manual_seed(0)
    rnet = RNet(2, model.network.channels, widths=[8, 8], blocks=[1])
    path = tmp_path / "own.safetensors"
    save_model(replace(model, rnet=rnet), path)
    back = load_model(path)
    assert back.rnet.settings == rnet.settings
    assert not any(weight.requires_grad for weight in back.rnet.parameters())
    for one in (back, pickle.loads(pickle.dumps(back))):
        for name, tensor in rnet.state_dict().items():
            assert torch.equal(one.rnet.state_dict()[name], tensor)
    assert back.network.state_dict().keys() == model.network.state_dict().keys()
    for name in ("rnet.answer.2.bias", "classifier.0.bias"):
        tensors = load_file(path)
        tensors[name] = torch.full_like(tensors[name], torch.nan)
        with safe_open(path, framework="pt") as file:
            save_file(tensors, tmp_path / "nan.safetensors", file.metadata())
        with pytest.raises(InvalidInput, match="are not finite"):
            load_model(tmp_path / "nan.safetensors")
        del tensors[name]
        with safe_open(path, framework="pt") as file:
            save_file(tensors, tmp_path / "less.safetensors", file.metadata())
        with pytest.raises(InvalidInput, match="do not fit"):
            load_model(tmp_path / "less.safetensors")


def test_an_rnet_that_does_not_fit_its_trunk_is_refused(model, tmp_path):
    for wrong in (RNet(2, 3, widths=[8, 8], blocks=[1]), RNet(3, model.network.channels, widths=[8, 8], blocks=[1])):
        save_model(replace(model, rnet=wrong), tmp_path / "own.safetensors")
        with pytest.raises(InvalidInput, match="R-Net"):
            load_model(tmp_path / "own.safetensors")
    with safe_open(tmp_path / "own.safetensors", framework="pt") as file:
        told = file.metadata()
    for wrong in ("{", "[]", "{}", '{"widths": 3}', '{"dimension": 2, "features": 1, "widths": [0, 0], "blocks": [0]}'):
        save_file(load_file(tmp_path / "own.safetensors"), tmp_path / "other.safetensors", {**told, "rnet": wrong})
        with pytest.raises(InvalidInput, match="R-Net"):
            load_model(tmp_path / "other.safetensors")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match="Cannot write"):
        write_atomically(tmp_path / "missing" / "file", b"new")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
