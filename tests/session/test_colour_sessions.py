"""Objects that only their colour tells apart, and greys that are the same however they are stored."""

import heapq
from itertools import product

import numpy as np
import pytest

from bifseg import Image, Session
from bifseg.algorithms.geodesic import geodesic_distance
from bifseg.errors import InvalidInput
from bifseg.imaging.intensity import colour_range, intensity_range
from bifseg.method.band_cut import band_cut
from bifseg.method.energy import Energy

RNG = np.random.default_rng(2)
X, Y = np.ogrid[:64, :64]
DISC = (X - 30) ** 2 + (Y - 33) ** 2 <= 15**2


def picture(noise=6.0):
    """A disc of red in green of the same luminance."""
    colours = np.where(DISC[..., None], (170.0, 60.0, 60.0), (70.0, 111.0, 61.0))
    seen = np.clip(colours + RNG.normal(0, noise, colours.shape), 0, 255)
    return Image(seen.astype(np.uint8)[:, :, None], planar=True)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_edges_between_colours_help_where_luminance_tells_nothing_apart():
    image = picture()
    strokes = np.zeros(image.shape, np.uint8)
    strokes[24:37, 33] = 1
    strokes[10:52, 13] = 2
    found = {}
    for seen in (image, image.with_array(image.array)):
        session = Session(seen)
        session.box(((10, 52), (12, 54), 0))
        found[seen.colours is not None] = dice(session.scribble(strokes)[..., 0], DISC)
    assert found[True] >= 0.88
    assert found[True] > found[False] + 0.03


def test_colours_of_one_luminance_are_no_constant_image():
    colours = np.zeros((20, 20, 1, 3), np.uint8)
    colours[:], colours[5:15, 5:15] = (0, 51, 0), (100, 0, 0)
    image = Image(colours, planar=True)
    assert np.ptp(image.array) == 0
    session = Session(image)
    strokes = np.zeros(image.shape, np.uint8)
    strokes[8:12, 10], strokes[3, 4:16] = 1, 2
    session.box(((2, 18), (2, 18), 0))
    assert dice(session.scribble(strokes), colours[..., 0] > 0) >= 0.9  # of the luminance alone, 0.78
    with pytest.raises(InvalidInput, match="constant inside the box"):
        Session(image).box(((6, 12), (6, 12), 0))


# ---- the parts, each against what is plain to see


def test_the_energy_of_colours_is_that_of_the_mean_of_their_squares():
    image, labels = RNG.random((5, 4, 3)), RNG.random((5, 4)) < 0.5
    energy = Energy(image, lam=2.0, sigma=0.3, neighbours=8, colours=True)
    probability = RNG.random((5, 4))
    wanted = -np.log(np.where(labels, probability, 1 - probability)).sum()
    for a, b in product(np.ndindex(5, 4), repeat=2):
        step = np.subtract(b, a)
        if a < b and abs(step).max() == 1 and labels[a] != labels[b]:
            change = ((image[a] - image[b]) ** 2).mean()
            wanted += 2 * np.exp(-change / (2 * 0.3**2)) / np.linalg.norm(step)
    assert energy(labels, probability) == pytest.approx(wanted)


def test_the_geodesic_distance_between_colours_is_the_least_over_all_paths():
    image, seeds = RNG.random((7, 6, 3)).astype(np.float32), np.zeros((7, 6), bool)
    seeds[1, 2] = seeds[6, 5] = True
    wanted = np.full(seeds.shape, np.inf)
    queue = [(0.0, tuple(seed)) for seed in np.argwhere(seeds)]
    while queue:
        price, at = heapq.heappop(queue)
        if price >= wanted[at]:
            continue
        wanted[at] = price
        for step in product((-1, 0, 1), repeat=2):
            to = at[0] + step[0], at[1] + step[1]
            if any(step) and 0 <= to[0] < 7 and 0 <= to[1] < 6:
                heapq.heappush(queue, (price + float(np.sqrt(((image[at] - image[to]) ** 2).mean())), to))
    np.testing.assert_allclose(geodesic_distance(image, seeds), wanted, rtol=1e-5)


def test_greys_stored_as_colours_are_cut_as_greys():
    scan = RNG.integers(0, 4096, (24, 20, 16)).astype(np.uint16)
    log_odds = RNG.normal(0, 2, (12, 10, 8)).astype(np.float32)
    labels, fixed = log_odds > 0, np.zeros(scan.shape, np.uint8)
    fixed[3, 3, 3], fixed[20, 10, 8] = 1, 2
    colours = np.stack([scan] * 3, axis=-1)
    assert colour_range(colours) == intensity_range(scan)
    how = {"lam": 1.0, "sigma": 0.05}
    window = intensity_range(scan)
    grey = band_cut(scan, window, (1, 1, 1), log_odds, labels, fixed, **how)
    np.testing.assert_array_equal(band_cut(colours, window, (1, 1, 1), log_odds, labels, fixed, **how), grey)


def test_a_cut_between_colours_follows_an_edge_that_no_luminance_has():
    image = picture(noise=3.0)
    coarse = DISC[::4, ::4]
    log_odds, fixed = np.where(coarse, 1.0, -1.0).astype(np.float32), np.zeros(DISC.shape, np.uint8)
    how = {"lam": 3.0, "sigma": 0.05}
    masks = [
        band_cut(seen, (0, 255), (1, 1), log_odds, coarse, fixed, **how)
        for seen in (image.colours[:, :, 0], image.array[..., 0])
    ]
    assert dice(masks[0], DISC) > max(0.98, dice(masks[1], DISC))
