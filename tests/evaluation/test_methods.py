from dataclasses import replace

import numpy as np
import pytest

from bifseg.evaluation.methods import FAMILY, METHODS, check_methods, make, settings_of
from bifseg.networks.checkpoint import load_model
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom


@pytest.fixture(scope="module")
def case():
    image, labels = phantom(seed=3, shape=(48, 48, 24))
    truth = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    z = int(truth.sum((0, 1)).argmax())
    where = np.argwhere(truth[:, :, z])
    (x0, y0), (x1, y1) = where.min(0), where.max(0) + 1
    session = Session(image)
    session.box(((x0, x1), (y0, y1), z), refine="none")
    return image, session.state.objects["object 1"].box


def test_names_are_checked():
    check_methods(list(METHODS))
    for names in (["bifseg", "magic"], []):
        with pytest.raises(ValueError, match="known are bifseg, bifseg-scribbles, bifseg-w, bifseg-e, crf, cut"):
            check_methods(names)


@pytest.mark.parametrize("name", [n for n in METHODS if n != "nninteractive"])
def test_every_method_is_made_and_segments(name, case):
    image, box = case
    model = load_model("fcn2d") if METHODS[name].learns else None
    settings = settings_of(name, model)
    assert settings
    method = make(name, model, seed=1)
    if getattr(method, "begins_with", "box") == "scribbles":
        assert not method.start(image, box).any()
        labels = np.zeros(image.shape, np.uint8)
        labels[box.start[0] + 4, box.start[1] + 4, box.start[2]] = 1
        labels[box.stop[0] - 2, box.stop[1] - 2, box.start[2]] = 2
        mask = method.refine(labels)
        assert mask[labels == 1].all()
        assert not mask[labels == 2].any()
    else:
        mask = method.start(image, box)
    assert mask.shape == image.shape
    assert mask.dtype == bool
    assert mask.any()


def test_ablations_differ_in_what_they_should():
    model = load_model("fcn2d")
    full = settings_of("bifseg", model)

    def changed(name):
        other = settings_of(name, model)
        return {key for key in full if full[key] != other[key]}

    assert changed("bifseg-w") == {"weighted"}
    assert changed("bifseg-e") == {"evidence"}
    assert changed("cut") == {"rounds", "refine"}
    assert changed("crf") == {"rounds", "refine", "evidence"}  # the paper's: a scribble is a constraint, no more
    assert all(METHODS[name].learns for name in FAMILY)


def test_settings_tell_which_other_network_is_asked(monkeypatch):
    volumes, pictures = load_model("multiscale3d"), load_model("fcn2d")
    assert settings_of("bifseg", volumes)["slices_by"] == load_model("default", 2).sha256
    assert "slices_by" not in settings_of("bifseg", pictures)
    before = settings_of("crf", volumes)
    monkeypatch.setattr("bifseg.evaluation.methods.default_sha256", lambda dimension: f"another of {dimension}D")
    after = settings_of("crf", volumes)
    assert {key for key in before if before[key] != after[key]} == {"slices_by"}


def test_the_family_begins_from_one_mask_and_refines_that(case):
    image, box = case
    model = load_model("fcn2d")
    family = {name: make(name, model) for name in FAMILY}
    starts = {name: method.start(image, box) for name, method in family.items()}
    assert not np.array_equal(starts["bifseg"], starts["network"])
    for method in family.values():
        assert np.array_equal(method.initial, starts["network"])
    labels = np.zeros(image.shape, np.uint8)
    labels[box.start[0] + 3, box.start[1] + 3, box.start[2]] = 2
    session = Session(image, model, METHODS["bifseg"].settings(model))
    session.box(box, refine="none")
    assert np.array_equal(family["bifseg"].refine(labels), session.scribble(labels))


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="needs a network"):
        make("bifseg")
    with pytest.raises(ValueError, match="needs a server"):
        make("nninteractive")


def test_settings_tell_of_an_rnet_only_where_there_is_one():
    """Rows of before there was one have to be found again."""
    model = load_model("fcn2d")
    assert "rnet" not in settings_of("bifseg", model)
    heard = replace(model, tuned={**model.tuned, "rnet": 0.5})
    assert settings_of("bifseg", heard)["rnet"] == 0.5
    assert "rnet" not in settings_of("crf", heard)  # there a scribble is a constraint, no more


def test_who_begins_with_scribbles_has_the_opening_in_the_nearness():
    model = load_model("default", 3)
    boxed, scribbled = (settings_of(name, model) for name in ("bifseg", "bifseg-scribbles"))
    assert "opening" not in boxed
    assert "opening" not in scribbled
    differ = {name for name in scribbled if boxed.get(name) != scribbled[name]}
    assert differ == {"nearness", "handicap"}
    assert make("bifseg-scribbles", model).begins_with == METHODS["bifseg-scribbles"].begins_with == "scribbles"
