"""A trunk that listens: what it is told, what it makes of that, and that a session tells it what the user said."""

import numpy as np
import pytest
import torch

from bifseg import Box, Image, Session
from bifseg.errors import InvalidInput
from bifseg.imaging.resampling import resample
from bifseg.method.crop import Crop
from bifseg.method.parameters import FAST
from bifseg.networks import build
from bifseg.networks.base import padded, position
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.networks.guidance import CHANNELS, guidance, nearness
from bifseg.training.interactive_recipes import RECIPES

SMALL = {
    "fcn": {"width": 8, "head": 16, "context": 8},
    "multiscale": {"dimension": 3, "widths": [8, 16, 24], "context": 4},
    "listening": {"dimension": 3, "widths": [8, 16, 24], "blocks": [1, 1], "context": 4},
}
HALVED = {**SMALL["listening"], "finest": 2}


def model_of(architecture, size=24, flips=False):
    torch.manual_seed(3)
    network = build(architecture, **SMALL[architecture]).eval().requires_grad_(False)
    return Model(architecture, network, architecture, SMALL[architecture], size, flips=flips)


def scan(dimension, seed=0):
    shape = (60, 50, 1) if dimension == 2 else (40, 36, 30)
    return Image(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def box_of(dimension, image):
    return Box.of([(10, 40), (8, 38), 0] if dimension == 2 else [(8, 30), (6, 28), (5, 25)], image.shape)


def test_near_is_one_on_a_stroke_and_falls_with_edges_and_length():
    image, scribbles = np.zeros((1, 20), np.float32), np.zeros((1, 20), np.uint8)
    image[:, 10:] = 0.2
    scribbles[0, 2] = 1
    near = nearness(image, scribbles)
    assert near[0, 0, 2] == 1
    assert near[0, 0, 5] == pytest.approx(np.exp(-0.03 / 0.1), abs=1e-5)
    assert near[0, 0, 11] < near[0, 0, 9] * np.exp(-0.19 / 0.1)
    assert not near[1].any()


def test_guidance_has_all_channels_but_image_and_box():
    scribbles = np.zeros((9, 8), np.uint8)
    scribbles[2, 2], scribbles[5, 6] = 1, 2
    mask = np.zeros((9, 8), bool)
    mask[:3] = True
    said = guidance(np.zeros((9, 8), np.float32), scribbles, mask)
    assert said.shape == (len(CHANNELS) - 2, 9, 8)
    np.testing.assert_array_equal(said[0], mask)
    np.testing.assert_array_equal(said[1], scribbles == 1)
    np.testing.assert_array_equal(said[2], scribbles == 2)
    assert not guidance(np.zeros((9, 8), np.float32), scribbles)[0].any()


def test_a_position_runs_from_minus_one_to_one_inside_the_box_and_on_outside():
    box = torch.zeros(1, 1, 9, 4)
    box[..., 2:7, :] = 1
    signed, _, absolute, _ = position(box)[0]
    torch.testing.assert_close(signed[:, 0], torch.linspace(-2, 2, 9))
    torch.testing.assert_close(absolute, signed.abs())


@pytest.mark.parametrize("window", [None, [(0, 12), (0, 9)]])
def test_a_window_of_the_whole_is_the_whole(window):
    array = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    np.testing.assert_array_equal(resample(array, (7, 20), window=window), resample(array, (7, 20)))


def test_a_window_is_a_part_and_goes_on_beyond_the_border():
    array = np.add.outer(np.arange(20.0), np.zeros(3)).astype(np.float32)
    np.testing.assert_allclose(resample(array, (5, 3), window=[(4, 9), (0, 3)])[:, 0], np.arange(4, 9))
    beyond = resample(array, (6, 3), window=[(-3, 3), (0, 3)])[:, 0]
    np.testing.assert_allclose(beyond, [0, 0, 0, 0, 1, 2])


@pytest.mark.parametrize("architecture", SMALL)
def test_the_trunk_hears_every_channel_and_the_classifier_sees_the_strokes(architecture):
    model = model_of(architecture)
    d, network = model.dimension, model.network
    said = torch.randn(1, len(CHANNELS), *[32] * d)
    said[:, 1] = 0
    said[(slice(None), 1, *[slice(8, 24)] * d)] = 1
    before = network.features(said)
    assert before.shape == (1, network.channels, *[32] * d)
    torch.testing.assert_close(before[:, -len(CHANNELS) + 1 :], torch.cat([said[:, :1], said[:, 2:]], 1))
    for channel in range(len(CHANNELS)):
        if channel == 1 and architecture != "fcn":
            continue  # the box is heard through the position
        other = said.clone()
        other[:, channel] += 1.0 + torch.rand_like(other[:, channel])
        trunk = slice(0, network.channels - len(CHANNELS) + 1)
        assert not torch.allclose(network.features(other)[:, trunk], before[:, trunk], atol=1e-4)


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("coarsest", [0, 2])
def test_a_crop_tells_the_trunk_what_was_said(architecture, coarsest):
    model = model_of(architecture)
    d = model.dimension
    image = scan(d)
    spacing = tuple(1.5 if axis == coarsest and d == 3 else 1.0 for axis in range(3))
    image = Image(image.array, spacing)
    crop = Crop(image, box_of(d, image), model)
    nothing = crop.features()
    assert len(nothing.views) == 1
    assert nothing.views[0].shape == (np.prod(crop.shape), model.network.channels)
    scribbles = np.zeros(crop.shape, np.uint8)
    scribbles[tuple(n // 2 for n in crop.shape)] = 1
    heard = crop.features(scribbles)
    marks = heard.views[0].reshape(*crop.shape, -1)[..., -4].numpy()
    np.testing.assert_array_equal(marks, scribbles == 1)
    np.testing.assert_array_equal(heard.views[0].reshape(*crop.shape, -1)[..., -6], crop.channels[0][crop.inside])
    assert crop.features(scribbles) is heard
    assert crop.features() is nothing
    masked = crop.features(scribbles, scribbles == 1)
    assert not torch.equal(masked.views[0], heard.views[0])


def test_what_lies_around_the_box_is_seen():
    model, image = model_of("fcn"), scan(2)
    box = box_of(2, image)
    before = Crop(image, box, model).features().views[0]
    array = image.array.copy()
    array[:10] += 0.3 * np.random.default_rng(1).normal(size=array[:10].shape)
    after = Crop(Image(array), box, model).features().views[0]
    assert not torch.allclose(before, after, atol=1e-4)


def test_flipped_views_are_those_of_the_flipped_crop_and_answers_their_mean():
    model, image = model_of("fcn", flips=True), scan(2)
    box = Box.of([(0, 60), (0, 50), 0], image.shape)
    crop = Crop(image, box, model)
    features = crop.features()
    assert len(features.views) == 4
    single = model_of("fcn")
    turned = Crop(Image(np.ascontiguousarray(image.array[::-1, ::-1])), box, single).features()
    back = turned.views[0].reshape(*crop.shape, -1).flip(0, 1).flatten(0, 1)
    torch.testing.assert_close(features.views[3], back, rtol=1e-3, atol=1e-3)
    classifier = model.network.classifier
    single_answers = [torch.nn.Module.__call__(classifier, view).diff(dim=1)[:, 0] for view in features.views]
    torch.testing.assert_close(features.log_odds(classifier), torch.stack(single_answers).mean(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", SMALL)
def test_a_session_keeps_its_promises_with_a_listening_network(architecture):
    model = model_of(architecture)
    image = scan(model.dimension)
    box = box_of(model.dimension, image)
    parameters = FAST[model.dimension].but(samples=256, iterations=3)

    def played():
        session = Session(image, model=model, parameters=parameters)
        session.box(box)
        strokes = np.zeros(image.shape, np.uint8)
        middle = tuple((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
        strokes[middle], strokes[box.start] = 1, 2
        return session, strokes, session.scribble(strokes)

    session, strokes, mask = played()
    assert mask[strokes == 1].all()
    assert not mask[strokes == 2].any()
    _, _, again = played()
    np.testing.assert_array_equal(mask, again)
    before = session.probability()
    session.undo()
    session.redo()
    np.testing.assert_array_equal(session.mask, mask)
    np.testing.assert_array_equal(session.probability(), before)


def test_half_the_bytes_and_flips_come_back(tmp_path):
    model = model_of("fcn", flips=True)
    save_model(model, tmp_path / "half.safetensors", half=True)
    save_model(model, tmp_path / "whole.safetensors")
    half, whole = (load_model(tmp_path / f"{name}.safetensors") for name in ("half", "whole"))
    assert half.flips
    assert whole.flips
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(whole.network.state_dict()[name], tensor)
        torch.testing.assert_close(half.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)
        assert half.network.state_dict()[name].dtype == torch.float32


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds_a_network_that_listens_unless_its_name_says_otherwise(name):
    recipe = RECIPES[name]
    with torch.device("meta"):
        network = build(recipe.architecture, **recipe.settings)
    assert network.listens == recipe.listens == (not name.startswith(("boxes", "adapted", "rnet")))
    assert network.context_cells == recipe.settings.get("context", 0)
    assert network.dimension == recipe.dimension


@pytest.mark.parametrize("settings", [SMALL["listening"], HALVED], ids=["whole", "halved"])
@pytest.mark.parametrize("first", [(4, 5, 4), (5, 4, 5)])
def test_logits_at_some_points_are_those_of_all_of_them(settings, first):
    torch.manual_seed(1)
    network, said = build("listening", **settings), torch.randn(2, len(CHANNELS), 24, 20, 19)
    said[:, 1] = 0
    said[:, 1, 4:-4, 4:-4, 4:-4] = 1
    points = tuple(slice(start, n - 4, network.sparse) for start, n in zip(first, said.shape[2:], strict=True))
    with torch.inference_mode():
        torch.testing.assert_close(
            network.logits_at(said, points),
            network(said)[(slice(None), slice(None), *points)],
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("first", [(0, 1, 0), (1, 0, 1)])
@pytest.mark.parametrize("shape", [(24, 16, 20), (23, 17, 12)])
def test_logits_at_every_second_point_up_to_the_border_are_those_of_all_of_them(first, shape):
    torch.manual_seed(6)
    network, image = build("multiscale", dimension=3, widths=[8, 16, 24]), torch.randn(2, 1, *shape)
    points = tuple(slice(start, n, network.sparse) for start, n in zip(first, shape, strict=True))
    some = slice(None), slice(None), *points
    with torch.inference_mode():
        torch.testing.assert_close(network.logits_at(image, points), network(image)[some], rtol=1e-4, atol=1e-5)


def test_gradients_in_bfloat16_are_those_of_float32_in_thin_boxes_too():
    torch.manual_seed(4)
    settings = {"dimension": 3, "widths": [8, 16, 32, 112], "blocks": [1, 1, 1], "context": 8, "finest": 2}
    network, said = build("listening", **settings), torch.randn(4, len(CHANNELS), 32, 64, 32)
    network = network.to(memory_format=torch.channels_last_3d)
    said[:, 1] = 0
    said[:, 1, 8:-8, 8:-8, 8:-8] = 1
    points = (slice(8, 24, 2), slice(8, 56, 2), slice(8, 24, 2))
    gradients = []
    for bf16 in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network.logits_at(said.contiguous(memory_format=torch.channels_last_3d), points)
        logits.float().square().mean().backward()
        gradients.append({name: weight.grad.clone() for name, weight in network.named_parameters()})
    for name, exact in gradients[0].items():
        assert (gradients[1][name] - exact).norm() < 0.3 * exact.norm() + 1e-6, name


def test_a_network_of_half_resolution_answers_on_every_point_and_hears_strokes():
    torch.manual_seed(2)
    network, said = build("listening", **HALVED).eval(), torch.zeros(1, len(CHANNELS), 27, 22, 19)
    said[:, 1, 4:-4, 4:-4, 4:-4] = 1
    with torch.inference_mode():
        silent = network(said)
        said[0, 3, 12, 12, 9] = 1
        heard = network(said)
    assert silent.shape == (1, 2, 27, 22, 19)
    changed = (heard - silent).abs().amax((0, 1)) > 1e-6
    assert changed[12, 12, 9]
    assert changed.sum() > 8  # not only where the stroke is: the trunk heard it


@pytest.mark.parametrize("settings", [SMALL["listening"], HALVED], ids=["whole", "halved"])
def test_a_grid_of_any_size_is_seen_as_one_whose_scales_fit_into_one_another(settings):
    torch.manual_seed(5)
    network, said = build("listening", **settings).eval(), torch.randn(1, len(CHANNELS), 27, 22, 19)
    said[:, 1] = 0
    said[:, 1, 4:-4, 4:-4, 4:-4] = 1
    with torch.inference_mode():
        whole = network(padded(said, 4 * network.sparse))
        assert whole.shape[2] in (28, 32)
        torch.testing.assert_close(network(said), whole[..., :27, :22, :19])


@pytest.mark.parametrize("wrong", [{"finest": 3}, {"finest": 2, "context": 1}])
def test_a_resolution_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidInput, match="possible are 1 and 2"):
        build("listening", **{**HALVED, **wrong})
