import numpy as np
import pytest

from bifseg.baselines.grabcut import LEVELS, STRAY, GrabCut, GreyMixture
from bifseg.evaluation.metrics import dice
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import BACKGROUND, Box


def noisy_disc(seed=0, contrast=60.0):
    rng = np.random.default_rng(seed)
    x, y = np.indices((48, 44))
    truth = ((x - 24) ** 2 + (y - 22) ** 2 <= 100)[..., None]
    return Image((truth * contrast + rng.normal(0, 20, truth.shape)).astype(np.float32)), truth


def cost(method):
    """The energy that the alternation minimises, from the labels and mixtures as they are."""
    p = [m.density()[method._level] for m in method._mixtures]
    unary = -np.log(np.where(method._labels, *p)).sum()
    even = np.full(method._labels.shape, 0.5)
    return unary + method._energy(method._labels, even) - even.size * np.log(2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("box", ["10:38,9:36,0", "13:36,4:40,0"])
def test_the_energy_never_rises(seed, box):
    image, _ = noisy_disc(seed)
    method = GrabCut(rounds=1, sigma=0.3)
    method.start(image, Box.parse(box))
    fixed = np.where(method._inside, 0, BACKGROUND)
    seen = [cost(method)]
    for _ in range(6):
        counts = [np.bincount(method._level[s], minlength=len(LEVELS)) for s in (method._labels, ~method._labels)]
        method._mixtures = [m.fitted(n) for m, n in zip(method._mixtures, counts, strict=True)]
        seen.append(cost(method))
        method._labels = method._round(fixed)
        seen.append(cost(method))
    assert (np.diff(seen) < 1e-6 * abs(seen[0])).all(), seen
    assert seen[-1] < seen[0]


def test_two_gaussians_are_told_apart():
    image, truth = noisy_disc(1, contrast=160.0)
    mask = GrabCut(components=(1, 1)).start(image, Box.parse("10:38,9:36,0"))
    assert (mask != truth).sum() < 6


def test_a_mixture_finds_its_gaussians():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.3, 0.05, 30_000), rng.normal(0.7, 0.1, 10_000)])
    counts = np.bincount(np.rint(values.clip(0, 1) * (len(LEVELS) - 1)).astype(int), minlength=len(LEVELS))
    found = GreyMixture.begun(counts, 2).fitted(counts, iterations=200)
    np.testing.assert_allclose(found.means, (0.3, 0.7), atol=0.01)
    np.testing.assert_allclose(np.sqrt(found.variances), (0.05, 0.1), atol=0.01)
    np.testing.assert_allclose(found.weights, (0.75, 0.25), atol=0.02)
    np.testing.assert_allclose(found.density().mean(), 1, atol=0.01)


def test_em_raises_the_likelihood_and_no_level_is_impossible():
    counts = np.random.default_rng(1).integers(0, 9, len(LEVELS)) * (LEVELS > 0.4)
    mixture = GreyMixture.begun(counts, 3)
    likelihood = []
    for _ in range(10):
        likelihood.append(counts @ np.log(mixture.density()))
        mixture = mixture.fitted(counts, iterations=1)
    assert (np.diff(likelihood) > -1e-6).all()
    assert likelihood[-1] > likelihood[0]
    assert mixture.density().min() >= STRAY


@pytest.mark.parametrize("components", [1, 3, 5])
def test_a_single_pixel_is_a_narrow_gaussian(components):
    counts = np.zeros(len(LEVELS), int)
    counts[500] = 1
    mixture = GreyMixture.begun(counts, components).fitted(counts)
    assert np.argmax(mixture.density()) == 500
    np.testing.assert_allclose(mixture.weights.sum(), 1)


@pytest.mark.parametrize("plane", [None, 8])
def test_grabcut_finds_a_bright_ball_and_obeys_scribbles(plane):
    rng = np.random.default_rng(0)
    truth = sum((g - c) ** 2 for g, c in zip(np.indices((40, 40, 16)), (20, 20, 8), strict=True)) <= 36
    image = Image((truth * 100 + rng.normal(0, 10, truth.shape)).astype(np.float32))
    box = Box.of(((10, 31), (10, 31), plane or (1, 16)), image.shape)
    if plane:
        truth[:, :, np.arange(16) != plane] = False
    method = GrabCut(components=(2, 2))
    assert dice(method.start(image, box), truth) > 0.95
    labels = np.zeros(image.shape, np.uint8)
    labels[20, 20, 8], labels[11, 11, 8] = 2, 1
    refined = method.refine(labels)
    assert not refined[20, 20, 8]
    assert refined[11, 11, 8]
    assert not refined[~np.isin(np.arange(40), np.arange(10, 31))].any()
