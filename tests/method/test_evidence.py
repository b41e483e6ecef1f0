import heapq

import numpy as np
import pytest

from bifseg.method.evidence import (
    BORDER,
    LONG_STEP,
    NIL,
    STEP,
    RelativeDistance,
    scribble_evidence,
    with_evidence,
    with_persistence,
)


def slowly(image, seeds, prices=None, step=STEP):
    """Dijkstra with 8 neighbours, a step costing hypot(change, step)."""
    distance = np.full(image.shape, np.inf)
    queue = [(0.0 if prices is None else prices[tuple(p)], tuple(p)) for p in np.argwhere(seeds)]
    heapq.heapify(queue)
    for price, p in queue:
        distance[p] = price
    while queue:
        d, (x, y) = heapq.heappop(queue)
        if d > distance[x, y]:
            continue
        for i in range(max(0, x - 1), min(image.shape[0], x + 2)):
            for j in range(max(0, y - 1), min(image.shape[1], y + 2)):
                length = step * np.hypot(i - x, j - y)
                new = d + np.hypot(image[i, j] - image[x, y], length)
                if new < distance[i, j]:
                    distance[i, j] = new
                    heapq.heappush(queue, (new, (i, j)))
    return distance


def test_evidence_is_the_formula():
    rng = np.random.default_rng(0)
    image = np.clip(np.indices((14, 11)).sum(0) / 24 + rng.normal(0, 0.02, (14, 11)), 0, 1).astype(np.float32)
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[3, 2:5], scribbles[11, 8] = 1, 2
    found = scribble_evidence(image, scribbles, 4.0, 0.1)
    to_foreground, to_background = (slowly(image, scribbles == label) for label in (1, 2))
    parts = [4 * np.exp(-distance / 0.1) for distance in (to_foreground, to_background)]
    np.testing.assert_allclose(found, parts[0] - parts[1], atol=NIL)
    parts = [np.where(part > NIL, part, 0) for part in parts]
    np.testing.assert_allclose(found, parts[0] - parts[1], atol=1e-4)
    assert found[scribbles == 1].min() > 3.9
    assert found[scribbles == 2].max() < -3.9


def test_nearness_is_the_formula():
    rng = np.random.default_rng(0)
    image = np.clip(np.indices((14, 11)).sum(0) / 24 + rng.normal(0, 0.02, (14, 11)), 0, 1).astype(np.float32)
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[3, 2:5], scribbles[11, 8], scribbles[0, 4] = 1, 2, 1  # the last on the border
    prices = np.where(scribbles == 2, 0, BORDER)
    on_border = np.ones(image.shape, bool)
    on_border[1:-1, 1:-1] = False
    near = slowly(image, scribbles == 1, step=LONG_STEP)
    far = slowly(image, on_border | (scribbles == 2), prices, LONG_STEP)
    found = RelativeDistance(image)
    np.testing.assert_allclose(found.evidence(scribbles, 4.0), 4 * (far - near) / (far + near), atol=1e-4)
    behind = 4 * (far - 2 * near) / (far + 2 * near)
    np.testing.assert_allclose(found.evidence(scribbles, 4.0, handicap=2.0), behind, atol=1e-4)


def test_nearness_changes_its_sign_at_an_edge_however_far_the_scribbles_are():
    image = np.zeros((60, 60, 5), np.float32)
    image[45:] = 1
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[20:40, 10:50, 2], scribbles[55, 5:55, 2] = 1, 2
    found = RelativeDistance(image).evidence(scribbles, 4.0)
    assert (found[40:45, 10:50, 1:-1] > 0).all()
    assert (found[45:] < 0).all()
    assert (found[scribbles == 1] == 4).all()
    assert (found[scribbles == 2] == -4).all()


def test_without_foreground_nothing_is_nearer():
    image, scribbles = np.random.default_rng(0).random((9, 9)).astype(np.float32), np.zeros((9, 9), np.uint8)
    scribbles[4, 4] = 2
    assert RelativeDistance(image).evidence(scribbles, 4.0) is None
    scribbles[4, 4] = 1
    assert RelativeDistance(image).evidence(scribbles, 0.0) is None
    assert RelativeDistance(np.zeros((9, 9), np.float32)).evidence(scribbles, 4.0)[4, 4] == 4


@pytest.mark.parametrize("shape", [(40, 30), (24, 20, 16), (24, 20, 3)])
def test_distances_that_are_lowered_are_those_that_are_searched_anew(shape):
    rng = np.random.default_rng(0)
    image = rng.random(shape, np.float32) ** 4
    kept, scribbles = RelativeDistance(image), np.zeros(shape, np.uint8)
    for step in range(12):
        if step == 6:
            scribbles[scribbles == 1] = 0  # erased
        where = tuple(slice(k, k + int(rng.integers(1, 6))) for k in (int(rng.integers(n)) for n in shape))
        scribbles[where] = 1 + step % 2  # over the older ones
        found, anew = (one.evidence(scribbles, 2.0) for one in (kept, RelativeDistance(image)))
        np.testing.assert_array_equal(found, anew)


def test_what_is_less_than_nil_is_nothing():
    image = np.linspace(0, 1, 60, dtype=np.float32)[None]
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[0, 0] = 1
    found = scribble_evidence(image, scribbles, 4.0, 0.05)[0]
    assert (np.diff(found) <= 0).all()
    assert found[found > 0].min() > NIL
    assert 0 < (found == 0).sum() < 50


def test_it_stops_at_borders_and_fades_in_even_tissue():
    image = np.zeros((40, 9), np.float32)
    image[20:] = 1
    scribbles = np.zeros(image.shape, np.uint8)
    scribbles[10, 4] = 1
    found = scribble_evidence(image, scribbles, 4.0, 0.1)
    assert (found[:20] > 100 * found[20:].max()).all()
    assert (np.diff(found[10:20, 4]) < 0).all()
    assert found[15, 4] == pytest.approx(4 * np.exp(-5 * STEP / 0.1), rel=1e-3)


def test_where_nothing_is_said_nothing_changes():
    image, none = np.zeros((5, 5), np.float32), np.zeros((5, 5), np.uint8)
    one = none.copy()
    one[2, 2] = 1
    assert scribble_evidence(image, none, 4.0, 0.1) is None
    assert scribble_evidence(image, one, 0.0, 0.1) is None
    assert scribble_evidence(image, one, NIL, 0.1) is None
    probability = np.full((5, 5), 0.3, np.float32)
    assert with_evidence(probability, None) is probability
    certain = with_evidence(np.array([0.0, 1.0]), np.array([4.0, -4.0], np.float32))
    assert 0 <= certain[0] < 1e-3
    assert 1 - 1e-3 < certain[1] <= 1
    p, e = np.linspace(0.05, 0.95, 9, dtype=np.float32), np.linspace(-3, 3, 9, dtype=np.float32)
    changed = with_evidence(p, e)
    assert changed.dtype == np.float32
    np.testing.assert_allclose(np.log(changed / (1 - changed)), np.log(p / (1 - p)) + e, atol=1e-4)
    for strength, reach in ((-1, 0.1), (np.nan, 0.1), (4, 0), (4, np.inf)):
        with pytest.raises(ValueError, match="give >= 0 and > 0"):
            scribble_evidence(image, one, strength, reach)


def test_a_mask_stays_where_nothing_else_is_said():
    so_far = np.array([True, True, False, False])
    kept = with_persistence(None, so_far, 0.5)
    assert kept.dtype == np.float32
    assert kept.tolist() == [0.5, 0.5, -0.5, -0.5]
    said = np.array([0, -4, 4, 0], np.float32)
    assert with_persistence(said, so_far, 0.5).tolist() == [0.5, -3.5, 3.5, -0.5]
    assert said.tolist() == [0, -4, 4, 0]
    assert with_persistence(said, so_far, 0.0) is said
    assert with_persistence(None, so_far, 0.0) is None
    np.testing.assert_array_equal(with_evidence(np.full(4, 0.45), kept) > 0.5, so_far)
