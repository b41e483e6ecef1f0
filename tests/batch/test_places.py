"""Boxes from masks of other scans, pictures as a radiologist looks at them, and how unsure a mask is."""

import nibabel
import numpy as np
import pytest

from bifseg.batch.work import doubt, place_of
from bifseg.errors import InvalidInput
from bifseg.imaging.image import Image
from bifseg.prompts.interaction import Box
from bifseg.session.picture import OUTLINE, SIDE, picture
from bifseg.session.session import Session
from bifseg.training.synthetic.phantom import phantom

TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])


def block(shape, where, value=1):
    array = np.zeros(shape, np.uint8)
    array[where] = value
    return array


def test_on_the_same_voxels_the_place_is_the_extent_grown():
    where = np.s_[10:20, 5:15, 3:5]
    image = Image(block((40, 30, 9), where), (1, 2, 3), (5, 6, 7), TURN)
    assert place_of(image, image, None, 0.1, "m") == Box.around(image.array, 0.1)
    assert place_of(image, image, None, 0, "m") == Box((10, 5, 3), (20, 15, 5))
    plane = Image(block((40, 30, 9), np.s_[10:20, 5:15, 3]), (1, 2, 3))
    assert place_of(plane, plane, None, 0.1, "m").plane == 2


@pytest.mark.parametrize("seed", range(8))
def test_every_voxel_of_the_mask_lies_in_the_box_and_the_box_is_no_larger_than_it_must_be(seed):
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2)]
    corner = rng.integers(8, 14, 3)
    where = tuple(slice(a, a + n) for a, n in zip(corner, rng.integers(2, 6, 3), strict=True))
    old = Image(block((24, 24, 24), where, 3), rng.uniform(0.7, 1.5, 3), rng.normal(size=3), turns[0])
    middle = (old.affine @ (12, 12, 12, 1))[:3]
    spacing = rng.uniform(0.7, 1.5, 3)
    new = Image(np.zeros((90, 90, 90)), spacing, middle - turns[1] * spacing @ (45, 45, 45), turns[1])
    box = place_of(old, new, 3, 0, "m")
    # Slowly: points all over the mask's voxels, to the corners.
    fine = [np.linspace(s.start - 0.5, s.stop - 0.5, 9) for s in where]
    points = np.stack([*np.meshgrid(*fine), np.ones((9, 9, 9))], -1).reshape(-1, 4)
    placed = (points @ (np.linalg.inv(new.affine) @ old.affine).T)[:, :3] + 0.5
    assert np.array_equal(box.start, np.floor(placed.min(0) + 1e-6).astype(int))
    assert np.array_equal(box.stop, np.ceil(placed.max(0) - 1e-6).astype(int))
    wider = place_of(old, new, 3, 0.5, "m")
    assert (np.array(wider.shape) > 1.8 * (placed.max(0) - placed.min(0))).all()


def test_places_that_cannot_be_are_refused():
    scan = Image(np.zeros((20, 20, 20)))
    far = Image(block((20, 20, 20), np.s_[2:5, 2:5, 2:5]), origin=(500, 0, 0))
    with pytest.raises(InvalidInput, match="outside the scan; both must be in one space"):
        place_of(far, scan, None, 0.1, "m")
    both = Image(block((20, 20, 20), np.s_[2:5, 2:5, 2:5]) + block((20, 20, 20), np.s_[8:9, 8:9, 8:9], 2))
    with pytest.raises(InvalidInput, match="the column label: 1"):
        place_of(both, scan, None, 0.1, "m")
    with pytest.raises(InvalidInput, match=r"has the shape \(9, 8, 1\)"):
        place_of(Image(np.ones((9, 8))), Image(np.ones((8, 9))), None, 0.1, "m")
    with pytest.raises(InvalidInput, match="holds no object"):
        place_of(Image(np.zeros((20, 20, 20))), scan, None, 0.1, "m")


def test_a_picture_is_upright_however_the_file_lies():
    """A bright corner at the patient's right and front is at the upper left of an axial slice."""
    array, mask = np.zeros((40, 50, 10), np.float32), np.zeros((40, 50, 10), bool)
    array[22:30, 30:40, 4:6], mask[10:30, 15:40, 4:6] = 100, True
    file = nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1]))
    seen = []
    for codes in ("RAS", "LPS", "PIR", "SAL"):
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(codes)
        )
        turned = file.as_reoriented(turn)
        values = np.ascontiguousarray(turned.dataobj, np.float32)
        shown = np.ascontiguousarray(nibabel.orientations.apply_orientation(mask, turn)) > 0
        affine = np.diag([-1, -1, 1, 1]) @ turned.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        image = Image(values, spacing, affine[:3, 3], affine[:3, :3] / spacing)
        seen.append(picture(image, shown, Box.around(shown, 0)))
    assert all(np.array_equal(one, seen[0]) for one in seen)
    (drawn,) = {one.shape for one in seen}
    assert drawn[2:] == (1, 3)
    assert max(drawn[:2]) == SIDE
    grey = seen[0][:, :, 0, 0].astype(float) * (seen[0][:, :, 0] != OUTLINE).any(-1)
    x, y = (np.indices(grey.shape) * grey).sum(axis=(1, 2)) / grey.sum() / grey.shape
    assert x < 0.5  # +x of RAS is the patient's right, at the left
    assert y < 0.5  # +y is in front, above


def test_a_colour_picture_keeps_its_colours():
    colours = np.zeros((30, 20, 1, 3), np.uint8)
    colours[..., 1] = 200
    mask = block((30, 20, 1), np.s_[10:20, 5:15]) > 0
    drawn = picture(Image(colours, planar=True), mask, Box((8, 4, 0), (22, 16, 1)))
    inside = (drawn[:, :, 0] != OUTLINE).any(-1)
    assert np.array_equal(np.unique(drawn[inside[:, :, None]], axis=0), [[0, 200, 0]])
    assert 0.01 < 1 - inside.mean() < 0.05


def test_doubt_is_small_where_the_network_is_sure_and_large_where_it_is_not():
    image, _ = phantom(seed=1, shape=(32, 32, 16))
    session = Session(image)
    session.box(((6, 28), (6, 28), 8), "one")
    segment = session.state.objects["one"]
    assert 0 < doubt(segment) < 1
    p, mask = segment.probability().astype(float), segment.mask
    assert doubt(segment) == pytest.approx(1 - 2 * p[mask].sum() / (mask.sum() + p.sum()))
