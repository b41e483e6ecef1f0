import numpy as np
import pytest

from bifseg.method.weight_map import network_uncertainty, scribble_distances, scribble_uncertainty, weight_map

PAPER = {"t0": 0.2, "t1": 0.7, "epsilon": 0.2, "omega": 5.0}

# One row of eight voxels; the image steps up after the third and after the sixth.
IMAGE = np.array([[0.0, 0.1, 0.1, 0.5, 0.5, 0.6, 1.0, 1.0]])
SCRIBBLES = np.array([[1, 0, 0, 0, 2, 0, 0, 0]], np.uint8)
PROBABILITY = np.array([[0.5, 0.9, 0.1, 0.1, 0.9, 0.95, 0.3, 0.99]])
LABELS = np.array([[1, 1, 0, 1, 0, 1, 1, 1]], bool)


def test_equation_13_voxel_by_voxel():
    expected = [
        5,  # foreground scribble, although the network is undecided here
        1,  # 0.1 from the foreground scribble, and labelled foreground: agrees
        0,  # 0.1 from the foreground scribble, but labelled background: U_s
        0,  # 0.0 from the background scribble, but labelled foreground: U_s
        5,  # background scribble
        0,  # 0.1 from the background scribble, but labelled foreground: U_s
        0,  # far from both, and p = 0.3 lies between t0 and t1: U_p
        1,  # far from both, and the network is sure
    ]
    weights = weight_map(PROBABILITY, LABELS, SCRIBBLES, IMAGE, **PAPER)
    assert weights.dtype == np.float32
    np.testing.assert_array_equal(weights, [expected])


def test_unsure_voxels_may_keep_a_little_weight():
    weights = weight_map(PROBABILITY, LABELS, SCRIBBLES, IMAGE, **PAPER, unsure=0.3)
    np.testing.assert_allclose(weights, [[5, 1, 0.3, 0.3, 5, 0.3, 0.3, 1]])


def test_without_scribbles_only_the_network_decides():
    weights = weight_map(PROBABILITY, LABELS, np.zeros_like(SCRIBBLES), IMAGE, **PAPER)
    np.testing.assert_array_equal(weights, [[0, 1, 1, 1, 1, 1, 0, 1]])


def test_both_uncertainties_exclude_their_bounds():
    np.testing.assert_array_equal(
        network_uncertainty(np.array([0.2, 0.21, 0.69, 0.7]), 0.2, 0.7), [False, True, True, False]
    )
    distances = np.array([0.19, 0.2, 0.1]), np.array([9.0, 9.0, 9.0])
    doubtful = scribble_uncertainty(np.zeros(3), np.array([0, 0, 1]), distances, 0.2)
    np.testing.assert_array_equal(doubtful, [True, False, False])


def test_zero_epsilon_and_equal_thresholds_leave_only_the_scribbles():
    weights = weight_map(PROBABILITY, LABELS, SCRIBBLES, IMAGE, t0=0.5, t1=0.5, epsilon=0.0, omega=7.0)
    np.testing.assert_array_equal(weights, np.where(SCRIBBLES, 7, 1))


def test_known_distances_are_used_and_change_nothing():
    rng = np.random.default_rng(0)
    image, p = rng.random((2, 6, 5, 4))
    scribbles = rng.choice([0] * 10 + [1, 2], image.shape)
    distances = scribble_distances(image, scribbles)
    plain = weight_map(p, p > 0.5, scribbles, image, **PAPER)
    np.testing.assert_array_equal(plain, weight_map(p, p > 0.5, scribbles, image, **PAPER, distances=distances))
    near = scribble_distances(image, scribbles, PAPER["epsilon"])
    assert np.isinf(near[0]).sum() > np.isinf(distances[0]).sum()
    np.testing.assert_array_equal(plain, weight_map(p, p > 0.5, scribbles, image, **PAPER, distances=near))
    far = (np.full(image.shape, np.inf),) * 2
    given = weight_map(p, p > 0.5, scribbles, image, **PAPER, distances=far)
    assert not np.array_equal(plain, given)


def test_distances_belong_to_their_scribbles():
    to_foreground, to_background = scribble_distances(IMAGE, SCRIBBLES)
    np.testing.assert_allclose(to_foreground, [[0, 0.1, 0.1, 0.5, 0.5, 0.6, 1.0, 1.0]], atol=1e-6)
    np.testing.assert_allclose(to_background, [[0.5, 0.4, 0.4, 0, 0, 0.1, 0.5, 0.5]], atol=1e-6)
    assert np.isinf(scribble_distances(IMAGE, SCRIBBLES == 1)[1]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"t0": 0.8}, "0 <= t0 <= t1 <= 1"),
        ({"t1": 1.2}, "0 <= t0 <= t1 <= 1"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"epsilon": np.nan}, "epsilon is nan"),
        ({"omega": -1.0}, "omega is -1.0"),
        ({"unsure": np.inf}, "unsure is inf"),
        ({"labels": LABELS[:, 1:]}, "must have the same"),
        ({"distances": (IMAGE, IMAGE.T)}, "must have the same"),
    ],
)
def test_bad_arguments(changed, message):
    good = {"probability": PROBABILITY, "labels": LABELS, "scribbles": SCRIBBLES, "image01": IMAGE, **PAPER}
    with pytest.raises(ValueError, match=message):
        weight_map(**(good | changed))
