"""An example is shown as other users, scanners and patients might have shown it."""

import numpy as np
import pytest

from bifseg.imaging.intensity import normalise
from bifseg.tasks import augmentation
from bifseg.tasks.augmentation import MARGIN, deformed, shown


def ellipsoid(shape):
    axes = np.meshgrid(*(np.linspace(-1.1, 1.1, n) for n in shape), indexing="ij")
    return sum(axis**2 for axis in axes) < 1


def ends(mask, axis):
    inside = np.flatnonzero(np.moveaxis(mask, axis, 0).reshape(mask.shape[axis], -1).any(axis=1))
    return inside[0], inside[-1]


@pytest.mark.parametrize("flips", [True, False])
def test_what_is_shown_is_a_part_of_the_example_with_all_of_its_object(flips, monkeypatch):
    monkeypatch.setattr(augmentation, "ANOTHER_SHAPE", 0)
    rng = np.random.default_rng(0)
    image, mask = np.indices((40, 60))[1].astype(np.float32), np.zeros((40, 60), bool)
    mask[10:30, 1:50] = True
    turned = set()
    for _ in range(40):
        part, inside = shown(rng, image, mask, flips)
        assert part.dtype == np.float32
        assert part.shape == inside.shape
        assert inside.sum() == mask.sum()
        assert all(n - 2 * int(MARGIN * n) <= m <= n for n, m in zip(image.shape, part.shape, strict=True))
        assert part.shape[1] >= 59 - int(MARGIN * 60)  # on the left the object is one column from the border
        turned.add(bool(part[0, :5].mean() > part[0, -5:].mean()))
    assert turned == ({True, False} if flips else turned)


def test_of_the_same_scanner_user_and_patient_it_is_the_image_itself(monkeypatch):
    for name in ("ANOTHER_LOOK", "ANOTHER_SHAPE", "MARGIN"):
        monkeypatch.setattr(augmentation, name, 0)
    image = normalise(np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32))
    mask = image > 1
    part, inside = shown(np.random.default_rng(1), image, mask, flips=False)
    assert np.allclose(part, image, atol=1e-2)
    assert np.array_equal(inside, mask)


@pytest.mark.parametrize("shape", [(48, 64), (24, 32, 20)])
def test_another_patient_has_another_shape_that_fills_the_box_as_before(shape):
    mask, changes = ellipsoid(shape), []
    for seed in range(20):
        image, other = deformed(np.random.default_rng(seed), mask.astype(np.float32), mask)
        assert image.shape == other.shape == shape
        assert (image > 0.5)[other].all()  # both are bent alike; what lies outside is no object
        for axis in range(len(shape)):
            (first, last), (left, right) = ends(mask, axis), ends(other, axis)
            assert abs(first - left) <= 1
            assert abs(last - right) <= 1
        changes.append((mask ^ other).sum() / mask.sum())
    assert 0.05 < np.mean(changes) < 0.4


@pytest.mark.parametrize("mask", [np.zeros((20, 20), bool), np.eye(20, dtype=bool) & (np.arange(20) == 7)])
def test_where_there_is_next_to_nothing_it_stays(mask):
    image = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32)
    assert all(a is b for a, b in zip(deformed(np.random.default_rng(1), image, mask), (image, mask), strict=True))


def test_the_same_seed_bends_alike():
    mask = ellipsoid((40, 40))
    image = mask.astype(np.float32)
    one, other = (deformed(np.random.default_rng(3), image, mask)[0] for _ in range(2))
    assert np.array_equal(one, other)


def test_with_what_lies_around_the_box_the_object_is_whole_and_the_context_as_wide_as_before():
    rng = np.random.default_rng(1)
    image, mask = rng.normal(size=(40, 44, 36)).astype(np.float32), ellipsoid((28, 32, 24))
    for _ in range(10):
        part, inside = shown(rng, image, mask, True, context=6)
        assert part.shape == tuple(n + 12 for n in inside.shape)
        for axis, (n, seen) in enumerate(zip(mask.shape, inside.shape, strict=True)):
            assert n - 2 * int(MARGIN * n) <= seen <= n
            (first, last), (begun, ended) = ends(mask, axis), ends(inside, axis)
            assert ended - begun == pytest.approx(last - first, abs=2)
