import numpy as np
import pytest

from bifseg.baselines.grabcut import GrabCut
from bifseg.evaluation.metrics import dice
from bifseg.evaluation.users import simulated_box, simulated_scribbles
from bifseg.image import Image
from bifseg.interaction import Box


def ball(shape, centre, radius):
    grid = np.indices(shape)
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2


def test_dice_of_hand_made_masks():
    assert dice(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])) == 0.5
    assert dice(np.zeros(3), np.zeros(3)) == 1
    assert dice(np.ones(3), np.zeros(3)) == 0
    with pytest.raises(ValueError, match="shape"):
        dice(np.ones(3), np.ones(4))


def test_a_simulated_box_holds_the_object_within_its_margin():
    truth = ball((40, 40, 20), (20, 18, 9), 7)
    seen = set()
    for seed in range(30):
        box = simulated_box(truth, np.random.default_rng(seed), margin=4)
        assert truth.sum() == truth[box.slices].sum()
        for (a, b), (low, high) in zip(
            zip(box.start, box.stop, strict=True), ((13, 28), (11, 26), (2, 17)), strict=True
        ):
            assert low - 4 <= a <= low
            assert high <= b <= high + 4
        seen.add(box)
    assert len(seen) > 20
    assert simulated_box(truth, np.random.default_rng(0), 10, plane=(2, 9)).plane == 2
    assert simulated_box(np.ones((5, 5, 5), bool), np.random.default_rng(0), 10).shape == (5, 5, 5)
    with pytest.raises(ValueError, match="absent"):
        simulated_box(truth, np.random.default_rng(0), plane=(2, 0))


@pytest.mark.parametrize("shape", [(40, 36, 1), (30, 28, 16)])
def test_simulated_scribbles_are_right_lie_in_the_largest_errors_and_are_lines(shape):
    flat = shape[2] == 1
    truth = ball(shape, (15, 14, 0 if flat else 8), 7)
    mask = truth.copy()
    mask[:14] = False  # misses half
    mask |= ball(shape, (25, 22, 0 if flat else 8), 3)  # leaks
    box = Box.of(((2, 29), (2, 27), 0 if flat else (0, 16)), shape)
    labels = simulated_scribbles(mask, truth, box)
    assert labels.shape == shape
    assert set(np.unique(labels)) == {0, 1, 2}
    assert (truth & ~mask)[labels == 1].all()
    assert (mask & ~truth)[labels == 2].all()
    assert 0 < np.count_nonzero(labels) < 0.6 * np.count_nonzero(mask != truth)
    assert not simulated_scribbles(truth, truth, box).any()


@pytest.mark.parametrize("plane", [None, 8])
def test_grabcut_finds_a_bright_ball_and_obeys_scribbles(plane):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    truth = ball((40, 40, 16), (20, 20, 8), 6)
    image = Image((truth * 100 + rng.normal(0, 10, truth.shape)).astype(np.float32))
    box = Box.of(((10, 31), (10, 31), plane or (1, 16)), image.shape)
    if plane:
        truth[:, :, [z for z in range(16) if z != plane]] = False
    method = GrabCut(components=2)
    assert dice(method.start(image, box), truth) > 0.95
    labels = np.zeros(image.shape, np.uint8)
    labels[20, 20, 8], labels[11, 11, 8] = 2, 1
    refined = method.refine(labels)
    assert not refined[20, 20, 8]
    assert refined[11, 11, 8]
    assert not refined[~np.isin(np.arange(40), np.arange(10, 31))].any()
