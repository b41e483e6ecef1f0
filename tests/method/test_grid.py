import numpy as np
import pytest

from bifseg.imaging.image import Image
from bifseg.imaging.intensity import unit_range
from bifseg.imaging.resampling import resample
from bifseg.method.crop import Crop
from bifseg.method.grid import Grid
from bifseg.networks.checkpoint import load_model
from bifseg.prompts.interaction import Box

SPACING = (0.5, 1.0, 2.0)


def scan(seed=0, shape=(30, 22, 14), spacing=SPACING):
    return Image(np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32), spacing)


def test_the_grid_is_isotropic_and_as_large_as_asked():
    image = scan()
    volume = Grid(image, Box.parse("2:26,3:19,1:13"), size=24, longest=24)
    assert volume.shape == (12, 16, 24)  # 12 x 16 x 24 mm
    assert volume.spacing == (1.0, 1.0, 1.0)
    plane = Grid(image, Box.parse("2:26,7,1:13"), size=24, longest=72)
    assert plane.shape == (24, 48)  # 12 x 24 mm
    assert plane.spacing == (0.5, 0.5)
    assert plane.native_shape == (24, 12)


def test_a_needle_is_bounded_by_its_longer_side():
    grid = Grid(scan(), Box.parse("2:6,7,1:13"), size=24, longest=48)  # 2 x 24 mm
    assert grid.shape == (4, 48)


def test_its_image_is_the_resampled_crop_and_the_same_between_0_and_1():
    image, box = scan(), Box.parse("2:26,3:19,1:13")
    grid = Grid(image, box, size=20, longest=20)
    np.testing.assert_array_equal(grid.array, resample(image.array[box.slices], grid.shape))
    np.testing.assert_array_equal(grid.image01, unit_range(grid.array))
    assert grid.image01.min() == 0
    assert grid.image01.max() == 1


def test_a_constant_crop_is_all_0():
    image = Image(np.full((9, 8, 7), 5.0, np.float32))
    assert not Grid(image, Box.parse("1:8,1:7,1:6"), size=10, longest=10).image01.any()


@pytest.mark.parametrize("size", [5, 12, 40])
@pytest.mark.parametrize("box", ["2:26,3:19,1:13", "2:26,3:19,6"])
def test_no_scribble_is_lost_and_none_is_invented(box, size):
    box = Box.parse(box)
    grid = Grid(scan(), box, size, 3 * size)
    rng = np.random.default_rng(size)
    for _ in range(20):
        labels = np.zeros(box.shape, np.uint8)
        one, other = (tuple(rng.integers(0, n) for n in box.shape) for _ in range(2))
        labels[other], labels[one] = 2, 1
        there = grid.scribbles_on_grid(labels)
        assert there.dtype == np.uint8
        assert there.shape == grid.shape
        assert (there == 1).any()
        assert set(np.unique(there)) <= set(np.unique(labels))
        place = [n for axis, n in enumerate(one) if axis != box.plane]
        expected = (np.array(place) + 0.5) * grid.shape / grid.native_shape - 0.5
        assert np.abs(np.argwhere(there == 1) - expected).max() <= max(1, *np.divide(grid.shape, grid.native_shape))


def test_where_grid_and_box_agree_nothing_changes():
    image = scan(shape=(12, 12, 12), spacing=(1.0, 1.0, 1.0))
    box = Box.parse("1:11,1:11,1:11")
    grid = Grid(image, box, 10, 10)
    labels = np.random.default_rng(1).integers(0, 3, box.shape).astype(np.uint8)
    np.testing.assert_array_equal(grid.scribbles_on_grid(labels), labels)
    np.testing.assert_array_equal(grid.mask_on_grid(labels == 1), labels == 1)
    np.testing.assert_array_equal(grid.mask_in_box(labels == 1), labels == 1)
    np.testing.assert_array_equal(grid.map_in_box(labels.astype(np.float32)), labels)
    np.testing.assert_array_equal(grid.image01, unit_range(image.array[box.slices]))


def test_a_mask_comes_back_nearly_as_it_went():
    image, box = scan(), Box.parse("2:26,3:19,1:13")
    mask = np.zeros(box.shape, bool)
    mask[4:18, 3:12, 2:9] = True
    grid = Grid(image, box, 48, 48)
    np.testing.assert_array_equal(grid.mask_in_box(grid.mask_on_grid(mask)), mask)
    assert grid.map_in_box(np.ones(grid.shape, np.float32)).shape == box.shape


@pytest.mark.parametrize(("dimension", "box"), [(2, "2:26,3:19,6"), (3, "2:26,3:19,1:13")])
def test_a_crop_is_a_grid_with_features(dimension, box):
    model, image, box = load_model("default", dimension), scan(), Box.parse(box)
    crop = Crop(image, box, model)
    grid = Grid(image, box, model.size, model.size * (3 if dimension == 2 else 1))
    assert crop.shape == grid.shape
    assert crop.spacing == grid.spacing
    np.testing.assert_array_equal(crop.image01, grid.image01)
    assert len(crop.features().views[0]) == np.prod(grid.shape)
    labels = np.random.default_rng(2).integers(0, 3, box.shape).astype(np.uint8)
    np.testing.assert_array_equal(crop.scribbles_on_grid(labels), grid.scribbles_on_grid(labels))


def test_a_crop_of_one_value_is_refused():
    image = Image(np.zeros((20, 20, 1), np.float32))
    with pytest.raises(ValueError, match="constant inside the box 2:9,3:9,0"):
        Crop(image, Box.parse("2:9,3:9,0"), load_model("default", 2))
