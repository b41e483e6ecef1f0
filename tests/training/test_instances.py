"""Instances are the objects of a data set, whole and nothing else; a sample is what a simulated user draws."""

from dataclasses import replace

import numpy as np
import pytest
from ball_scans import Scan, ball, ball_scan
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.evaluation.simulated_users import simulated_box
from bifseg.imaging.resampling import resample, resample_labels
from bifseg.method import crop
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box
from bifseg.training import instances
from bifseg.training.instances import MARGIN, cut

CLASSES = {"liver": (1,), "lesion": (2,), "both": (1, 2)}
FEW = {2: 4, 3: 8}


def random_labels(seed, shape, values=2):
    """A label map of a few boxes, some of which touch."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int16)
    for _ in range(rng.integers(0, 8)):
        corner = [rng.integers(0, n) for n in shape]
        labels[tuple(slice(c, c + rng.integers(1, 9)) for c in corner)] = rng.integers(0, values + 1)
    return labels


def random_scan(seed, shape=(26, 24, 7), spacing=(1.0, 1.0, 2.5)):
    array = np.random.default_rng(seed).integers(-100, 1000, shape).astype(np.int16)
    return Scan(array, random_labels(seed, shape), spacing)


def flood(mask):
    """Connected components by walking from neighbour to neighbour."""
    left, found = {tuple(p) for p in np.argwhere(mask)}, []
    while left:
        edge = [min(left)]
        part = np.zeros_like(mask)
        while edge:
            p = edge.pop()
            if p in left:
                left.remove(p)
                part[p] = True
                edge += [(*p[:a], p[a] + d, *p[a + 1 :]) for a in range(mask.ndim) for d in (-1, 1)]
        found.append(part)
    return found


def slow_cut(case, labels, dimension, components, axis):
    """Every object by looping over everything: (class, image, truth, inner)."""
    for name, values in labels.items():
        truth = sum(case.labels == value for value in values) > 0
        planes = range(truth.shape[axis]) if dimension == 2 else [slice(None)]
        for plane in planes:
            where = (*[slice(None)] * axis, plane) if dimension == 2 else ...
            image, mask = case.image.array[where], truth[where]
            for part in flood(mask) if components else [mask]:
                points = np.argwhere(part)
                if len(points) < FEW[dimension] or (np.ptp(points, 0) == 0).any():
                    continue
                low = np.maximum(points.min(0) - MARGIN, 0)
                wide = tuple(slice(a, b) for a, b in zip(low, points.max(0) + 1 + MARGIN, strict=True))
                inner = tuple(zip(points.min(0) - low, points.max(0) + 1 - low, strict=True))
                yield name, image[wide], part[wide], inner


@given(st.integers(0, 2**32), st.sampled_from([2, 3]), st.booleans(), st.permutations([1.0, 1.0, 2.5]))
@settings(deadline=None, max_examples=40)
def test_objects_are_those_that_a_slow_search_finds(seed, dimension, components, spacing):
    case = random_scan(seed, spacing=spacing)
    axis = spacing.index(2.5)
    expected = list(slow_cut(case, CLASSES, dimension, components, axis))
    found = list(cut(case, CLASSES, dimension, components=components, smallest=FEW))
    assert len(found) == len(expected)
    key = lambda item: (item[0], item[3], item[1].tobytes(), item[2].tobytes())  # noqa: E731
    for one, other in zip(
        sorted(((i.label, i.image, i.truth, i.inner) for i in found), key=key), sorted(expected, key=key), strict=True
    ):
        assert one[0] == other[0]
        assert np.array_equal(one[1], other[1])
        assert np.array_equal(one[2], other[2])
        assert one[3] == other[3]
    for instance in found:
        assert instance.dimension == instance.image.ndim == instance.truth.ndim == len(instance.inner) == dimension
        assert instance.truth.dtype == bool
        assert instance.image.dtype == np.int16
        assert instance.image.base is None  # nothing holds on to the scan
        assert instance.spacing == (tuple(spacing) if dimension == 3 else (1.0, 1.0))


@pytest.mark.parametrize(
    ("spacing", "axis"), [((1, 1, 1), 2), ((3, 1, 1), 0), ((1, 3, 1), 1), ((3, 3, 1), 1), ((1, 1, 3), 2)]
)
def test_slices_lie_across_the_axis_of_the_largest_spacing(spacing, axis):
    case = ball_scan(spacing=spacing, shape=(31, 31, 31), centre=(15, 15, 15))
    found = list(cut(case, {"ball": (1,)}, 2, smallest=FEW))
    assert found[0].spacing == tuple(s for k, s in enumerate(spacing) if k != axis)
    truths = [truth for truth in np.moveaxis(case.labels, axis, 0) if truth.sum() >= 4]
    assert [i.truth.sum() for i in found] == [truth.sum() for truth in truths]
    middle = np.moveaxis(case.image.array, axis, 0)[15]
    assert np.array_equal(found[5].image, middle)


def test_a_planar_image_is_its_one_slice_whatever_its_spacing():
    labels = ball()[:, :, 8]
    case = Scan(np.random.default_rng(0).normal(size=labels.shape), labels, (2.0, 1.0, 0.5))
    (found,) = cut(case, {"disc": (1,)}, 2)
    assert found.truth.sum() == labels.sum()
    assert found.spacing == (2.0, 1.0)
    assert list(cut(case, {"disc": (1,)}, 3)) == []


def test_at_most_so_many_slices_are_spread_evenly():
    case = ball_scan()
    every = list(cut(case, {"ball": (1,)}, 2, smallest=FEW))
    areas = [i.truth.sum() for i in every]
    assert len(every) == 11
    assert [i.truth.sum() for i in cut(case, {"ball": (1,)}, 2, smallest=FEW, most=1)] == [max(areas)]
    three = list(cut(case, {"ball": (1,)}, 2, smallest=FEW, most=3))
    assert [i.truth.sum() for i in three] == [areas[1], areas[5], areas[9]]
    assert len(list(cut(case, {"ball": (1,)}, 2, smallest=FEW, most=50))) == 11
    assert len(list(cut(case, {"ball": (1,)}, 3, most=1))) == 1


def test_small_objects_and_constant_images_are_left_out_and_the_number_type_stays():
    assert not list(cut(ball_scan(radius=3), {"ball": (1,)}, 3))
    assert not list(cut(ball_scan(), {"ball": (2,)}, 3))
    case = ball_scan(dtype=np.float64)
    (found,) = cut(case, {"ball": (1,)}, 3)
    assert found.image.dtype == np.float32
    assert next(cut(ball_scan(dtype=np.uint8), {"ball": (1,)}, 3)).image.dtype == np.uint8
    case.image = case.image.with_array(np.ones(case.image.shape))
    assert not list(cut(case, {"ball": (1,)}, 3))
    with pytest.raises(ValueError, match="dimension is 4"):
        list(cut(case, {"ball": (1,)}, 4))


@given(st.integers(0, 2**32), st.sampled_from([2, 3]), st.integers(0, MARGIN))
@settings(deadline=None, max_examples=40)
def test_a_sample_is_the_box_that_a_simulated_user_draws(seed, dimension, margin):
    """The cut-out is enough: the same draws on the whole scan give the same crop."""
    case = ball_scan(shape=(34, 40, 16), centre=(8, 30, 8))
    instance = list(cut(case, {"ball": (1,)}, dimension, smallest=FEW))[0 if dimension == 3 else 5]
    shape = (24, 17, 12)[:dimension]
    image, truth = instance.sample(np.random.default_rng(seed), shape, margin)
    plane = (2, 8) if dimension == 2 else None
    box = simulated_box(case.labels > 0, np.random.default_rng(seed), margin, plane)
    assert np.array_equal(image, resample(np.ascontiguousarray(box.crop(case.image.array)), shape))
    assert np.array_equal(truth, resample_labels(box.crop(case.labels), shape))
    assert image.dtype == np.float32
    assert truth.dtype == bool


def test_a_sample_keeps_the_object_and_the_margin_in_bounds():
    instance = next(cut(ball_scan(), {"ball": (1,)}, 3))
    sides = np.array([b - a for a, b in instance.inner])
    tight, inside = instance.sample(np.random.default_rng(0), sides, margin=0)
    assert np.array_equal(inside, instance.truth[tuple(slice(a, b) for a, b in instance.inner)])
    assert inside.sum() == instance.truth.sum()
    tight[...], inside[...] = 0, False
    assert instance.truth.any()  # a sample is its own
    assert instance.image.any()
    seen = set()
    for seed in range(40):
        _, truth = instance.sample(np.random.default_rng(seed), (64, 64, 64), margin=4)
        again = instance.sample(np.random.default_rng(seed), (64, 64, 64), margin=4)[1]
        assert np.array_equal(truth, again)
        extent = np.array([np.ptp(np.flatnonzero(truth.any(tuple({0, 1, 2} - {a})))) + 1 for a in range(3)])
        assert (extent <= 64).all()
        assert (extent + 2 >= 64 * sides / (sides + 8)).all()  # 4 voxels a side at most
        seen.add(tuple(extent))
    assert len(seen) > 20
    far, _ = instance.sample(np.random.default_rng(0), instance.image.shape, margin=1000)
    assert far.shape == instance.image.shape
    with pytest.raises(ValueError, match="margin is -1"):
        instance.sample(np.random.default_rng(0), (8, 8, 8), margin=-1)
    with pytest.raises(ValueError, match="cannot be resampled"):
        instance.sample(np.random.default_rng(0), (8, 8))


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_working_shape_is_that_of_a_crop(dimension):
    case = ball_scan(spacing=(0.7, 1.0, 1.5), shape=(60, 40, 30), centre=(28, 20, 14))
    instance = list(cut(case, {"ball": (1,)}, dimension, smallest=FEW))[5 if dimension == 2 else 0]
    ranges = [(c - 6 - MARGIN // 2, c + 7 + MARGIN // 2) for c in (28, 20, 14)]
    if dimension == 2:
        ranges[2] = 14
    model = replace(load_model("default", dimension), size=32)
    box = Box.of(ranges, case.image.shape)
    assert instance.working_shape(32) == crop.Crop(case.image, box, model).shape
    assert crop.LONGEST_2D == instances.LONGEST_2D
    assert crop.THINNEST == instances.THINNEST
