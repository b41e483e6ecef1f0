from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from bifseg.geodesic import geodesic_distance


def dijkstra_distance(image, seeds, spatial=0.0, spacing=None):
    """The same distance on an explicit graph of all neighbours, by Dijkstra's algorithm."""
    spacing = np.ones(image.ndim) if spacing is None else np.asarray(spacing)
    index = np.arange(image.size).reshape(image.shape)
    tails, heads, costs = [], [], []
    for i in np.ndindex(image.shape):
        for step in product((-1, 0, 1), repeat=image.ndim):
            j = tuple(np.add(i, step))
            if any(step) and all(0 <= a < n for a, n in zip(j, image.shape, strict=True)):
                length = spatial * np.linalg.norm(step * spacing) / spacing.min()
                tails.append(index[i])
                heads.append(index[j])
                costs.append(max(np.hypot(image[i] - image[j], length), 1e-12))  # SciPy drops edges of cost 0
    graph = coo_matrix((costs, (tails, heads)), shape=(image.size,) * 2).tocsr()
    return dijkstra(graph, indices=np.flatnonzero(seeds), min_only=True).reshape(image.shape)


def random_case(seed, shape, blur=0.0):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), blur)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    seeds = np.zeros(shape, bool)
    seeds.flat[rng.integers(0, seeds.size, 2)] = True
    return image, seeds


@pytest.mark.parametrize("shape", [(14, 9), (1, 12), (6, 7, 5), (6, 1, 5)])
@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_repeated_to_the_end_it_is_dijkstra(shape, seed):
    image, seeds = random_case(seed, shape)
    expected = dijkstra_distance(image.astype(float), seeds)
    np.testing.assert_allclose(geodesic_distance(image, seeds, passes=None), expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "spacing"), [((11, 12), (1.0, 2.0)), ((5, 6, 7), (0.5, 0.5, 3.0))])
def test_with_a_spatial_term_it_is_dijkstra(shape, spacing):
    image, seeds = random_case(1, shape)
    expected = dijkstra_distance(image.astype(float), seeds, 0.3, spacing)
    got = geodesic_distance(image, seeds, passes=None, spatial=0.3, spacing=spacing)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(48, 40), (14, 15, 16)])
def test_more_passes_come_closer_and_never_fall_below(shape):
    image, seeds = random_case(2, shape, blur=2.0)
    exact = geodesic_distance(image, seeds, passes=None)
    passes = [geodesic_distance(image, seeds, passes=n) for n in (1, 2, 3)]
    for coarse, fine in zip(passes, [*passes[1:], exact], strict=True):
        assert (coarse >= fine).all()
    near = [passes[1] < 0.2, exact < 0.2]
    assert 2 * (near[0] & near[1]).sum() / (near[0].sum() + near[1].sum()) > 0.95


def test_a_wall_with_a_door():
    image = np.zeros((7, 7))
    image[3] = 1.0
    seeds = np.zeros((7, 7), bool)
    seeds[0, 0] = True
    closed = geodesic_distance(image, seeds)
    assert (closed[:3] == 0).all()
    assert (closed[3] == 1).all()
    assert (closed[4:] == 2).all()
    image[3, 5] = 0.25
    opened = geodesic_distance(image, seeds)
    np.testing.assert_allclose(opened[4:], 0.5)


def test_every_seed_is_zero_and_no_seed_is_infinitely_far():
    image, seeds = random_case(5, (6, 5, 4))
    distance = geodesic_distance(image, seeds)
    assert distance.dtype == np.float32
    assert (distance[seeds] == 0).all()
    assert np.isfinite(distance).all()
    for passes in (2, None):
        assert np.isinf(geodesic_distance(image, np.zeros_like(seeds), passes=passes)).all()


def test_the_axes_are_alike():
    image, seeds = random_case(6, (8, 9, 7))
    turned = geodesic_distance(image.transpose(2, 0, 1), seeds.transpose(2, 0, 1), passes=None)
    np.testing.assert_allclose(turned, geodesic_distance(image, seeds, passes=None).transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": np.zeros((3, 4), bool)}, "give one shape"),
        ({"image01": np.zeros(3), "seeds": np.zeros(3)}, "2D or 3D"),
        ({"image01": np.full((3, 3), np.nan)}, "NaN or infinity"),
        ({"passes": 0}, "passes is 0"),
        ({"spatial": -0.1}, "spatial is -0.1"),
        ({"spacing": (1.0, -1.0)}, "above 0"),
        ({"spacing": (1.0,)}, "give 2"),
    ],
)
def test_bad_arguments(changed, message):
    good = {"image01": np.zeros((3, 3)), "seeds": np.zeros((3, 3), bool)}
    with pytest.raises(ValueError, match=message):
        geodesic_distance(**(good | changed))
