import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bifseg.baselines.random_walks import FLOOR, laplacian, meeting_probability


def random_case(seed, shape, blur=1.0):
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.random(shape), blur)
    image = (image - image.min()) / np.ptp(image)
    scribbles = np.zeros(shape, np.uint8)
    scribbles.flat[rng.permutation(scribbles.size)[:6]] = [1, 1, 1, 2, 2, 2]
    return image, scribbles


def dense_solution(image, scribbles, beta):
    """Grady's Eq. 3 and 8, as they stand, on a graph of the 4 or 6 neighbours written out pair by pair."""
    pixels = list(np.ndindex(image.shape))
    full = np.zeros((len(pixels), len(pixels)))
    for i, p in enumerate(pixels):
        for j, q in enumerate(pixels):
            if np.abs(np.subtract(p, q)).sum() == 1:
                full[i, j] = -np.exp(-beta * (image[p] - image[q]) ** 2) - FLOOR
    full -= np.diag(full.sum(1))
    marked, free = np.flatnonzero(scribbles), np.flatnonzero(scribbles.ravel() == 0)
    known = (scribbles.ravel()[marked] == 1).astype(float)
    solution = np.zeros(len(pixels))
    solution[marked] = known
    solution[free] = np.linalg.solve(full[np.ix_(free, free)], -full[np.ix_(free, marked)] @ known)
    return solution


@pytest.mark.parametrize("shape", [(9, 8), (1, 12), (5, 4, 6), (5, 1, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_probability_solves_gradys_equation(shape, seed):
    image, scribbles = random_case(seed, shape)
    expected = dense_solution(image, scribbles, 90.0)
    for guess in (None, np.full(image.size, 0.5), np.random.default_rng(0).random(image.size)):
        got = meeting_probability(laplacian(image, 90.0), scribbles.ravel(), 1e-10, guess)
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_walker_between_two_walls_is_a_gambler():
    """On a line of constant grey the probability falls in equal steps, as in the gambler's ruin."""
    scribbles = np.zeros((1, 11), np.uint8)
    scribbles[0, 0], scribbles[0, 10] = 1, 2
    got = meeting_probability(laplacian(np.zeros((1, 11)), 90.0), scribbles.ravel(), 1e-12)
    np.testing.assert_allclose(got, np.linspace(1, 0, 11), atol=1e-9)


def test_every_pixel_marked():
    scribbles = np.array([[1, 2], [2, 1]], np.uint8)
    got = meeting_probability(laplacian(np.zeros((2, 2)), 90.0), scribbles.ravel())
    np.testing.assert_array_equal(got, [1, 0, 0, 1])


def test_random_walks_agree_with_scikit_image():
    segmentation = pytest.importorskip("skimage.segmentation")
    image, scribbles = random_case(3, (40, 36), blur=2.0)
    image = np.clip(image + np.random.default_rng(4).normal(0, 0.03, image.shape), 0, 1)
    beta = 90 * 10 * image.std()  # theirs is in units of the deviation
    theirs = segmentation.random_walker(
        image, scribbles.astype(int), beta=beta, mode="cg_j", tol=1e-8, return_full_prob=True
    )[0]
    ours = meeting_probability(laplacian(image, 90.0), scribbles.ravel(), 1e-8).reshape(image.shape)
    assert np.abs(ours - theirs).max() < 5e-3  # their floor of the weights is another
