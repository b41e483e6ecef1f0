import sys

import numpy as np
import pytest
import torch
from torch import nn

from bifseg import Box, Session
from bifseg.method.parameters import preset
from bifseg.networks import NETWORKS, build
from bifseg.networks.checkpoint import Model, load_model, save_model
from bifseg.training.synthetic.phantom import phantom

NARROW = {
    "fcn": {"width": 8, "head": 16, "channels": 8, "hidden": 8},
    "unet": {"width": 8, "hidden": 8},
    "deepmedic": {"widths": [8] * 8, "joint": 16, "hidden": 8},
    "highres3dnet": {"width": 8, "channels": 16, "hidden": 8},
}
DIMENSION = {"fcn": 2, "unet": 2, "deepmedic": 3, "highres3dnet": 3}


def receptive_field(network, shape, axis_extents, thin=0):
    """Pixels of the input whose gradient reaches the centre of the features, per axis; sides up to ``thin`` are let be.

    Without normalisation, which mixes in the mean and spread of the whole image.
    """
    torch.manual_seed(0)
    without_norms(network).double()
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)  # positive: no ReLU closes, nothing cancels
    image = torch.ones(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    centre = tuple(n // 2 for n in shape)
    network.features(image)[(0, slice(None), *centre)].sum().backward()
    reached = image.grad[0, 0] != 0
    for axis, wanted in enumerate(axis_extents):
        if shape[axis] <= thin:
            continue
        others = tuple(a for a in range(len(shape)) if a != axis)
        hit = torch.nonzero(reached.amax(others)).ravel()
        assert hit[0] > 0, "the field is cut off by the image: make it larger"
        assert hit[-1] < shape[axis] - 1
        assert int(hit[-1] - hit[0]) + 1 == wanted
        assert int(hit[0] + hit[-1]) == 2 * centre[axis]


def without_norms(network):
    for module in list(network.modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = False  # what it would overwrite is needed for the gradient, where no norm copies it
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    return network


def convolutions(network):
    """(kernel's sides, channels that leave) of every convolution, in the order in which they were made."""
    found = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))]
    return [(tuple(m.kernel_size), m.out_channels) for m in found]


def printed(name):
    """A network with the widths that are the defaults, without memory for its weights."""
    with torch.device("meta"):
        return build(name)


def test_pnet_sees_181_by_181_pixels():
    receptive_field(build("pnet", width=2, hidden=4), (191, 191), (181, 181))


def test_pcnet_sees_85_by_85_by_9_voxels():
    receptive_field(build("pcnet", width=2, compressed=2, hidden=4), (91, 91, 15), (85, 85, 9))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_deepmedic_sees_17_voxels_in_detail_and_51_coarsely(axis):
    shape = tuple(57 if a == axis else 9 for a in range(3))
    extents = {"local": 17, "context": 51}
    for other, wanted in (("local", extents["context"]), ("context", extents["local"])):
        network = build("deepmedic", widths=[2] * 8, joint=2, hidden=2)
        network.get_submodule(other).register_forward_hook(lambda *given: given[-1].detach())  # cut: only one is left
        receptive_field(network, shape, (wanted,) * 3, thin=9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_highres3dnet_sees_87_voxels(axis):
    shape = tuple(91 if a == axis else 3 for a in range(3))
    receptive_field(build("highres3dnet", width=1, channels=2, hidden=2), shape, (87,) * 3, thin=3)


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("pnet", {"width": 4, "hidden": 8}, (17, 23)),
        ("pcnet", {"width": 4, "compressed": 2, "hidden": 8}, (9, 12, 5)),
        ("multiscale", {"dimension": 2, "widths": [4, 8, 8]}, (17, 23)),
        ("multiscale", {"dimension": 3, "widths": [4, 8, 8]}, (9, 12, 1)),
        *(("fcn", NARROW["fcn"], shape) for shape in [(17, 23), (128, 131), (128, 384), (1, 9)]),
        *(("unet", NARROW["unet"], shape) for shape in [(17, 23), (128, 131), (128, 384), (1, 9)]),
        *(("deepmedic", NARROW["deepmedic"], shape) for shape in [(48, 40, 1), (48, 1, 7), (5, 5, 5), (2, 7, 9)]),
        *(("highres3dnet", NARROW["highres3dnet"], shape) for shape in [(48, 40, 1), (48, 1, 7), (5, 5, 5)]),
    ],
)
def test_features_then_classifier_is_the_network_at_full_resolution(name, settings, shape):
    torch.manual_seed(1)
    network = build(name, **settings).eval()
    image = torch.randn(2, 1, *shape)
    features = network.features(image)
    assert features.shape == (2, network.channels, *shape)
    rows = features.movedim(1, -1).reshape(-1, network.channels)
    expected = network.classifier(rows).reshape(2, *shape, 2).movedim(-1, 1)
    torch.testing.assert_close(network(image), expected)
    assert features.isfinite().all()
    assert features.flatten(2).std(2).amax() > 0


def test_the_papers_networks_have_the_papers_size_by_default():
    pnet, pcnet = build("pnet"), build("pcnet")
    assert pnet.channels == 5 * 64
    assert pcnet.channels == 5 * 16
    kernels = [
        tuple(m.kernel_size) for m in pcnet.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size != (1,) * 3
    ]
    assert kernels == [(3, 3, 3)] * 4 + [(3, 3, 1)] * 9


def test_fcn_is_vgg_16_with_three_scores_by_default():
    widths = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    expected = [((3, 3), n) for n in widths] + [((7, 7), 4096), ((1, 1), 4096)] + [((1, 1), 32)] * 3
    assert convolutions(printed("fcn")) == expected


def test_unet_has_five_scales_of_the_printed_widths_by_default():
    network, at = printed("unet"), []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, _, made: at.append((module.out_channels, *made.shape[2:])))
    network.features(torch.empty(1, 1, 64, 96, device="meta"))
    down = [(64 * 2**k, 64 // 2**k, 96 // 2**k) for k in range(5) for _ in range(2)]
    assert at == down + down[-3::-1]
    ups = [(m.kernel_size, m.stride) for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert ups == [((2, 2), (2, 2))] * 4


def test_deepmedic_has_two_pathways_of_the_printed_widths_by_default():
    network = printed("deepmedic")
    pathway = [((3, 3, 3), n) for n in (30, 30, 40, 40, 40, 40, 50, 50)]
    assert convolutions(network) == [*pathway, *pathway, ((1, 1, 1), 150)]
    assert [m.out_features for m in network.classifier if isinstance(m, nn.Linear)] == [150, 2]


def test_highres3dnet_has_twenty_layers_of_the_printed_widths_by_default():
    network = printed("highres3dnet")
    layers = [((3, 3, 3), n) for n in [16] * 7 + [32] * 6 + [64] * 6]
    assert convolutions(network) == [*layers, ((1, 1, 1), 80)]  # the classifier is the twentieth
    dilations = [m.dilation[0] for m in network.modules() if isinstance(m, nn.Conv3d)]
    assert dilations == [1] * 7 + [2] * 6 + [4] * 6 + [1]


def test_fcn_sums_the_scores_of_strides_8_16_and_32():
    torch.manual_seed(2)
    network = build("fcn", **NARROW["fcn"]).eval()
    sides, made = {}, []
    for k, score in enumerate(network.scores):
        nn.init.zeros_(score.bias)
        score.register_forward_hook(lambda _, given, out, k=k: sides.update({k: given[0].shape[2:]}))
    image = torch.randn(1, 1, 64, 96)
    whole = network.features(image)
    assert sides == {0: (8, 12), 1: (4, 6), 2: (2, 3)}
    for k in range(3):
        hooks = [
            score.register_forward_hook(lambda _, given, out, drop=j != k: out * 0 if drop else None)
            for j, score in enumerate(network.scores)
        ]
        made.append(network.features(image))
        for hook in hooks:
            hook.remove()
    assert all(one.abs().amax() > 0.01 for one in made)
    torch.testing.assert_close(sum(made), whole)


@pytest.mark.parametrize("name", NARROW)
def test_gradients_reach_every_weight_of_every_pathway(name):
    torch.manual_seed(3)
    network = build(name, **NARROW[name])
    image = torch.randn(1, 1, *(64, 64) if DIMENSION[name] == 2 else (12, 12, 12))
    logits = network(image)
    nn.functional.cross_entropy(logits, (image[:, 0] > 0).long()).backward()
    lost = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not lost


@pytest.mark.parametrize("name", NARROW)
def test_the_compared_networks_come_back_from_a_checkpoint_as_they_were(name, tmp_path):
    torch.manual_seed(4)
    network = build(name, **NARROW[name]).eval().requires_grad_(False)
    save_model(Model(name, network, name, NARROW[name], size=32), tmp_path / "m.safetensors")
    back = load_model(tmp_path / "m.safetensors", DIMENSION[name])
    assert {t.device.type for t in [*back.network.parameters(), *back.network.buffers()]} == {"cpu"}
    image = torch.randn(1, 1, *(40, 33) if DIMENSION[name] == 2 else (11, 9, 6))
    torch.testing.assert_close(back.network(image), network(image), rtol=0, atol=0)


@pytest.mark.parametrize("name", NARROW)
def test_bifseg_adapts_the_compared_networks_to_scribbles(name):
    torch.manual_seed(5)
    dimension = DIMENSION[name]
    image, _ = phantom(seed=2, shape=(40, 36, 20))
    network = build(name, **NARROW[name]).eval().requires_grad_(False)
    model = Model(name, network, name, NARROW[name], size=32 if dimension == 2 else 16)
    session = Session(image, model=model, parameters=preset("fast", dimension).but(rounds=1, iterations=3, samples=500))
    box = Box.of(((5, 30), (6, 30), 10 if dimension == 2 else (2, 18)), image.shape)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    session.box(box, name="object")
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[12:16, 15, 10], scribbles[24:28, 25, 10] = 1, 2
    mask = session.scribble(scribbles)
    assert mask.shape == image.shape
    assert mask[scribbles == 1].all()
    assert not mask[scribbles == 2].any()
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    adapted = session.state.objects["object"].classifier
    assert not torch.equal(torch.from_numpy(adapted["0.weight"]), network.classifier[0].weight)


@pytest.mark.parametrize("name", ["unet", "highres3dnet"])
def test_without_monai_it_is_said_what_to_install(name, monkeypatch):
    for module in ("monai", "monai.networks"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "bifseg\[monai\]"'):
        build(name, **NARROW[name])
    assert build("fcn", **NARROW["fcn"]).dimension == 2


def test_multiscale_net_reaches_every_pixel_of_the_box():
    network = build("multiscale", dimension=2, widths=[4, 8, 8, 8, 8])
    image = torch.randn(1, 1, 64, 64, requires_grad=True)
    network.features(image)[0, :, 32, 32].sum().backward()
    assert np.count_nonzero(image.grad) == 64 * 64


def test_unknown_architectures_and_settings_are_refused_by_name():
    with pytest.raises(ValueError, match=f"known are {', '.join(NETWORKS)}"):
        build("vnet")
    with pytest.raises(ValueError, match="do not fit the architecture 'pnet'"):
        build("pnet", depth=3)
    with pytest.raises(ValueError, match="do not fit the architecture 'deepmedic'"):
        build("deepmedic", widths=[])
