"""What all methods of other people have in common, whatever they compute."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bifseg.baselines import scribbled
from bifseg.baselines.geos import GeoS
from bifseg.baselines.grabcut import GrabCut
from bifseg.baselines.growcut import GrowCut
from bifseg.baselines.random_walks import RandomWalks
from bifseg.baselines.scribbled import Scribbled, region
from bifseg.baselines.slicseg import SlicSeg
from bifseg.evaluation.metrics import dice
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box

SCRIBBLED = (RandomWalks, SlicSeg, GeoS, GrowCut)
ALL = (GrabCut, *SCRIBBLED)
SPACINGS = ((1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.0, 1.0, 1.0))


@pytest.fixture(autouse=True, scope="module")
def small_grids():
    """Grids of a few thousand voxels, so that these tests take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(scribbled.SIZES, 2, (24, 72))
        patch.setitem(scribbled.SIZES, 3, (24, 24))
        yield


def blob(seed, dimension, spacing=SPACINGS[0]):
    """A noisy image with a bright ellipsoid; its truth, and a box around it: one plane of it in 2D."""
    rng = np.random.default_rng(seed)
    shape = (26, 22, 12)
    middle, radii = (13, 11, 6), (6, 5, 3)
    truth = sum(((g - m) / r) ** 2 for g, m, r in zip(np.indices(shape), middle, radii, strict=True)) <= 1
    image = Image((truth * 100 + rng.normal(0, 8, shape)).astype(np.float32), spacing)
    if dimension == 2:
        truth[:, :, np.arange(12) != 6] = False
    return image, truth, Box.of(((5, 21), (4, 18), 6 if dimension == 2 else (2, 11)), shape)


def view(box, shape):
    return Box.of([box.start[a] if a == box.plane else (0, n) for a, n in enumerate(shape)], shape)


def begun(method, image, box):
    return method.start(image, view(box, image.shape) if method.begins_with == "scribbles" else box)


def scribbles_on(shape, box, rng, count):
    labels = np.zeros(shape, np.uint8)
    for label in (1, 2):
        for _ in range(count):
            labels[tuple(rng.integers(a, b) for a, b in zip(box.start, box.stop, strict=True))] = label
    return labels


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dimension", [2, 3])
@settings(deadline=None, max_examples=3, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), spacing=st.sampled_from(SPACINGS), count=st.integers(1, 12))
def test_scribbles_are_kept_and_the_mask_stays_where_it_may_be(kind, dimension, seed, spacing, count):
    image, _, box = blob(seed % 7, dimension, spacing)
    method, rng = kind(), np.random.default_rng(seed)
    allowed = np.zeros(image.shape, bool)
    allowed[(view(box, image.shape) if method.begins_with == "scribbles" else box).slices] = True
    mask, newest = begun(method, image, box), np.zeros(image.shape, np.uint8)
    for _ in range(2):
        drawn = scribbles_on(image.shape, box, rng, count)
        before = drawn.copy()
        mask = method.refine(drawn)
        newest = np.where(drawn > 0, drawn, newest)
        assert mask.dtype == bool
        assert mask.shape == image.shape
        assert mask[newest == 1].all()
        assert not mask[newest == 2].any()
        assert not mask[~allowed].any()
        np.testing.assert_array_equal(drawn, before)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dimension", [2, 3])
def test_every_baseline_finds_a_bright_blob(kind, dimension):
    image, truth, box = blob(0, dimension)
    method = kind()
    mask = begun(method, image, box)
    labels = np.zeros(image.shape, np.uint8)
    labels[11:16, 11, 6], labels[13, 9:14, 6] = 1, 1
    labels[5:21, 4, 6] = labels[5:21, 17, 6] = labels[5, 4:18, 6] = labels[20, 4:18, 6] = 2
    if dimension == 3:
        labels[5:21, 11, 2] = labels[5:21, 11, 10] = 2
    if kind is GrabCut:
        assert dice(mask, truth) > 0.93
    assert dice(method.refine(labels), truth) > 0.9


@pytest.mark.parametrize("kind", ALL)
def test_the_same_strokes_give_the_same_mask(kind):
    image, _, box = blob(3, 3)
    results = []
    for _ in range(2):
        method, rng = kind(), np.random.default_rng(5)
        masks = [begun(method, image, box)]
        masks += [method.refine(scribbles_on(image.shape, box, rng, 6)) for _ in range(2)]
        results.append(masks)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("kind", ALL)
def test_the_newest_scribble_wins(kind):
    image, _, box = blob(1, 2)
    method = kind()
    begun(method, image, box)
    labels = np.zeros(image.shape, np.uint8)
    labels[13, 11, 6], labels[6, 5, 6] = 1, 2
    assert method.refine(labels)[13, 11, 6]
    changed = np.zeros_like(labels)
    changed[13, 11, 6], changed[6, 5, 6] = 2, 1
    mask = method.refine(changed)
    assert not mask[13, 11, 6]
    assert mask[6, 5, 6]
    assert mask[6, 5, 6] == method.refine(np.zeros_like(labels))[6, 5, 6]


@pytest.mark.parametrize("kind", ALL)
def test_a_new_start_forgets_the_last_object(kind):
    image, _, box = blob(1, 2)
    used, fresh = kind(), kind()
    begun(used, image, box)
    used.refine(scribbles_on(image.shape, box, np.random.default_rng(0), 5))
    labels = scribbles_on(image.shape, box, np.random.default_rng(1), 5)
    masks = []
    for method in (used, fresh):
        begun(method, image, box)
        masks.append(method.refine(labels))
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("kind", SCRIBBLED)
@pytest.mark.parametrize("dimension", [2, 3])
def test_begun_with_scribbles_they_wait_for_both_labels(kind, dimension):
    image, _, box = blob(2, dimension)
    method, field = kind(), view(box, image.shape)
    assert method.begins_with == "scribbles"
    everything = np.zeros(image.shape, bool)
    everything[field.slices] = True
    first = method.start(image, field)
    assert first.dtype == bool
    assert first.shape == image.shape
    assert not first.any()
    labels = np.zeros(image.shape, np.uint8)
    assert not method.refine(labels).any()
    labels[13, 11, 6] = 1
    np.testing.assert_array_equal(method.refine(labels), everything)
    method.start(image, field)
    assert not method.refine(2 * labels).any()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("shape", [(26, 2, 1), (9, 1, 12), (2, 26, 3)])
@pytest.mark.parametrize("constant", [True, False])
def test_constant_and_narrow_images_do_not_stop_them(kind, shape, constant):
    array = np.full(shape, 7.0, np.float32)
    if not constant:
        array += np.random.default_rng(0).random(shape).astype(np.float32)
    box, last = Box.of([(0, n) for n in shape], shape), tuple(n - 1 for n in shape)
    method = kind()
    begun(method, Image(array, (0.1, 1.0, 1.0)), box)  # the first axis is one pixel wide on some grids
    labels = np.zeros(shape, np.uint8)
    labels[0, 0, 0], labels[last] = 1, 2
    mask = method.refine(labels)
    assert mask.shape == shape
    assert not mask[last]
    assert mask[0, 0, 0]


@pytest.mark.parametrize("kind", ALL)
def test_every_voxel_scribbled(kind):
    image, truth, box = blob(2, 2)
    method = kind()
    begun(method, image, box)
    labels = np.zeros(image.shape, np.uint8)
    labels[box.slices] = np.where(truth[box.slices], 1, 2)
    np.testing.assert_array_equal(method.refine(labels)[box.slices], truth[box.slices])


def field(*shape):
    return Box.of([(0, n) for n in shape], shape)


def test_the_region_is_where_background_encloses_foreground():
    labels = np.zeros((60, 50, 1), np.uint8)
    labels[30, 25], labels[20, 25], labels[39, 20], labels[30, 34], labels[30, 15] = 1, 2, 2, 2, 2
    assert str(region(labels, field(60, 50, 1))) == "18:42,13:37,0"  # 20:40 and 15:35, and 2 on each side
    labels[45, 25] = 1  # foreground outside
    assert region(labels, field(60, 50, 1)) == field(60, 50, 1)


def test_the_region_ends_with_the_image():
    labels = np.zeros((60, 50, 1), np.uint8)
    labels[30, 25], labels[1, 0], labels[58, 49] = 1, 2, 2
    assert region(labels, field(60, 50, 1)) == field(60, 50, 1)


def test_a_ring_in_one_slice_of_a_volume_says_nothing_across_it():
    labels = np.zeros((60, 50, 40), np.uint8)
    labels[30, 25, 10], labels[20, 25, 10], labels[39, 20, 10], labels[30, 34, 10], labels[30, 15, 10] = 1, 2, 2, 2, 2
    assert str(region(labels, field(60, 50, 40))) == "18:42,13:37,0:40"
    labels[30, 25, 5] = labels[30, 25, 24] = 2
    assert str(region(labels, field(60, 50, 40))) == "18:42,13:37,3:27"


@pytest.mark.parametrize("label", [0, 1, 2])
def test_without_both_labels_the_region_is_all(label):
    labels = np.zeros((9, 8, 7), np.uint8)
    labels[2:5, 3, 3] = label
    assert region(labels, field(9, 8, 7)) == field(9, 8, 7)


class Recorded(Scribbled):
    def __init__(self):
        self.begun, self.seen = [], []

    def _begin(self, grid):
        self.begun.append(grid.box)

    def _segment(self, grid, scribbles):
        self.seen.append(scribbles)
        return np.ones(grid.shape, bool)


def test_what_depends_on_the_image_alone_is_computed_once_per_region():
    image, _, box = blob(0, 2)
    method = Recorded()
    method.start(image, view(box, image.shape))
    labels = np.zeros(image.shape, np.uint8)
    labels[13, 11, 6], labels[(4, 20, 13, 13), (11, 11, 4, 17), 6] = 1, 2
    mask = method.refine(labels)
    more = np.zeros_like(labels)
    more[12, 10, 6] = 1
    method.refine(more)
    inside = region(labels, view(box, image.shape))
    assert method.begun == [inside]
    assert [(s == 1).any() and (s == 2).any() for s in method.seen] == [True, True]
    assert mask[inside.slices].sum() == mask.sum() == np.prod(inside.shape) - 4
    more[1, 1, 6] = 1
    method.refine(more)
    assert method.begun == [inside, view(box, image.shape)]
