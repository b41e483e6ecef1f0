from dataclasses import replace

import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.method import stack
from bifseg.method.crop import Crop
from bifseg.method.finetune import fine_tune
from bifseg.method.parameters import FAST, preset
from bifseg.method.stack import MOST, beside_slices, is_stack, share_of_slices, slices_log_odds
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import BACKGROUND, FOREGROUND, Box
from bifseg.session.refine import adapt, begin

THICK = (1.0, 1.0, 6.0)


@pytest.fixture(scope="module")
def plane():
    return load_model("fcn2d", 2)


def cylinder(count=7):
    """A bright disc in every slice of a noisy stack."""
    x, y = np.mgrid[:40, :46]
    disc = np.hypot(x - 19, y - 22) < 14
    noise = np.random.default_rng(0).normal(0, 0.1, (*disc.shape, count))
    return (disc[..., None] + noise).astype(np.float32)


@pytest.mark.parametrize(
    ("spacing", "stack"),
    [((1, 1, 2), True), ((2, 1, 1), True), ((1, 1, 1.99), False), ((1, 3, 3), False), ((1, 1), False), ((1, 9), False)],
)
def test_a_stack_has_slices_twice_as_thick_as_pixels_are_wide(spacing, stack):
    assert is_stack(spacing) is stack


def test_each_slice_is_seen_as_the_2d_network_sees_a_picture(plane):
    volume = np.repeat(cylinder(1), 5, axis=2)  # the same picture in every slice: the same answer
    answer = slices_log_odds(volume, THICK, volume.shape, plane)
    crop = Crop(Image(volume, spacing=THICK), Box((0, 0, 0), (40, 46, 1)), replace(plane, flips=False))
    alone = crop.map_in_box(crop.features().log_odds(plane.network.classifier).numpy().reshape(crop.shape))
    agreement = np.mean((answer[..., :1] > 0) == (alone > 0))
    assert np.ptp(answer, axis=2).max() < 1e-3
    assert agreement > 0.99


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_thick_axis_may_be_any(plane, axis):
    volume = cylinder()
    expected = slices_log_odds(volume, THICK, (12, 13, 9), plane)
    turned = np.moveaxis(volume, 2, axis)
    spacing, shape = [1.0, 1.0], [12, 13]
    spacing.insert(axis, 6.0)
    shape.insert(axis, 9)
    answer = slices_log_odds(turned, spacing, tuple(shape), plane)
    np.testing.assert_allclose(np.moveaxis(answer, axis, 2), expected, atol=1e-3)
    assert answer.dtype == np.float32


def test_of_many_slices_some_are_looked_at(plane, monkeypatch):
    looked = []
    write = stack.write_features
    monkeypatch.setattr(stack, "write_features", lambda *a, **how: looked.append(len(a[1])) or write(*a, **how))
    answer = slices_log_odds(cylinder(60), THICK, (20, 23, 60), plane)
    assert (sum(looked), answer.shape) == (MOST, (20, 23, 60))


def test_slices_count_as_far_as_scribbles_agree():
    answers = np.full((4, 4, 4), 2.0, np.float32)
    answers[2:] = -2
    scribbles = np.zeros(answers.shape, np.uint8)
    assert share_of_slices(answers, scribbles, 0.5) == 0.5
    scribbles[0, 0], scribbles[3, 3] = FOREGROUND, BACKGROUND
    assert share_of_slices(answers, scribbles, 0.5) == 0.5  # right everywhere
    scribbles[0, 1, :2] = BACKGROUND  # two of six are wrong
    assert share_of_slices(answers, scribbles, 0.5) == pytest.approx(0.5 * (1 + 4 / 6) / 2)
    scribbles[:] = 0
    scribbles[0] = BACKGROUND
    assert share_of_slices(answers, scribbles, 0.5) == 0  # wrong everywhere


def test_shares_are_between_the_two():
    p, answers = np.float32([0.2, 0.7, 0.0, 1.0]), np.float32([1.5, -0.5, 900.0, -900.0])
    np.testing.assert_allclose(beside_slices(p, answers, 0.0)[:2], p[:2], rtol=1e-5)
    np.testing.assert_allclose(beside_slices(p, answers, 1.0), 1 / (1 + np.exp(-answers.clip(-30, 30))), rtol=1e-5)
    assert np.isfinite(beside_slices(p, answers, 0.5)).all()


def crop_of(model, spacing):
    array = np.pad(cylinder(), ((6, 6), (6, 6), (2, 2)))
    return Crop(Image(array, spacing=spacing), Box((4, 4, 1), (48, 54, 10)), model)


@pytest.fixture(scope="module")
def stacked():
    model = load_model("multiscale3d", 3)
    return model, crop_of(model, THICK)


def test_only_stacks_have_slices_and_the_default_network_alone_asks(stacked):
    model, crop = stacked
    assert crop.slices.shape == crop.shape
    assert crop_of(model, (1, 1, 1.5)).slices is None
    shares = {name: preset("fast", 3, load_model(name, 3).tuned).slices for name in ("multiscale3d", "pcnet")}
    assert shares == {"multiscale3d": 0.5, "pcnet": 0.0}


def test_a_session_uses_them_and_scribbles_hold(stacked):
    model, crop = stacked
    with_them, without = preset("fast", 3, model.tuned), FAST[3]
    first = {p.slices: begin("object", crop, model, p).grid_probability for p in (with_them, without)}
    np.testing.assert_array_equal(first[0.5], beside_slices(first[0.0], crop.slices, 0.5))
    segment = begin("object", crop, model, with_them)
    scribbles = segment.scribbles.copy()
    scribbles[20:24, 24, 4], scribbles[2:5, 3, 5] = BACKGROUND, FOREGROUND  # against all that the networks see
    locked = np.zeros(crop.box.shape, bool)
    rounds = adapt(replace(segment, scribbles=scribbles), crop, model, refine="auto", locked=locked)
    try:
        while True:
            next(rounds)
    except StopIteration as end:
        mask = end.value.mask
    assert not mask[scribbles == BACKGROUND].any()
    assert mask[scribbles == FOREGROUND].all()


def test_without_a_share_nobody_looks(stacked, monkeypatch):
    model, crop = stacked
    monkeypatch.setattr(type(crop), "slices", property(lambda self: pytest.fail("looked")))
    classifier = model.network.classifier
    scribbles = np.zeros(crop.shape, np.uint8)
    for _ in fine_tune(crop, classifier, FAST[3].but(rounds=0), scribbles=scribbles, trained=classifier):
        pass
    begin("object", crop, model, FAST[3])


def test_slices_are_multiplied_in_float32_on_every_cpu(plane, monkeypatch):
    asked = []
    write = stack.write_features
    monkeypatch.setattr(stack, "write_features", lambda *a, **how: asked.append(how["precision"]) or write(*a, **how))
    slices_log_odds(cylinder(4), THICK, (20, 23, 4), plane)
    assert set(asked) == {"float32"}
