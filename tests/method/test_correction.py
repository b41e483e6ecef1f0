"""R-Net behind a trunk, on a crop: what it is told, what it changes, and what it cannot change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bifseg.imaging.image import Image
from bifseg.imaging.intensity import normalise
from bifseg.method.crop import Crop
from bifseg.method.evidence import with_evidence
from bifseg.method.finetune import fine_tune
from bifseg.method.parameters import FAST
from bifseg.networks.checkpoint import load_model
from bifseg.networks.copies import copied
from bifseg.networks.guidance import guidance
from bifseg.networks.rnet import SUREST, RNet, bounded
from bifseg.prompts.interaction import Box
from bifseg.session.refine import adapt, begin

SHAPES = {2: (40, 36, 1), 3: (20, 24, 16)}
SIZES = {2: 36, 3: 24}  # the grid is the box


def made(dimension):
    torch.manual_seed(dimension)
    model = load_model("default", dimension)
    widths = {"widths": [8, 16, 16], "blocks": [1, 0], "finest": dimension - 1}
    rnet = RNet(dimension, model.network.channels, **widths).eval().requires_grad_(False)
    torch.nn.init.normal_(rnet.answer[-1].weight)
    return replace(model, size=SIZES[dimension], rnet=rnet)


def a_crop(model, spacing=(1.0, 1.0, 1.0), axes=(0, 1, 2)):
    rng = np.random.default_rng(0)
    array = rng.normal(size=SHAPES[model.dimension]).astype(np.float32).transpose(axes)
    image = Image(np.ascontiguousarray(array), tuple(spacing[axis] for axis in axes))
    box = Box((0, 0, 0), image.shape) if model.dimension == 3 else Box.of([(0, 40), (0, 36), 0], image.shape)
    return Crop(image, box, model)


def scribbled(shape):
    scribbles = np.zeros(shape, np.uint8)
    scribbles[3:6, 4:9], scribbles[12:14, 2:7] = 1, 2
    return scribbles


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_is_told_what_training_tells_it(dimension):
    model = made(dimension)
    crop = a_crop(model, spacing=(1.0, 1.0, 1.5))
    rng = np.random.default_rng(1)
    trained, belief = rng.normal(scale=5, size=(2, *crop.shape)).astype(np.float32)
    scribbles, so_far = scribbled(crop.shape), belief > 0
    found = crop.rnet.correction(trained, belief, belief, scribbles, so_far)
    known = normalise(crop.array)[None], bounded(trained)[None], bounded(belief)[None]
    said = torch.from_numpy(np.concatenate([*known, guidance(crop.image01, scribbles, so_far)]))
    features = crop.features().views[0].reshape(*crop.shape, -1).movedim(-1, 0)
    with torch.inference_mode():
        odds = model.rnet(said[None], model.rnet.context(features[None]))[0].numpy()
    np.testing.assert_allclose(found, odds - belief, rtol=1e-3, atol=1e-3)
    held = belief + 3 * rng.normal(size=crop.shape).astype(np.float32)  # what slices say is corrected by the same
    other = crop.rnet.correction(trained, belief, held, scribbles, so_far)
    np.testing.assert_allclose(
        held + other - held.clip(-SUREST, SUREST), odds - belief.clip(-SUREST, SUREST), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("axes", [(0, 2, 1), (2, 1, 0)])
def test_the_axis_of_the_thickest_slices_is_its_z_wherever_it_lies(axes):
    """Those two are the swaps by which a crop turns its axes into a network's."""
    model = made(3)
    straight = a_crop(model, spacing=(1.0, 1.0, 1.5))
    turned = a_crop(model, spacing=(1.0, 1.0, 1.5), axes=axes)
    belief = np.random.default_rng(1).normal(size=straight.shape).astype(np.float32)
    scribbles = scribbled(straight.shape)
    told = belief, belief, belief, scribbles
    expected = straight.rnet.correction(*told)
    found = turned.rnet.correction(*(np.ascontiguousarray(one.transpose(axes)) for one in told))
    np.testing.assert_allclose(found, expected.transpose(axes), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dimension", [2, 3])
def test_labels_are_cut_from_what_it_corrected(dimension):
    model = made(dimension)
    crop, plain = a_crop(model), a_crop(replace(model, rnet=None))
    parameters = FAST[dimension].but(rounds=0, rnet=1.0, nearness=0.0, appearance=0.0)
    scribbles = scribbled(crop.shape)
    [found] = fine_tune(crop, copied(model.network.classifier), parameters, scribbles=scribbles)
    [without] = fine_tune(plain, copied(model.network.classifier), parameters, scribbles=scribbles)
    odds = plain.features().log_odds(model.network.classifier).numpy().reshape(plain.shape)
    belief = np.log(without.probability / (1 - without.probability))
    correction = crop.rnet.correction(odds, belief, belief, scribbles)
    assert abs(correction).max() > 0.5
    np.testing.assert_allclose(found.probability, with_evidence(without.probability, correction), atol=1e-4)
    half = parameters.but(rnet=0.5)
    [found] = fine_tune(crop, copied(model.network.classifier), half, scribbles=scribbles)
    np.testing.assert_allclose(found.probability, with_evidence(without.probability, correction / 2), atol=1e-4)
    [off] = fine_tune(crop, copied(model.network.classifier), parameters.but(rnet=0.0), scribbles=scribbles)
    np.testing.assert_array_equal(off.labels, without.labels)


@pytest.mark.parametrize("dimension", [2, 3])
def test_scribbles_hold_and_before_them_it_is_silent(dimension):
    model = made(dimension)
    crop, silent = a_crop(model), replace(model, rnet=None)
    parameters, strokes = FAST[dimension].but(rnet=1.0), scribbled(crop.box.shape)
    first = after(np.zeros_like(strokes), crop, model, parameters)
    same = after(np.zeros_like(strokes), a_crop(silent), silent, parameters)
    drawn = after(strokes, crop, model, parameters)
    np.testing.assert_array_equal(first.grid_probability, same.grid_probability)
    assert drawn.mask[strokes == 1].all()
    assert not drawn.mask[strokes == 2].any()


def after(scribbles, crop, model, parameters):
    segment = replace(begin("x", crop, model, parameters), scribbles=scribbles)
    rounds = adapt(segment, crop, model, refine="auto", locked=np.zeros(crop.box.shape, bool))
    while True:
        try:
            next(rounds)
        except StopIteration as end:
            return end.value
