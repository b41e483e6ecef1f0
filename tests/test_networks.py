import numpy as np
import pytest
import torch

from bifseg.networks import ARCHITECTURES, build


def receptive_field(network, shape, axis_extents):
    """Pixels of the input whose gradient reaches the centre of the features, per axis."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.02)  # positive: no ReLU closes, nothing cancels
    image = torch.ones(1, 1, *shape, requires_grad=True)
    centre = tuple(n // 2 for n in shape)
    network.features(image)[(0, slice(None), *centre)].sum().backward()
    reached = image.grad[0, 0] != 0
    extents = []
    for axis in range(len(shape)):
        others = tuple(a for a in range(len(shape)) if a != axis)
        hit = torch.nonzero(reached.amax(others)).ravel()
        assert hit[0] > 0, "the field is cut off by the image: make it larger"
        assert hit[-1] < shape[axis] - 1
        extents.append(int(hit[-1] - hit[0]) + 1)
    assert tuple(extents) == axis_extents


def test_pnet_sees_181_by_181_pixels():
    receptive_field(build("pnet", width=2, hidden=4), (191, 191), (181, 181))


def test_pcnet_sees_85_by_85_by_9_voxels():
    receptive_field(build("pcnet", width=2, compressed=2, hidden=4), (91, 91, 15), (85, 85, 9))


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        ("pnet", {"width": 4, "hidden": 8}, (17, 23)),
        ("pcnet", {"width": 4, "compressed": 2, "hidden": 8}, (9, 12, 5)),
        ("multiscale", {"dimension": 2, "widths": [4, 8, 8]}, (17, 23)),
        ("multiscale", {"dimension": 3, "widths": [4, 8, 8]}, (9, 12, 1)),
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


def test_the_papers_networks_have_the_papers_size_by_default():
    pnet, pcnet = build("pnet"), build("pcnet")
    assert pnet.channels == 5 * 64
    assert pcnet.channels == 5 * 16
    kernels = [
        tuple(m.kernel_size) for m in pcnet.modules() if isinstance(m, torch.nn.Conv3d) and m.kernel_size != (1,) * 3
    ]
    assert kernels == [(3, 3, 3)] * 4 + [(3, 3, 1)] * 9


def test_multiscale_net_reaches_every_pixel_of_the_box():
    network = build("multiscale", dimension=2, widths=[4, 8, 8, 8, 8])
    image = torch.randn(1, 1, 64, 64, requires_grad=True)
    network.features(image)[0, :, 32, 32].sum().backward()
    assert np.count_nonzero(image.grad) == 64 * 64


def test_unknown_architectures_and_settings_are_refused_by_name():
    with pytest.raises(ValueError, match=f"known are {', '.join(ARCHITECTURES)}"):
        build("vnet")
    with pytest.raises(ValueError, match="do not fit the architecture 'pnet'"):
        build("pnet", depth=3)
