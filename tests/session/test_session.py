"""What a session takes and gives: images, arrays, presets and models; maps on the grid of the scan."""

import tracemalloc

import numpy as np
import pytest
from phantom_sessions import BOX, PLANE, QUICK, inside_box

import bifseg
from bifseg import Box, Image, Session, Stroke
from bifseg.evaluation.methods import FromNetwork
from bifseg.method.parameters import preset


def test_an_interaction_needs_no_memory_for_the_scan(scan):
    image, _ = scan
    large = np.zeros((400, 400, 300), np.uint8, order="F")  # 48 MB
    large[: image.shape[0], : image.shape[1], : image.shape[2]] = image.array // 8
    session = Session(Image(large), parameters=QUICK[3])
    session.box(BOX, refine="crf")
    strokes = [Stroke([(12, 12, 8), (18, 14, 8)], label=1, radius=2), Stroke([(6, 7, 8)], label=2)]
    tracemalloc.start()
    for refine in ("none", "crf", "auto"):
        assert list(session.rounds("scribble", strokes, refine=refine)) or refine == "none"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < large.nbytes / 2


def test_maps_lie_on_the_scans_grid_and_mean_what_they_say(scan):
    image, _ = scan
    session = Session(image, parameters=QUICK[3])
    session.box(BOX, refine="crf")
    assert session.weight_map() is None
    labels = np.zeros(image.shape, np.uint8)
    labels[10, 10, 10], labels[20, 20, 10] = 1, 2
    session.scribble(labels)
    probability, uncertainty, weights = session.probability(), session.uncertainty(), session.weight_map()
    outside = ~inside_box(Box.of(BOX, image.shape), image.shape)
    for array in (probability, uncertainty, weights):
        assert array.shape == image.shape
        assert array.dtype == np.float32
        assert (array[outside] == 0).all()
    assert probability[10, 10, 10] == 1
    assert probability[20, 20, 10] == 0
    assert uncertainty[10, 10, 10] == uncertainty[20, 20, 10] == 0
    p = probability[15, 15, 5]
    assert uncertainty[15, 15, 5] == pytest.approx(-p * np.log2(p) - (1 - p) * np.log2(1 - p), abs=1e-4)
    assert 0 <= uncertainty.min() <= uncertainty.max() <= 1


def test_a_flat_image_and_a_2d_array_work_alike(scan):
    image, _ = scan
    plane = image.array[:, :, 10]
    by_array = Session(plane, parameters=QUICK[2])
    mask = by_array.box(((5, 30), (6, 30)))
    assert mask.shape == (40, 36, 1)
    np.testing.assert_array_equal(mask[:, :, 0], Session(image, parameters=QUICK[2]).box(PLANE)[:, :, 10])
    labels = np.zeros((40, 36), np.uint8)
    labels[10, 10] = 2
    assert not by_array.scribble(labels)[10, 10, 0]


def test_the_paper_preset_models_and_methods_are_selectable(scan):
    image, _ = scan
    session = Session(image, model="multiscale2d", parameters="paper")
    session.box(PLANE)
    report = session.report()["objects"][0]
    assert report["parameters"] == preset("paper", 2).as_dict()
    assert len(report["rounds"]) == 5
    with pytest.raises(ValueError, match=r"is for 2D boxes; .* is 3D"):
        session.box(BOX)
    method = FromNetwork("crf")
    mask = method.start(image, Box.of(PLANE, image.shape))
    assert mask.any()
    assert not (method.refine(np.where(mask, 2, 0).astype(np.uint8)) & mask).any()


def test_the_public_names_are_exactly_these():
    assert bifseg.__all__ == [
        "Box", "Image", "Parameters", "Session", "Stroke", "load_model", "read_image", "write_image",
    ]  # fmt: skip
    for name in bifseg.__all__:
        assert getattr(bifseg, name).__doc__
