from itertools import product

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.baselines.geos import GeoS, distance, log_likelihood, symmetric_filters
from bifseg.imaging.image import Image
from bifseg.method.grid import Grid
from bifseg.prompts.interaction import Box

GAMMA = 20.0


def random_image(seed, shape, blur=0.7):
    image = gaussian_filter(np.random.default_rng(seed).random(shape), blur)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


def dijkstra_distance(image, start):
    """min over x' of d(x, x') + start(x'), by Dijkstra's algorithm from one more node, tied to all at their price."""
    index, origin = np.arange(image.size).reshape(image.shape), image.size
    tails, heads, costs = [origin] * image.size, list(range(image.size)), list(start.ravel() + 1e-12)
    for i in np.ndindex(image.shape):
        for step in product((-1, 0, 1), repeat=image.ndim):
            j = tuple(np.add(i, step))
            if any(step) and all(0 <= a < n for a, n in zip(j, image.shape, strict=True)):
                tails.append(index[i])
                heads.append(index[j])
                costs.append(np.hypot(GAMMA * (float(image[i]) - float(image[j])), np.linalg.norm(step)))
    graph = coo_matrix((costs, (tails, heads)), shape=(image.size + 1,) * 2).tocsr()
    return dijkstra(graph, indices=origin)[:-1].reshape(image.shape)


@pytest.mark.parametrize("shape", [(13, 10), (1, 12), (5, 6, 7), (6, 1, 5)])
def test_distances_to_soft_seeds_are_dijkstras(shape):
    image, rng = random_image(0, shape), np.random.default_rng(1)
    for prices in (30 * rng.random(shape), np.where(rng.random(shape) < 0.1, 0, 50.0)):
        np.testing.assert_allclose(distance(image, prices, GAMMA), dijkstra_distance(image, prices), atol=1e-4)


@pytest.mark.parametrize("shape", [(20, 18), (7, 8, 9)])
def test_the_filtered_masks_are_those_of_the_definition(shape):
    image, rng = random_image(3, shape, 1.5), np.random.default_rng(4)
    scribbles = np.zeros(shape, np.uint8)
    scribbles.flat[rng.permutation(scribbles.size)[:4]] = [1, 1, 2, 2]
    thetas = (1.0, 4.0)
    to_foreground, to_background = (distance(image, np.where(scribbles == k, 0, np.inf), GAMMA) for k in (1, 2))
    signed = to_foreground - to_background
    got = iter(symmetric_filters(image, signed, thetas, scribbles, GAMMA))
    for erosion, dilation in product(thetas, repeat=2):
        inner = ((signed < -erosion) | (scribbles == 1)) & (scribbles != 2)
        outer = ((signed >= dilation) | (scribbles == 2)) & (scribbles != 1)
        far = [geodesic_distance(image, s, spatial=1 / GAMMA).astype(float) * GAMMA for s in (inner, outer)]
        value = far[0] - far[1] + dilation - erosion
        clear = np.abs(value) > 1e-3
        np.testing.assert_array_equal(next(got)[clear], (value < 0)[clear])
    assert next(got, None) is None


def test_on_constant_grey_the_filter_removes_a_speck_and_keeps_a_disc():
    x, y = np.indices((40, 40))
    disc, speck = (x - 14) ** 2 + (y - 20) ** 2 <= 81, (np.abs(x - 34) <= 1) & (np.abs(y - 20) <= 1)
    grey, mask = np.zeros((40, 40), np.float32), disc | speck
    inside, outside = (distance(grey, np.where(m, 0, np.inf), GAMMA) for m in (mask, ~mask))
    (opened,) = symmetric_filters(grey, inside - outside, (3.0,), np.zeros((40, 40), np.uint8), GAMMA)
    assert not opened[speck].any()
    assert (opened ^ disc)[:28].mean() < 0.02  # an octagon opens a disc


def test_a_mask_of_least_energy_is_taken():
    image = Image((np.indices((24, 24, 1))[0] > 11).astype(np.float32) + random_image(5, (24, 24, 1)) * 0.1)
    method, box = GeoS(thetas=(2.0,)), Box.parse("0:24,0:24,0")
    method._begin(grid := Grid(image, box, 24, 24))
    scribbles = np.zeros((24, 24), np.uint8)
    scribbles[18, 4:20], scribbles[4, 4:20] = 1, 2
    evidence = log_likelihood(grid.image01, scribbles == 1) - log_likelihood(grid.image01, scribbles == 2)
    mask = method._segment(grid, scribbles)
    np.testing.assert_array_equal(mask, np.indices((24, 24))[0] > 11)
    rough = mask ^ (np.random.default_rng(0).random(mask.shape) < 0.05)
    assert method._energy(mask, evidence) < method._energy(rough, evidence)


def test_likelihoods_are_high_where_the_grey_is_like_the_scribble():
    image = np.linspace(0, 1, 100)[None]
    likelihood = log_likelihood(image, image > 0.8)[0]
    assert likelihood[90] > likelihood[60] + 2
    assert np.isfinite(likelihood).all()
