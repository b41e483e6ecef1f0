from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from bifseg.algorithms.geodesic import geodesic_distance, soft_distance


def neighbours(shape):
    """Pairs of slices: a voxel and its neighbour, for every step, with that step."""
    for step in product((-1, 0, 1), repeat=len(shape)):
        if any(step):
            here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))
            there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, shape, strict=True))
            yield step, here, there


def by_scipy(image, prices, spatial=0.0, spacing=None):
    """The same distance in float64, by Dijkstra's algorithm from one more node, tied to each seed at its price."""
    image = np.asarray(image, float)
    spacing = np.ones(image.ndim) if spacing is None else np.asarray(spacing)
    index, seeds = np.arange(image.size).reshape(image.shape), np.flatnonzero(np.isfinite(prices))
    tails, heads, costs = [np.full(seeds.size, image.size)], [seeds], [np.asarray(prices, float).ravel()[seeds]]
    for step, here, there in neighbours(image.shape):
        tails.append(index[here].ravel())
        heads.append(index[there].ravel())
        length = spatial * np.linalg.norm(step * spacing) / spacing.min()
        costs.append(np.hypot(image[here] - image[there], length).ravel())
    tails, heads, costs = map(np.concatenate, (tails, heads, costs))
    graph = coo_matrix((np.maximum(costs, 1e-12), (tails, heads)), shape=(image.size + 1,) * 2)  # 0 were no edge
    return dijkstra(graph.tocsr(), indices=image.size)[:-1].reshape(image.shape)


def random_case(seed, shape, blur=0.0, count=2):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), blur)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    seeds = np.zeros(shape, bool)
    seeds.flat[rng.integers(0, seeds.size, count)] = True
    return image, seeds


def prices_of(seeds):
    return np.where(seeds, 0, np.inf)


@pytest.mark.parametrize("shape", [(14, 9), (1, 12), (12, 1), (1, 1), (6, 7, 5), (6, 1, 5), (9, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("spatial", [0.0, 0.01, 0.3])
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), blur=st.sampled_from([0.0, 1.0]), count=st.sampled_from([1, 2, 6]))
def test_distances_are_those_of_dijkstra(shape, spatial, seed, blur, count):
    image, seeds = random_case(seed, shape, blur, count) if np.prod(shape) > 1 else (np.ones(shape), np.ones(shape) > 0)
    expected = by_scipy(image, prices_of(seeds), spatial)
    np.testing.assert_allclose(geodesic_distance(image, seeds, spatial=spatial), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "blur"), [((60, 50), 0.0), ((60, 50), 3.0), ((20, 18, 22), 0.0), ((20, 18, 22), 2.0)]
)
def test_distances_in_large_images_are_those_of_dijkstra(shape, blur):
    image, seeds = random_case(3, shape, blur, 5)
    for spatial in (0.0, 0.01):
        expected = by_scipy(image, prices_of(seeds), spatial)
        np.testing.assert_allclose(geodesic_distance(image, seeds, spatial=spatial), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "spacing"), [((11, 12), (1.0, 2.0)), ((5, 6, 7), (0.5, 0.5, 3.0))])
def test_voxels_may_be_longer_than_wide(shape, spacing):
    image, seeds = random_case(1, shape)
    got = geodesic_distance(image, seeds, spatial=0.3, spacing=spacing)
    np.testing.assert_allclose(got, by_scipy(image, prices_of(seeds), 0.3, spacing), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(25, 20), (9, 8, 10), (1, 30)])
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_soft_seeds_have_a_price(shape, scale):
    image, rng = random_case(4, shape, 0.7)[0], np.random.default_rng(5)
    prices = (scale * rng.random(shape)).astype(np.float32)
    prices[rng.random(shape) < 0.3] = np.inf
    got = soft_distance(image, prices, spatial=0.05)
    np.testing.assert_allclose(got, by_scipy(image, prices, 0.05), rtol=1e-5, atol=1e-6)
    assert (got <= prices).all()
    near = soft_distance(image, prices, spatial=0.05, limit=0.2)
    np.testing.assert_array_equal(near, np.where(got < np.float32(0.2), got, np.inf))


@pytest.mark.parametrize("shape", [(60, 50), (14, 15, 16)])
@pytest.mark.parametrize("spatial", [0.0, 0.01])
def test_a_limit_changes_nothing_below_it(shape, spatial):
    image, seeds = random_case(2, shape, 2.0)
    full = geodesic_distance(image, seeds, spatial=spatial)
    for limit in (0.0, 0.05, 0.2, 100.0):
        near = geodesic_distance(image, seeds, spatial=spatial, limit=limit)
        np.testing.assert_array_equal(near, np.where(full < np.float32(limit), full, np.inf))


@pytest.mark.parametrize("shape", [(40, 31), (11, 12, 13)])
def test_no_step_is_longer_than_it_costs_and_each_distance_is_a_path(shape):
    image, seeds = random_case(7, shape, 1.0, 4)
    for spatial in (0.0, 0.02):
        distance = geodesic_distance(image, seeds, spatial=spatial)
        least = prices_of(seeds).astype(np.float32)
        for step, here, there in neighbours(shape):
            square = np.float32((spatial * np.linalg.norm(step)) ** 2)
            via = distance[there] + np.sqrt((image[here] - image[there]) ** 2 + square)
            assert (distance[here] <= via * (1 + 1e-6)).all()
            np.minimum(least[here], via, out=least[here])
        np.testing.assert_allclose(distance, least, rtol=1e-6)
        assert (distance[seeds] == 0).all()


def test_more_seeds_are_never_farther():
    image, seeds = random_case(8, (30, 25), 1.0, 3)
    more = seeds | random_case(9, seeds.shape, 0.0, 3)[1]
    few, many = geodesic_distance(image, seeds), geodesic_distance(image, more)
    assert (many <= few).all()
    assert (many < few).any()
    both = np.minimum(few, geodesic_distance(image, more & ~seeds))
    np.testing.assert_array_equal(many, both)


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


def test_a_spiral_is_walked_to_its_end():
    image, here = np.ones((15, 15)), np.array([1, 1])
    image[1, 1] = 0
    for turn, length in enumerate((12, 12, 12, 10, 10, 8, 8, 6, 6, 4, 4)):
        direction = [(0, 1), (1, 0), (0, -1), (-1, 0)][turn % 4]
        for _ in range(length):
            here = here + direction
            image[tuple(here)] = 0
    seeds = np.zeros(image.shape, bool)
    seeds[1, 1] = True
    distance = geodesic_distance(image, seeds)
    assert (distance == image).all()  # 0 all along the way


def test_all_seeds_one_seed_no_seed():
    image, seeds = random_case(5, (6, 5, 4))
    distance = geodesic_distance(image, seeds)
    assert distance.dtype == np.float32
    assert (distance[seeds] == 0).all()
    assert np.isfinite(distance).all()
    assert (geodesic_distance(image, np.ones_like(seeds)) == 0).all()
    assert np.isinf(geodesic_distance(image, np.zeros_like(seeds))).all()
    assert (geodesic_distance(np.full((5, 4), 0.5), np.eye(5, 4)) == 0).all()


@pytest.mark.parametrize("order", [(2, 0, 1), (2, 1, 0), (0, 2, 1)])
def test_neither_the_order_of_axes_nor_of_memory_matters(order):
    image, seeds = random_case(6, (8, 9, 7))
    kept = image.copy(), seeds.copy()
    expected = geodesic_distance(image, seeds, spatial=0.01)
    turned = geodesic_distance(image.transpose(order), seeds.transpose(order), spatial=0.01)
    np.testing.assert_allclose(turned, expected.transpose(order), rtol=1e-6)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]):
        np.testing.assert_array_equal(geodesic_distance(change(image), change(seeds), spatial=0.01), expected)
        np.testing.assert_array_equal(geodesic_distance(image, change(seeds), spatial=0.01), expected)
    np.testing.assert_array_equal((image, seeds), kept)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": np.zeros((3, 4), bool)}, "give one shape"),
        ({"image01": np.zeros(3), "seeds": np.zeros(3)}, "2D or 3D"),
        ({"image01": np.full((3, 3), np.nan)}, "NaN or infinity"),
        ({"limit": -0.1}, "limit is -0.1"),
        ({"limit": np.nan}, "limit is nan"),
        ({"spatial": -0.1}, "spatial is -0.1"),
        ({"spacing": (1.0, -1.0)}, "above 0"),
        ({"spacing": (1.0,)}, "give 2"),
    ],
)
def test_bad_arguments(changed, message):
    good = {"image01": np.zeros((3, 3)), "seeds": np.zeros((3, 3), bool)}
    with pytest.raises(ValueError, match=message):
        geodesic_distance(**(good | changed))


@pytest.mark.parametrize("price", [-1.0, np.nan])
def test_prices_below_0_and_nan_are_refused(price):
    with pytest.raises(ValueError, match="price"):
        soft_distance(np.zeros((3, 3)), np.full((3, 3), price))
